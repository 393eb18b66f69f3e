"""The unit file is valid and hard, and the daemon tells systemd the truth."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.notify import Notifier
from tests.harness import ROOT, RunningDaemon, wait_for, write_picture

UNIT = ROOT / "systemd" / "smartbin.service"
UNITS = (UNIT, ROOT / "systemd" / "smartbin-actuator.service")
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 2.2  # of 10, by systemd-analyze security
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


class NotifySocket:
    """Stands where systemd listens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._lines: list[str] = []

    @property
    def lines(self) -> list[str]:
        while True:
            try:
                self._lines += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    notify = NotifySocket(tmp_path / "notify")
    yield notify
    notify.close()


@needs_systemd
@pytest.mark.parametrize("shipped", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_valid(tmp_path: Path, shipped: Path) -> None:
    """systemd-analyze finds nothing, the program being put where it is looked for."""
    unit = tmp_path / shipped.name
    unit.write_text(re.sub("ExecStart=.*", "ExecStart=/bin/true", shipped.read_text()))
    result = subprocess.run([ANALYZE, "verify", unit], capture_output=True, text=True)
    assert result.returncode == 0 and shipped.name not in result.stderr, result.stderr


@needs_systemd
@pytest.mark.parametrize("shipped", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_hardened(shipped: Path) -> None:
    """The exposure level stays under the figure in the README."""
    result = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--no-pager", shipped],
        capture_output=True,
        text=True,
    )
    match = re.search(r"exposure level for .*: ([0-9.]+)", result.stdout)
    assert match, result.stderr
    assert float(match[1]) <= MOST_EXPOSED


def test_unit_is_watched_and_unprivileged() -> None:
    """Type=notify with a watchdog, its own user, restarted for ever."""
    lines = UNIT.read_text().splitlines()
    for line in ("Type=notify", "User=smartbin", "Restart=always", "WatchdogSec=30"):
        assert line in lines


def test_ready_comes_with_the_first_frame_and_stopping_at_the_end(
    write_config: Callable[..., Path],
    run_daemon: Callable[..., RunningDaemon],
    systemd: NotifySocket,
) -> None:
    """READY once, the watchdog fed while frames come, STOPPING on SIGTERM."""
    daemon = run_daemon(write_config(1), NOTIFY_SOCKET=str(systemd.path))
    wait_for(lambda: systemd.lines.count("WATCHDOG=1") > 5, what="the watchdog to be fed")
    assert systemd.lines.count("READY=1") == 1
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "STOPPING=1" in systemd.lines


def test_watchdog_starves_without_frames(
    write_config: Callable[..., Path],
    run_daemon: Callable[..., RunningDaemon],
    systemd: NotifySocket,
) -> None:
    """A loop that turns without frames is no progress: systemd must notice."""
    # One frame in ten seconds: after the first, nothing comes for as long as we look.
    daemon = run_daemon(write_config(1, fps=0.1), NOTIFY_SOCKET=str(systemd.path))
    wait_for(lambda: "READY=1" in systemd.lines, what="ready")
    time.sleep(0.5)
    fed = systemd.lines.count("WATCHDOG=1")
    time.sleep(1.5)
    assert daemon.alive() and systemd.lines.count("WATCHDOG=1") == fed


def test_notifier_is_silent_outside_systemd() -> None:
    """No socket, no error."""
    Notifier(address="").ready("fine")


def test_notifier_reaches_a_socket(systemd: NotifySocket) -> None:
    """The datagrams are those of sd_notify(3)."""
    Notifier(address=str(systemd.path)).ready("deciding")
    assert systemd.lines == ["READY=1", "STATUS=deciding"]


@pytest.mark.parametrize("trouble", ["outbox", "late camera"])
def test_ready_is_told_of_a_degraded_bin_too(
    write_config: Callable[..., Path],
    run_daemon: Callable[..., RunningDaemon],
    systemd: NotifySocket,
    tmp_path: Path,
    trouble: str,
) -> None:
    """What decides must not be ended by systemd for want of READY."""
    late = tmp_path / "late"
    config = write_config(1, **({"source": f"folder:{late}"} if trouble == "late camera" else {}))
    if trouble == "outbox":
        config.write_text(config.read_text().replace("outbox.db", "config.toml/outbox.db"))
    daemon = run_daemon(config, NOTIFY_SOCKET=str(systemd.path))
    wait_for(lambda: "state: degraded" in daemon.log, what="trouble")
    if trouble == "late camera":
        assert "READY=1" not in systemd.lines
        write_picture(late / "a.png", (9, 9, 9))
    wait_for(lambda: "READY=1" in systemd.lines, what="READY")
    wait_for(lambda: "item " in daemon.log, what="decisions")
    assert systemd.lines.count("READY=1") == 1
