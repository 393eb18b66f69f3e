"""Figures of this host and of the daemon's own work, for the health message."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from edge.values import Decision

LEAST_UPTIME_S = 600.0  # before, a day's writing is extrapolated from the start alone
RECENT = 500  # decisions that the percentiles look back on
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # struct timex is 208 bytes; the kernel writes no further


def clock_synced() -> bool:
    """Whether the kernel's clock is disciplined, by NTP or chrony alike."""
    try:
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only asks
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(buffer))
        return 0 <= state != TIME_ERROR
    except (OSError, AttributeError):
        return False


def clock_host() -> str:
    """Which kernel's clock this is: the same for every process of one boot of one host.

    A digest, because the boot id itself is not for publishing; empty where there is none.
    """
    boot = _read_text(Path("/proc/sys/kernel/random/boot_id"))
    return hashlib.sha256(f"smartbin {boot}".encode()).hexdigest()[:12] if boot else ""


def temperature_c() -> float | None:
    """The hottest thermal zone, or None where the kernel tells none."""
    zones = Path("/sys/class/thermal").glob("thermal_zone*/temp")
    readings = [reading for reading in map(_read_int, zones) if reading is not None]
    return max(readings) / 1000 if readings else None


def throttle_bits() -> int | None:
    """The Raspberry Pi's under-voltage and throttling bits, or None elsewhere."""
    text = _read_text(Path("/sys/devices/platform/soc/soc:firmware/get_throttled"))
    try:
        return int(text, 16) if text else None
    except ValueError:
        return None


def rss_mb(pid: int | None = None) -> float:
    """Resident memory of a process (this one by default), MB; 0 where it is gone."""
    text = _read_text(Path(f"/proc/{pid or 'self'}/statm"))
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if text else 0.0


def available_memory_mb() -> float | None:
    """Memory that can be had without swapping (proc(5), meminfo)."""
    for line in _read_text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1000
    return None


def written_bytes() -> int | None:
    """Bytes this process caused to be written to storage since its start (proc(5), io)."""
    for line in _read_text(Path("/proc/self/io")).splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _read_int(path: Path) -> int | None:
    text = _read_text(path)
    return int(text) if text.lstrip("-").isdigit() else None


class WorkFigures:
    """Latency, confidence and outcomes of the recent decisions."""

    def __init__(self) -> None:
        self._latencies_ms: deque[float] = deque(maxlen=RECENT)
        self._confidences: deque[float] = deque(maxlen=RECENT)
        self.outcomes: dict[str, int] = {}

    def count(self, decision: Decision, latency_ms: float) -> None:
        """Take one decision into account."""
        self.outcomes[decision.outcome] = self.outcomes.get(decision.outcome, 0) + 1
        self._latencies_ms.append(latency_ms)
        if decision.top:
            self._confidences.append(decision.confidence)

    def summary(self) -> dict[str, Any]:
        """JSON-ready figures; None where nothing has been decided yet."""
        latencies, confidences = list(self._latencies_ms), list(self._confidences)
        p50, p99 = np.percentile(latencies, (50, 99)) if latencies else (None, None)
        return {
            "outcomes": dict(self.outcomes),
            "latency_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
            "confidence": {
                "n": len(confidences),
                "mean": _rounded(np.mean(confidences) if confidences else None),
                "sd": _rounded(np.std(confidences) if confidences else None),
            },
        }


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)


def host_figures(*, uptime_s: float) -> dict[str, Any]:
    """JSON-ready figures of the host and this process."""
    written = written_bytes()
    known = written is not None and uptime_s >= LEAST_UPTIME_S
    per_day = round(written * 86400 / uptime_s) if written is not None and known else None
    return {
        "uptime_s": round(uptime_s, 1),
        "temperature_c": temperature_c(),
        "throttled": throttle_bits(),
        "rss_mb": round(rss_mb(), 1),
        "written_bytes_day": per_day,
        "clock": "synced" if clock_synced() else "unsynced",
    }
