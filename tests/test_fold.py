"""Folding the outbox's log into its file waits for the disk; a decision does not."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import store as module
from edge.errors import OutboxError
from edge.store import FOLD_AT, Row, Store

WAIT_S = 30.0


def row(number: int) -> Row:
    return Row(0, False, 0.0, "t", str(number).encode())


def numbers(db: Store) -> list[int]:
    return [int(each.payload) for each in db.first((), 10**6)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db = Store(tmp_path / "o.db")
    yield db
    db.close()


class SlowDisk:
    """Holds every fold where SQLite is about to begin it, until `goes_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()
        self._connect = module._connection
        monkeypatch.setattr(module, "_connection", self._slow)

    def _slow(self, path: Path | None) -> sqlite3.Connection:
        db = self._connect(path)
        if threading.current_thread().name == "outbox-fold":
            db.set_trace_callback(self._wait)
        return db

    def _wait(self, statement: str) -> None:
        if "wal_checkpoint" in statement:
            self.reached.set()
            assert self.goes_on.wait(WAIT_S)


def test_events_are_stored_while_the_disk_is_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`insert` returns with the event in the file's log, and a copy of both has it."""
    disk = SlowDisk(monkeypatch)
    for number in range(FOLD_AT):
        store.insert([row(number)])
    store.fold()
    assert disk.reached.wait(WAIT_S)
    for number in range(FOLD_AT, FOLD_AT + 50):
        store.insert([row(number)])
    assert store.folding
    for name in ("o.db", "o.db-wal"):
        shutil.copyfile(tmp_path / name, tmp_path / f"copy-{name}")
    (tmp_path / "copy-o.db-wal").rename(tmp_path / "copy.db-wal")
    (tmp_path / "copy-o.db").rename(tmp_path / "copy.db")
    disk.goes_on.set()
    copy = Store(tmp_path / "copy.db")
    assert numbers(copy) == list(range(FOLD_AT + 50)) == numbers(store)
    copy.close()


def test_a_fold_brings_the_log_into_the_file_and_begins_it_anew(
    store: Store, tmp_path: Path
) -> None:
    """The file alone has every event then, and what comes later overwrites the log."""
    for number in range(FOLD_AT):
        store.insert([row(number)])
    log_bytes = (tmp_path / "o.db-wal").stat().st_size
    store.fold()
    store._await_fold()
    shutil.copyfile(tmp_path / "o.db", tmp_path / "alone.db")
    alone = Store(tmp_path / "alone.db")
    assert numbers(alone) == list(range(FOLD_AT))
    alone.close()
    for number in range(100):
        store.insert([row(number)])
    assert (tmp_path / "o.db-wal").stat().st_size <= log_bytes


def test_a_fold_cuts_a_log_that_grew_long(store: Store, tmp_path: Path) -> None:
    """Else the most that ever was in it stays taken on the card."""
    big = Row(0, False, 0.0, "t", bytes(10_000))
    for _ in range(FOLD_AT):
        store.insert([big])
    assert (tmp_path / "o.db-wal").stat().st_size > 2_000_000
    store.fold()
    store._await_fold()
    assert (tmp_path / "o.db-wal").stat().st_size <= 1_048_576


def test_no_event_is_lost_between_commits_and_folds_without_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as each runs beside the other: every row is there once, in order, file sound."""
    monkeypatch.setattr(module, "FOLD_AT", 5)
    for number in range(2000):
        store.insert([row(number)])
        store.fold()
        if number % 3 == 0:
            store.delete([number + 1])
        if number % 200 == 0:
            store._await_fold()  # so that ten folds happen, however slow the disk
    left = [number for number in range(2000) if number % 3]
    assert numbers(store) == left
    store.close()
    with sqlite3.connect(tmp_path / "o.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM event").fetchone() == (len(left),)


def test_the_end_waits_for_a_fold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the file would be let go of in the middle of one."""
    disk = SlowDisk(monkeypatch)
    for number in range(FOLD_AT):
        store.insert([row(number)])
    store.fold()
    assert disk.reached.wait(WAIT_S)
    threading.Timer(0.1, disk.goes_on.set).start()
    store.close()
    assert disk.goes_on.is_set() and not store.folding


def test_another_process_is_kept_out_while_it_is_open(store: Store, tmp_path: Path) -> None:
    """The index of the log lies in this process alone, so nobody else may write."""
    store.insert([row(1)])
    code = (
        "import sqlite3, sys;sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT 1 FROM event')"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "o.db")]
    other = subprocess.run(argv, capture_output=True, text=True)
    assert "database is locked" in other.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.db", "o.db-wal"]


def test_what_a_fold_meets_is_told_by_the_next_commit(store: Store, tmp_path: Path) -> None:
    """The thread itself ends without a word: there is one place that speaks of the disk."""
    for number in range(FOLD_AT):
        store.insert([row(number)])
    store._db.execute("PRAGMA query_only=1")  # as a card that has become read-only
    store.fold()
    store._await_fold()
    with pytest.raises(OutboxError, match="the outbox cannot write"):
        store.insert([row(0)])
