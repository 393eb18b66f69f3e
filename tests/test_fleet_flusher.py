"""Seen when committed, acknowledged when the disk has it, stored again where a server forgot."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from edge.fleet import flusher, schema
from edge.fleet.batch import Batch, Heard, Sorter
from edge.fleet.database import Database
from edge.fleet.figures import Figures
from edge.fleet.flusher import Flusher, NoFlush, SqliteLog, Stored
from edge.fleet.ingest import Ingest
from edge.fleet.intake import Limits
from edge.fleet.writer import Writer
from tests.harness import wait_for


class SlowDisk:
    """A disk whose flushes end when the test lets them, or fail when it says so."""

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.fails = False
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def flush(self) -> None:
        assert self.let.acquire(timeout=200)
        if self.fails:
            self.fails = False
            raise OSError(5, "Input/output error")


def stored(number: int) -> Stored:
    return Stored([Heard("t", b"", 1, number, 1, True, 0.0)], Batch())


def mids(messages: list[Heard]) -> list[int]:
    return [heard.mid for heard in messages]


def test_nothing_is_acknowledged_before_the_flush() -> None:
    """Batches that come during a flush wait for the next one; each is told once, in order."""
    disk, told = SlowDisk(), []
    flusher_ = Flusher(disk, done=lambda messages: told.append(mids(messages)))
    flusher_.start()
    flusher_.add(stored(1), epoch=flusher_.epoch)
    assert told == []
    flusher_.add(stored(2), epoch=flusher_.epoch)
    flusher_.add(stored(3), epoch=flusher_.epoch)
    assert told == []
    for _ in range(3):
        disk.let.release()
    wait_for(lambda: sum(map(len, told)) == 3, what="acknowledgement")
    assert [mid for some in told for mid in some] == [1, 2, 3]
    flusher_.stop()


def test_what_a_server_may_have_forgotten_is_given_back_in_order() -> None:
    """After a fault every batch that was not flushed is to be stored again, and those after it;
    none of them is acknowledged by a later flush alone."""
    disk, told = SlowDisk(), []
    flusher_ = Flusher(disk, done=lambda messages: told.append(mids(messages)))
    flusher_.start()
    before = flusher_.epoch
    disk.fails = True
    flusher_.add(stored(1), epoch=before)
    disk.let.release()
    wait_for(lambda: flusher_.trouble, what="trouble")
    wait_for(lambda: flusher_.epoch == before + 1, what="the disk to be opened again")
    flusher_.add(stored(2), epoch=before)  # was being written meanwhile
    flusher_.add(stored(3), epoch=flusher_.epoch)
    back = flusher_.take_back()
    assert [mid for one in back for mid in mids(one.messages)] == [1, 2, 3] and told == []
    for one in back:
        flusher_.add(one, epoch=flusher_.epoch)
    for _ in range(3):
        disk.let.release()
    wait_for(lambda: [mid for some in told for mid in some] == [1, 2, 3], what="acknowledgement")
    wait_for(lambda: not flusher_.trouble, what="no trouble")
    assert disk.opened == 2
    flusher_.stop()


def test_health_alone_does_not_wait_for_the_flush(tmp_path: Path) -> None:
    """The broker sends it whether it is acknowledged or not: while a disk does not flush, it would
    fill the memory."""
    database, figures = Database(f"sqlite:///{tmp_path / 'f.db'}"), Figures()
    database.prepare()
    sorter = Sorter(limits=Limits(clock_ahead_s=60, clock_behind_s=60))
    ingest = Ingest(
        sorter=sorter,
        writer=Writer(database, identities=sorter.identities, max_bins=9, health_every_s=60),
        figures=figures,
        acknowledge=lambda messages: None,
        disk=SlowDisk(),
        batch_rows=10,
        linger_s=0.0,
        max_waiting=100,
    )
    ingest.start()
    ingest.take(Heard("bins/v1/s/b/health", b"{}", 0, 1, 1, True, 0.0))
    wait_for(lambda: figures.batch_rows._sum.get() == 1, what="a batch")
    assert ingest._flusher._waiting == []
    ingest.stop()
    database.close()


def test_sqlite_flushes_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit without flush is seen by others at once; the flush is of the log that holds it."""
    database = Database(f"sqlite:///{tmp_path / 'f.db'}")
    database.prepare()
    with database.begin(flush=False) as db:
        db.execute(sa.insert(schema.meta), {"key": "k", "value": "written"})
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL
    with database.reading() as db:
        assert db.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == "k")).scalar()
    flushed: list[Path] = []
    monkeypatch.setattr(
        flusher, "_fdatasync", lambda fd: flushed.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    disk = database.disk()
    assert isinstance(disk, SqliteLog)
    disk.open()
    disk.flush()
    assert flushed == [tmp_path / "f.db-wal"]
    assert b"written" in (tmp_path / "f.db-wal").read_bytes()
    with database.begin() as db:
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    database.close()


def test_without_durable_nothing_is_flushed(tmp_path: Path) -> None:
    """store.durable = false: neither a batch nor a person's change waits for the disk."""
    database = Database(f"sqlite:///{tmp_path / 'f.db'}", durable=False)
    database.prepare()
    assert isinstance(database.disk(), NoFlush)
    with database.begin() as db:
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    database.close()
