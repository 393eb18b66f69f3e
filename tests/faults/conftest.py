"""Fixtures of the fault suite: a bin with its broker and a subscriber that misses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import ledger
from tests.faults.bin import Bin
from tests.faults.monitor import Monitor
from tests.faults.proxy import Proxy
from tests.harness import Mosquitto, wait_for

MakeBin = Callable[..., Bin]
KEEPS_ALL = ("persistence true", "max_queued_messages 0", "max_inflight_messages 0")


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    """Not started; keeps sessions over a restart, and drops nothing for a slow subscriber."""
    (tmp_path / "broker").mkdir()
    return make_broker(tmp_path / "broker")


class Broker(Mosquitto):
    """A Mosquitto that can be told of new passwords."""

    def reload(self) -> None:
        """Read passwords again."""
        assert self._process
        self._process.send_signal(signal.SIGHUP)


def make_broker(folder: Path, *extra: str) -> Broker:
    return Broker(folder, *KEEPS_ALL, f"persistence_location {folder}/", *extra)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture
def make_monitor() -> Iterator[Callable[[int], Monitor]]:
    made: list[Monitor] = []

    def make(port: int) -> Monitor:
        wait_for(lambda: listens(port), what="the monitor's broker")
        made.append(Monitor(port))
        return made[-1]

    yield make
    for monitor in made:
        monitor.close()


@pytest.fixture
def make_bin(
    write_config: Callable[..., Path], make_monitor: Callable[[int], Monitor]
) -> Iterator[MakeBin]:
    """A bin at 20 items a second; with a monitor at once, where its broker is running."""
    made: list[Bin] = []

    def make(port: int, *, monitor_port: int | None = None, **camera: object) -> Bin:
        config = write_config(port, **{"fps": 20, **camera})
        made.append(Bin(config, make_monitor(monitor_port) if monitor_port else None))
        made[-1].configure("outbox", replay_per_s=1000.0)
        return made[-1]

    yield make
    for bin_ in made:
        bin_.close()


@pytest.fixture
def proxy(broker: Mosquitto) -> Iterator[Proxy]:
    made = Proxy(broker.port)
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The rows of this run; into docs/faults.md where SMARTBIN_WRITE_TABLES is set."""
    rows = [ledger.ROWS[fault] for fault in ledger.FAULTS if fault in ledger.ROWS]
    if rows and os.environ.get("SMARTBIN_WRITE_TABLES"):
        terminalreporter.write_line(ledger.table(rows))
        terminalreporter.write_line(ledger.write_table())
