"""What is stored of what was heard: all that can be, once, and nothing is refused for an outage."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.batch import Batch, Heard, Sorter
from edge.fleet.database import Database
from edge.fleet.figures import Figures
from edge.fleet.flusher import Disks, NoFlush
from edge.fleet.ingest import Ingest
from edge.fleet.intake import Limits
from edge.fleet.pictures import Shelf
from edge.fleet.writer import Writer, Written
from edge.values import Message
from tests.fleet_harness import Bin
from tests.harness import wait_for

LIMITS = Limits(clock_ahead_s=3600, clock_behind_s=3600)
JPEG = b"\xff\xd8\xff\xe0" + b"x" * 500 + b"\xff\xd9"
NO_METAL = """CREATE TRIGGER no_metal BEFORE INSERT ON event WHEN NEW.label = 'metal'
BEGIN SELECT RAISE(ABORT, 'no metal'); END"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'f.db'}")
    database.prepare()
    yield database
    database.close()


class Away(Writer):
    """A writer whose database is away at calls of the test's choice."""

    calls = 0
    away_at: tuple[int, ...] = ()

    def write(self, batch: Batch, *, now_ts: float | None = None) -> Written:
        self.calls += 1
        if self.calls in self.away_at:
            raise sa.exc.OperationalError("INSERT", {}, Exception("the server went away"))
        return super().write(batch, now_ts=now_ts)


class Told:
    """An ingest over a database, with what it acknowledges."""

    def __init__(self, database: Database, *, away_at: tuple[int, ...] = ()) -> None:
        self.figures = Figures()
        self.acknowledged: list[int] = []
        sorter = Sorter(limits=LIMITS)
        writer = Away(database, identities=sorter.identities, max_bins=9, health_every_s=0)
        writer.away_at = away_at
        self.ingest = Ingest(
            sorter=sorter,
            writer=writer,
            figures=self.figures,
            acknowledge=lambda some: self.acknowledged.extend(heard.mid for heard in some),
            disk=NoFlush(),
            batch_rows=100,
            linger_s=0.0,
            max_waiting=100,
        )

    def hear(self, *messages: Message) -> None:
        """All in one batch: they are there before it starts."""
        for mid, message in enumerate(messages, start=1):
            self.ingest.take(Heard(message.topic, message.payload, 1, mid, 1, True, time.time()))
        self.ingest.start()
        everything = list(range(1, len(messages) + 1))
        wait_for(lambda: self.acknowledged == everything, what="acknowledgement")
        self.ingest.stop()


def scalar(database: Database, sql: str) -> Any:
    with database.reading() as db:
        return db.exec_driver_sql(sql).scalar()


def rejects(database: Database) -> dict[str, int]:
    with database.reading() as db:
        return {row.reason: row.n for row in db.execute(sa.select(schema.reject))}


def test_a_row_that_the_database_refuses_takes_no_other_with_it(database: Database) -> None:
    """The one is counted as bad input, the rest of its batch is stored; a start that is told again
    with it proves no second device."""
    with database.begin() as db:
        db.exec_driver_sql(NO_METAL)
    one = Bin(boot="a" * 12)
    two = Bin(boot="b" * 12)
    told = Told(database)
    told.hear(
        *(one.birth(), two.birth(), two.state(), two.health(), two.event("glass")),
        *(two.event("metal"), two.event("paper")),
    )
    assert scalar(database, "SELECT group_concat(label) FROM event") == "glass,paper"
    assert rejects(database) == {"storage": 1}
    assert scalar(database, "SELECT state || temperature_c FROM bin") == "ready51.0"
    assert told.figures.rejects.labels("storage")._value.get() == 1


@pytest.mark.parametrize("away_at", [(2,), (4,), (5, 6), (7,)])
def test_a_database_that_is_away_makes_no_event_bad(
    database: Database, away_at: tuple[int, ...]
) -> None:
    """Whenever it goes while a batch is stored row by row, the row waits until it is back."""
    with database.begin() as db:
        db.exec_driver_sql(NO_METAL)
    bin_, told = Bin(), Told(database, away_at=away_at)
    told.hear(bin_.birth(), *[bin_.event(x) for x in ("glass", "metal", "paper", "trash")])
    assert scalar(database, "SELECT group_concat(label) FROM event") == "glass,paper,trash"
    assert rejects(database) == {"storage": 1}
    assert told.ingest.trouble == "" and told.figures.failures._value.get() == 2 + len(away_at)


