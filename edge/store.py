"""The only importer of sqlite3: rows of events in one file, or in memory."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from edge.errors import OutboxError

log = logging.getLogger(__name__)

# Small pages, a short log: a day of 2000 events writes 17 MB by tools.wear, 27 with the defaults.
# SQLite folds the log into the file by itself only where it has grown to 20,000 pages, 10 MB, which
# takes 30 s of 200 events a second: it waits for the disk, in a commit's midst.
SCHEMA = """
PRAGMA page_size=512;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA wal_autocheckpoint=20000;
PRAGMA journal_size_limit=1048576;
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY,
    urgent INTEGER NOT NULL,
    stored_s REAL NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS urgent ON event (id) WHERE urgent;
"""
# Of the connection that folds: who begins the log anew also cuts it to its limit.
FOLDING = """
PRAGMA synchronous=NORMAL;
PRAGMA wal_autocheckpoint=0;
PRAGMA journal_size_limit=1048576;
"""
PROBE = "PRAGMA user_version=1;"  # writes a page; SQLite opens what it may only read as well
FOLD_AT = 300  # commits, of some three pages each
# Other processes are kept out, and the log's index stays in memory instead of a third file; but
# this process may open a second connection, which locking_mode=EXCLUSIVE would refuse.
VFS = "unix-excl"
LOCK_WAIT_S = 0.2  # nobody else should hold the file, and the daemon's loop waits with us
SQL_VARIABLES = 500  # SQLite's oldest limit on ?s is 999


@dataclass(frozen=True, slots=True)
class Row:
    """One event as it lies in the store."""

    id: int  # 0 until it is stored
    urgent: bool
    stored_s: float  # since the epoch
    topic: str
    payload: bytes

    @property
    def bytes(self) -> int:
        return len(self.topic) + len(self.payload)


class Store:
    """A file (or memory, where `path` is None) of events; raises OutboxError with a remedy.

    Write-ahead log with synchronous NORMAL (sqlite.org/wal.html): a killed process loses nothing;
    a power cut may lose the last seconds, never the file. A damaged file is set aside, and what
    can still be read of it is kept. Used from one thread; what waits for the disk, folding the log
    into the file, is done in another, on a connection of its own.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.count = 0
        self.bytes = 0
        self._last_id = 0
        self._unfolded = 0  # commits since the log was last folded into the file
        self._folding: threading.Thread | None = None
        self._writing = threading.Lock()  # guards the one write that the file takes at a time
        self.read_only = ""  # why nothing can be stored, in words
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            self._open_to_read(
                f"{path}: the outbox cannot be opened ({error}); "
                "set outbox.path to a file in a folder that smartbin may write"
            )

    def _open(self) -> None:
        salvaged: list[Row] = []
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            salvaged = _salvage_damaged(self._path)
        self._connect()
        if salvaged:
            self.insert(salvaged)

    def _connect(self) -> None:
        db = _connection(self._path)
        try:
            db.executescript(SCHEMA + PROBE)
        except sqlite3.Error:
            db.close()  # now: its lock would keep out the next attempt
            raise
        self._db = db
        self._measure()

    def _open_to_read(self, why: str) -> None:
        """What lies on a card that has become read-only can still be sent."""
        self.read_only = why
        try:
            self._db = _folded_copy(self._path) or _immutable(self._path)
            self._measure()
        except sqlite3.Error as error:
            raise OutboxError(why) from error

    def retry(self) -> None:
        """Try to open a read-only file for writing again; what can be read of it stays open."""
        self._await_fold()
        with suppress(sqlite3.Error):
            self._connect()
            self.read_only = ""

    def insert(self, rows: Sequence[Row]) -> None:
        """Store rows in one commit; they are written when this returns."""
        values = [
            (self._last_id + n, row.urgent, row.stored_s, row.topic, row.payload)
            for n, row in enumerate(rows, start=1)
        ]
        with self._commit():
            self._db.executemany(f"INSERT INTO event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", values)
        self._last_id += len(rows)
        self.count += len(rows)
        self.bytes += sum(row.bytes for row in rows)

    def first(self, but: Iterable[int], limit: int) -> list[Row]:
        """The urgent rows, then the oldest, without the ids in `but`."""
        skip = set(but)
        with self._reading():
            # Ids first: to read past 200 acknowledged rows whole took 0.75 ms a decision.
            found = self._unskipped("urgent", skip, limit)
            found += self._unskipped("NOT urgent", skip, limit - len(found))
            query = f"SELECT {_COLUMNS} FROM event WHERE id = ?"
            return [_row(self._db.execute(query, (id_,)).fetchone()) for id_ in found]

    def _unskipped(self, where: str, skip: set[int], limit: int) -> list[int]:
        rows = self._db.execute(f"SELECT id FROM event WHERE {where} ORDER BY id")
        return list(islice((id_ for (id_,) in rows if id_ not in skip), limit))

    def probe(self) -> None:
        """Commit one page; an empty commit succeeds on a disk that takes nothing."""
        with self._commit():
            self._db.execute(PROBE)

    def delete(self, ids: Sequence[int]) -> None:
        """Delete rows in one commit."""
        with self._commit():
            for start in range(0, len(ids), SQL_VARIABLES):
                self._delete_some(ids[start : start + SQL_VARIABLES])

    def drop_until(self, max_bytes: int) -> int:
        """Delete the oldest, urgent rows last, until the rest fits; returns how many went."""
        dropped = 0
        while self.bytes > max_bytes and self.count > 1:
            ids = self._ids("ORDER BY urgent, id LIMIT 16")[: self.count - 1]
            self.delete(ids)
            dropped += len(ids)
        return dropped

    def drop_before(self, stored_s: float) -> int:
        """Delete rows stored before a time; returns how many went."""
        ids = self._ids("WHERE stored_s < ?", stored_s)
        self.delete(ids)
        return len(ids)

    def shift(self, by_s: float) -> None:
        """Move the time at which every row was stored."""
        with self._commit():
            self._db.execute("UPDATE event SET stored_s = stored_s + ?", (by_s,))

    def fold(self) -> None:
        """Begin to fold a long log into the file, and return at once.

        It waits for the disk three times, up to a second on a busy one, which a decision must not.
        """
        if self._path is None or self.read_only or self._unfolded < FOLD_AT or self.folding:
            return
        self._unfolded = 0
        self._folding = threading.Thread(target=self._fold, name="outbox-fold", daemon=True)
        self._folding.start()

    @property
    def folding(self) -> bool:
        """Whether the log is being folded into the file."""
        return self._folding is not None and self._folding.is_alive()

    def _fold(self) -> None:
        """In the thread of its own; a fault of the disk is met, and told, by the next commit."""
        with suppress(sqlite3.Error), closing(_connection(self._path)) as db:
            db.executescript(FOLDING)
            _, pages, folded = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages == folded:
                # The next commit begins the log anew and waits for the disk once: be it this one.
                with self._writing:
                    db.execute(PROBE)

    def _await_fold(self) -> None:
        if self._folding is not None:
            self._folding.join()

    def close(self) -> None:
        """Fold the log into the file; idempotent."""
        self._await_fold()
        self._db.close()

    def _ids(self, condition: str, *values: float) -> list[int]:
        with self._reading():
            cursor = self._db.execute(f"SELECT id FROM event {condition}", values)
            return [row[0] for row in cursor]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutboxError(f"{self._path}: the outbox cannot be read ({error})") from error

    def _delete_some(self, ids: Sequence[int]) -> None:
        marks = ",".join("?" * len(ids))
        before = self._db.execute(
            f"SELECT count(*), coalesce(sum({_BYTES}), 0) FROM event WHERE id IN ({marks})", ids
        ).fetchone()
        self._db.execute(f"DELETE FROM event WHERE id IN ({marks})", ids)
        self.count -= before[0]
        self.bytes -= before[1]

    def _measure(self) -> None:
        self.count, self.bytes, last_id = self._db.execute(
            f"SELECT count(*), coalesce(sum({_BYTES}), 0), coalesce(max(id), 0) FROM event"
        ).fetchone()
        # Grows on, though the last row was deleted: an id names one event as long as we run.
        self._last_id = max(self._last_id, last_id)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        if self.read_only:
            raise OutboxError(self.read_only)
        with self._writing:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
                self._unfolded += 1
            except sqlite3.Error as error:
                raise self._undone(error) from error

    def _undone(self, error: sqlite3.Error) -> OutboxError:
        """Take a commit back that failed; what to tell of it."""
        with suppress(sqlite3.Error):  # a full disk has rolled back already
            self._db.execute("ROLLBACK")
        with suppress(sqlite3.Error):
            self._measure()
        sentence = f"{self._path}: the outbox cannot write ({error}); free or mend the disk"
        if error.sqlite_errorname.startswith("SQLITE_READONLY"):
            self._db.close()  # it would stay read-only, and each later one of this process
            self._open_to_read(sentence)
        return OutboxError(sentence)


