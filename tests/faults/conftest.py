"""Fixtures of the fault suite: a bin with its broker and a subscriber that misses nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Mosquitto
from tests.faults import ledger
from tests.faults.bin import Bin
from tests.faults.monitor import Monitor
from tests.faults.proxy import Proxy

MakeBin = Callable[..., Bin]
KEEPS_ALL = ("persistence true", "max_queued_messages 0", "max_inflight_messages 0")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Not started; keeps sessions over a restart, and drops nothing for a slow subscriber."""
    (tmp_path / "broker").mkdir()
    made = make_broker(tmp_path / "broker")
    yield made
    made.stop()


def make_broker(folder: Path, *extra: str, port: int | None = None) -> Mosquitto:
    return Mosquitto(folder, *KEEPS_ALL, f"persistence_location {folder}/", *extra, port=port)


@pytest.fixture
def make_monitor() -> Iterator[Callable[[int], Monitor]]:
    made: list[Monitor] = []

    def make(port: int) -> Monitor:
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