def test_while_the_database_is_away_nothing_is_acknowledged(database: Database) -> None:
    """Also of a fault that is no outage by name, such as a table that is gone: a batch is bad by
    its rows alone."""
    with database.begin() as db:
        db.exec_driver_sql("ALTER TABLE event RENAME TO elsewhere")
    bin_, told = Bin(), Told(database)
    for mid, message in enumerate((bin_.birth(), bin_.event()), start=1):
        told.ingest.take(Heard(message.topic, message.payload, 1, mid, 1, True, time.time()))
    told.ingest.start()
    wait_for(lambda: told.figures.failures._value.get() >= 3, what="some tries")
    assert "no such table" in told.ingest.trouble and told.acknowledged == []
    with database.begin() as db:
        db.exec_driver_sql("ALTER TABLE elsewhere RENAME TO event")
    wait_for(lambda: told.acknowledged == [1, 2], what="acknowledgement")
    assert scalar(database, "SELECT count(*) FROM event") == 1 and rejects(database) == {}
    told.ingest.stop()


def test_metrics_count_an_event_once(database: Database) -> None:
    """Told again by the broker, it is a duplicate and no second decision."""
    bin_, told = Bin(), Told(database)
    birth, glass, metal = bin_.birth(), bin_.event("glass"), bin_.event("metal")
    told.hear(birth, glass, glass, metal, glass)
    figures = told.figures
    wait_for(lambda: figures.duplicates._value.get() == 2, what="the counts")
    assert figures.events._value.get() == 2
    assert figures.decisions.labels("sorted", "glass")._value.get() == 1


def test_whoever_numbers_a_bin_waits_for_the_disk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that crashes takes its last commits back, and the monitor may go on before it
    notices: what it wrote under a number that was taken back would be nobody's."""
    waited: list[bool] = []
    begin = database.begin

    def watched(*, flush: bool = True) -> Any:
        waited.append(flush)
        return begin(flush=flush)

    monkeypatch.setattr(database, "begin", watched)
    sorter, bin_ = Sorter(limits=LIMITS), Bin()
    writer = Writer(database, identities=sorter.identities, max_bins=9, health_every_s=0)
    for message in (bin_.birth(), bin_.event(), Bin("b2").event(), bin_.event()):
        heard = Heard(message.topic, message.payload, 1, 1, 1, True, time.time())
        writer.write(sorter.sort([heard]))
    assert waited == [True, False, True, False]
    writer.forget()
    writer.write(sorter.sort([heard]))
    assert waited[-1] is True


def test_an_ack_and_a_twin_of_one_bin_may_come_in_one_batch(database: Database) -> None:
    """Both are rows of the bin's own; which is written first does not matter."""
    sorter = Sorter(limits=LIMITS)
    writer = Writer(database, identities=sorter.identities, max_bins=9, health_every_s=0)
    key = ("s", "b1")
    batch = Batch(acks={key: {"ack_ts": 5.0}}, twins={key: {"twin_ts": 6.0, "twin_detail": "x"}})
    writer.write(batch)
    assert scalar(database, "SELECT ack_ts + twin_ts FROM bin") == 11


def test_a_bin_over_the_limit_makes_no_batch_wait_for_the_disk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted each time, and it never gets a number."""
    waited: list[bool] = []
    begin = database.begin
    monkeypatch.setattr(
        database, "begin", lambda *, flush=True: (waited.append(flush), begin(flush=flush))[1]
    )
    sorter = Sorter(limits=LIMITS)
    writer = Writer(database, identities=sorter.identities, max_bins=1, health_every_s=0)
    for bin_ in (Bin(), Bin("b2"), Bin("b2")):
        message = bin_.event()
        heard = Heard(message.topic, message.payload, 1, 1, 1, True, time.time())
        writer.write(sorter.sort([heard]))
    assert waited == [True, False, False]
    assert scalar(database, "SELECT count(*) FROM bin") == 1


def test_a_folder_that_cannot_be_synced_keeps_pictures_all_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One above ours may be another's, and some network file systems sync files alone."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    shelf = shelf_of(database, tmp_path / "pictures")
    put(database, shelf, row())
    shelf.flush()
    assert [path.read_bytes() for path in files(shelf.folder)] == [JPEG]


def test_a_store_that_need_not_last_notes_no_picture_to_flush(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody flushes it, so the notes would grow for ever."""
    shelf = Shelf(database, folder=tmp_path, keep=True, max_bytes=10**6, days=30, durable=False)
    put(database, shelf, row())
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("flushed"))
    shelf.flush()
    assert len(files(tmp_path)) >= 1


