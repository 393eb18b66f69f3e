"""What the daemon costs: start to READY, memory, idle CPU, frame to subscriber.

python -m tools.footprint [--json]

Mosquitto and the daemon run as they would on a bin; the camera is the folder of sample frames.
Idle is a still picture at 5 frames a second under the presence trigger. Memory is told for the
daemon and its capture process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.shipped import samples

PORT = 18833
IDLE_S, BUSY_S, SETTLE_S = 20.0, 20.0, 3.0
STARTS = 5
BROKER = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


@contextmanager
def broker(folder: Path) -> Iterator[None]:
    """Mosquitto on loopback."""
    assert BROKER
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {PORT} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen([BROKER, "-c", str(conf)], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        process.terminate()
        process.wait(5)


class Daemon:
    """`smartbin run`, with the time from its start to READY."""

    def __init__(self, folder: Path, source: Path, fps: float, trigger: str) -> None:
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(30)
        config = folder / "config.toml"
        config.write_text(
            f'[camera]\nsource = "folder:{source}"\nfps = {fps}\nrepeat = true\n'
            f'[trigger]\nkind = "{trigger}"\n[mqtt]\nport = {PORT}\n'
            f'[outbox]\npath = "{folder / "outbox.db"}"\n[log]\nlevel = "error"\n'
        )
        started_s = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
        )
        while b"READY=1" not in self._socket.recv(4096):
            pass
        self.ready_s = time.monotonic() - started_s
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        self._socket.settimeout(None)
        while self._socket.recv(4096) != b"STOPPING=1":
            pass

    @property
    def pids(self) -> list[int]:
        """The daemon, then its capture process."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def rss_mb(self) -> list[float]:
        """Resident memory of each process."""
        return [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            * os.sysconf("SC_PAGE_SIZE")
            / 1e6
            for pid in self.pids
        ]

    def cpu_s(self) -> float:
        """Processor seconds of all its processes so far."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> float:
        """SIGTERM; returns the seconds it took to end."""
        started_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(15)
        self._socket.close()
        return time.monotonic() - started_s


def measure() -> dict[str, float]:
    """All figures, by name with unit."""
    with tempfile.TemporaryDirectory(prefix="smartbin-footprint-") as name:
        folder = Path(name)
        still = folder / "still"
        still.mkdir()
        shutil.copy(samples() / "stills" / "can_wood.jpg", still)
        with broker(folder):
            return {**_starts(folder, still), **_idle(folder, still), **_busy(folder)}


def _starts(folder: Path, still: Path) -> dict[str, float]:
    ready, ended = [], []
    for _ in range(STARTS):
        daemon = Daemon(folder, still, 10, "presence")
        ready.append(daemon.ready_s)
        ended.append(daemon.stop())
    return {
        "start to READY, s, median": float(np.median(ready)),
        "start to READY, s, worst": max(ready),
        "SIGTERM to end, s, worst": max(ended),
    }


def _idle(folder: Path, still: Path) -> dict[str, float]:
    daemon = Daemon(folder, still, 5, "presence")
    time.sleep(SETTLE_S)
    before_s = daemon.cpu_s()
    time.sleep(IDLE_S)
    share = (daemon.cpu_s() - before_s) / IDLE_S
    rss = daemon.rss_mb()
    daemon.stop()
    return {
        "idle CPU at 5 frames a second, % of one core": share * 100,
        "RSS of the daemon, MB": rss[0],
        "RSS of the capture process, MB": sum(rss[1:]),
    }


def _busy(folder: Path) -> dict[str, float]:
    latencies_ms: list[float] = []

    def take(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        frame_ts = json.loads(message.payload)["frame_ts"]
        latencies_ms.append((time.time() - frame_ts) * 1000)

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda c, *_: c.subscribe("bins/+/+/+/decision", qos=1)
    client.on_message = take
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    daemon = Daemon(folder, samples() / "stills", 20, "frame")
    time.sleep(BUSY_S)
    daemon.stop()
    client.loop_stop()
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return {
        "frame to subscriber, ms, p50": float(p50),
        "frame to subscriber, ms, p99": float(p99),
        "decisions measured": len(latencies_ms),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if BROKER is None:
        sys.exit("mosquitto is not installed; run: sudo apt-get install mosquitto")
    figures = measure()
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:<46} {figure:8.2f}")


if __name__ == "__main__":
    main()
