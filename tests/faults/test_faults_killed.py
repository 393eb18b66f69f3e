"""SIGKILL at random moments, and files torn by a power cut: the outbox holds."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.proxy import Proxy
from tests.harness import Mosquitto

pytestmark = pytest.mark.mosquitto
KEEP_ALL = {"constants": {"edge.outbox.DELETE_EVERY_S": 1e6, "edge.outbox.DELETE_AT": 10**6}}


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_killed_at_random_moments_loses_no_event(
    broker: Mosquitto, make_bin: MakeBin, rounds: int
) -> None:
    """Every number of every boot arrives; what comes twice has the same id and payload."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port, fps=50)
    moments = random.Random(rounds)
    for _ in range(rounds):
        bin_.start()
        if moments.random() < 0.15:  # in the middle of the start
            time.sleep(moments.uniform(0, 1))
        else:
            bin_.wait_items(1)
            time.sleep(moments.uniform(0, 0.4))
        bin_.kill()
    bin_.start()
    bin_.wait_items(5)
    books = bin_.close_books()
    boots = {boot for boot, _ in books.received}
    assert rounds * 0.7 < len(boots) <= rounds + 1
    assert bin_.monitor
    lost = next(s for s in bin_.monitor.states() if s["state"] == "lost")
    sees = f"state {lost['state']}: {lost['reason']}"
    enter(f"killed at random moments, {rounds} times", sees, books)


@pytest.mark.slow
def test_torn_end_of_the_log_costs_nothing_that_was_stored(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin
) -> None:
    """A commit that the power cut interrupted is passed over; all before it are there."""
    proxy.refuse()
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    bin_.start()
    bin_.wait_items(30)
    bin_.kill()
    log = bin_.outbox.with_name("outbox.db-wal")
    data = log.read_bytes()
    frame_bytes = 24 + page_bytes(bin_.outbox)  # header and page
    assert len(data) > 30 * frame_bytes
    log.write_bytes(data + data[-frame_bytes:][: frame_bytes * 2 // 3])
    proxy.admit()
    bin_.start()
    bin_.wait_items(3)
    sees = line_of(bin_.log, "events wait from before")
    enter("torn end of the outbox's log", sees, bin_.close_books())


def test_torn_page_is_set_aside_and_the_rest_is_sent_again(
    broker: Mosquitto, make_bin: MakeBin
) -> None:
    """The broker has the events of that page; what else can be read is sent once more."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.start(faults=KEEP_ALL)
    bin_.wait_items(40)
    bin_.settle()
    bin_.kill()
    tear_last_page(bin_.outbox)
    bin_.start()
    bin_.wait_items(3)
    sees = line_of(bin_.log, "is damaged")
    row = enter("torn last page of the outbox", sees, bin_.close_books())
    assert row.duplicates >= 30


def tear_last_page(outbox: Path) -> None:
    """Fold the log into the file, as a start does, and spoil the last page."""
    db = sqlite3.connect(outbox)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data, page = outbox.read_bytes(), page_bytes(outbox)
    outbox.write_bytes(data[:-page] + b"\xa5" * page)


def page_bytes(outbox: Path) -> int:
    """From SQLite's file header."""
    return int.from_bytes(outbox.read_bytes()[16:18], "big")