def shelf_of(database: Database, folder: Path, *, max_bytes: int = 10**6) -> Shelf:
    return Shelf(database, folder=folder, keep=True, max_bytes=max_bytes, days=30)


def row(number: int = 1, jpeg: bytes = JPEG, *, ts: float = 0.0) -> dict[str, Any]:
    return {
        "event_id": f"{'a' * 12}-{number}",
        "sha256": hashlib.sha256(jpeg).hexdigest(),
        "bytes": len(jpeg),
        "ts": ts or time.time(),
        "model": "m@1",
        "outcome": "unknown",
        "why": "w",
        "model_label": None,
        "confidence": 0.4,
        "jpeg": jpeg,
    }


def put(database: Database, shelf: Shelf, *rows: dict[str, Any]) -> None:
    with database.begin() as db:
        for one in rows:
            shelf.put(db, 1, one)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_picture_is_on_the_disk_before_it_is_acknowledged(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes, its name, and the names of the folders above it; each once."""
    flushed: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    shelf = shelf_of(database, tmp_path / "pictures")
    disk = Disks(shelf, NoFlush())
    disk.open()
    put(database, shelf, row())
    assert flushed == []
    disk.flush()
    (path,) = files(shelf.folder)
    assert flushed[0] == path
    assert set(flushed[1:]) == {path.parent, shelf.folder, tmp_path}
    flushed.clear()
    disk.flush()
    assert flushed == []


def test_a_picture_that_the_disk_did_not_take_is_written_anew(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush that fails says so once, and the system then believes the file to be clean: so it
    is deleted, and the batch, which is not acknowledged, brings it again."""
    shelf = shelf_of(database, tmp_path / "pictures")
    put(database, shelf, row())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            shelf.flush()
    assert files(shelf.folder) == []
    put(database, shelf, row())
    shelf.flush()
    assert [path.read_bytes() for path in files(shelf.folder)] == [JPEG]
    assert scalar(database, "SELECT count(*) FROM picture") == 1


def test_what_a_power_cut_left_of_a_picture_is_written_again(
    database: Database, tmp_path: Path
) -> None:
    """The broker tells it again; a name alone proves no content."""
    shelf = shelf_of(database, tmp_path / "pictures")
    put(database, shelf, row())
    (path,) = files(shelf.folder)
    path.write_bytes(b"")
    put(database, shelf, row())
    assert path.read_bytes() == JPEG


def test_a_second_picture_of_one_event_leaves_no_file(database: Database, tmp_path: Path) -> None:
    """A file without a row is never deleted: a bin could fill the disk with them."""
    shelf = shelf_of(database, tmp_path / "pictures")
    others = [row(1, JPEG[:-2] + bytes([n]) + JPEG[-2:]) for n in range(5)]
    put(database, shelf, row(), *others)
    assert [path.read_bytes() for path in files(shelf.folder)] == [JPEG]


def test_the_oldest_pictures_go_where_there_are_too_many(
    database: Database, tmp_path: Path
) -> None:
    """By size and by age, with their files; two rows that share a file keep it."""
    shelf = shelf_of(database, tmp_path / "pictures", max_bytes=3 * len(JPEG) + 10)
    now_ts = time.time()
    jpegs = [JPEG[:-2] + bytes([n]) + JPEG[-2:] for n in range(4)]
    put(database, shelf, *[row(n, jpegs[n], ts=now_ts - 10 * n) for n in range(3)])
    assert shelf.forget_old(now_ts=now_ts) == 0
    put(database, shelf, row(7, jpegs[0], ts=now_ts - 90))
    assert shelf.forget_old(now_ts=now_ts) == 1 and len(files(shelf.folder)) == 3
    put(database, shelf, row(8, jpegs[3], ts=now_ts))
    assert shelf.forget_old(now_ts=now_ts) == 1
    assert not shelf.path(row(2, jpegs[2])["sha256"]).exists()
    assert shelf.forget_old(now_ts=now_ts + 31 * 86400) == 3 and files(shelf.folder) == []