_COLUMNS = "id, urgent, stored_s, topic, payload"
_BYTES = "length(CAST(topic AS BLOB)) + length(payload)"


def _row(values: tuple[int, int, float, str, bytes]) -> Row:
    return Row(values[0], bool(values[1]), *values[2:])


def _connection(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return sqlite3.connect(":memory:", isolation_level=None)
    uri = f"file:{quote(str(path))}?vfs={VFS}"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_S, isolation_level=None)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _immutable(path: Path | None) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _folded_copy(path: Path | None) -> sqlite3.Connection | None:
    """A copy with its log folded in, which SQLite does not do where it may not write.

    The copy has no name any more when this returns: it is gone with the connection.
    """
    if path is None or not _log_of(path).exists():
        return None
    with suppress(OSError, sqlite3.Error), tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(_log_of(path), _log_of(copy))
        db = sqlite3.connect(copy, isolation_level=None)
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("SELECT count(*) FROM event")
        return db
    return None


def _salvage_damaged(path: Path) -> list[Row]:
    """Set a damaged file aside and return what can be read of it; nothing for a good file."""
    if not path.exists():
        return []
    db = sqlite3.connect(path, timeout=LOCK_WAIT_S)
    try:
        fault = db.execute("PRAGMA quick_check(1)").fetchone()[0].splitlines()[-1]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            db.close()
            raise  # locked, or not to be opened: that is no damage
        fault = str(error)
    rows = [] if fault == "ok" else _readable_rows(db)
    db.close()
    if fault == "ok":
        return []
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    log.error(
        "outbox: %s is damaged (%s); set aside as %s, %d events saved",
        path,
        fault,
        aside.name,
        len(rows),
    )
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return rows


def _readable_rows(db: sqlite3.Connection) -> list[Row]:
    rows: dict[int, Row] = {}
    for order in ("ASC", "DESC"):  # from both ends, up to the damage
        with suppress(sqlite3.Error):
            for values in db.execute(f"SELECT {_COLUMNS} FROM event ORDER BY id {order}"):
                rows[values[0]] = _row(values)
    return [rows[id_] for id_ in sorted(rows)]
