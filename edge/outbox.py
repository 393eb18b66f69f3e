"""Events on disk until the broker has them: at least once, in order, however long it is away."""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OutboxError
from edge.mqtt import Link
from edge.values import Message

log = logging.getLogger(__name__)

IN_FLIGHT = 20  # unacknowledged events at a time; also paces the replay after an outage
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL
)
"""


def default_path() -> Path:
    """$STATE_DIRECTORY under systemd, else the user's state folder."""
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    folder = Path(state) if state else Path.home() / ".local" / "state" / "smartbin"
    return folder / "outbox.db"


@dataclass(frozen=True, slots=True)
class Stored:
    """One event that waits."""

    row: int  # grows with every event
    message: Message


class Outbox:
    """A queue in one SQLite file; used from one thread.

    Write-ahead log with synchronous NORMAL: a killed process loses nothing; a power cut may lose
    the last events but never the file (sqlite.org/wal.html).
    """

    def __init__(self, path: Path, *, max_events: int) -> None:
        self._max_events = max_events
        self.overflowed = 0  # events that went because too many waited
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(SCHEMA)
            self.depth = int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(
                f"{path}: the outbox cannot be opened ({error}); "
                "set outbox.path to a file in a folder that smartbin may write"
            ) from error

    def add(self, message: Message) -> None:
        """Store an event; it is on disk when this returns. Raises OutboxError."""
        try:
            self._db.execute(
                "INSERT INTO outbox (topic, payload) VALUES (?, ?)",
                (message.topic, message.payload),
            )
            self.depth += 1
            if self.depth > self._max_events:
                self._drop_oldest()
        except sqlite3.Error as error:
            raise OutboxError(
                f"the outbox cannot store an event ({error}); free the disk"
            ) from error

    def waiting(self, *, after_row: int, limit: int) -> list[Stored]:
        """The oldest events behind `after_row`, oldest first."""
        rows = self._db.execute(
            "SELECT id, topic, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
            (after_row, limit),
        )
        return [Stored(row, Message(topic, payload, qos=1)) for row, topic, payload in rows]

    def forget(self, row: int) -> None:
        """Delete an event that the broker has acknowledged."""
        try:
            self.depth -= self._db.execute("DELETE FROM outbox WHERE id = ?", (row,)).rowcount
        except sqlite3.Error as error:  # it will be sent again: at least once still holds
            log.warning("outbox: an acknowledged event cannot be deleted (%s)", error)

    def close(self) -> None:
        """Fold the log into the file and let go of it; idempotent."""
        self._db.close()

    def _drop_oldest(self) -> None:
        dropped = self._db.execute(
            "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)"
        ).rowcount
        self.depth -= dropped
        self.overflowed += dropped


class Postman:
    """Carries events from the outbox to the broker; everything happens in the thread of `pump`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._acks: queue.SimpleQueue[tuple[int, int, bool]] = queue.SimpleQueue()
        self._in_flight: dict[int, int] = {}  # message id -> row
        self._connection = 0  # whose ids those are
        self._sent_to_row = 0
        self.refused = 0  # events that the broker acknowledged with a refusal

    def acknowledge(self, connection: int, mid: int, accepted: bool) -> None:
        """Called in the network thread: only hands over."""
        self._acks.put((connection, mid, accepted))

    def pump(self, link: Link) -> None:
        """Take in acknowledgements, then send on, at most IN_FLIGHT unacknowledged."""
        if link.connection != self._connection:
            # What the last connection did not acknowledge is sent again, from disk.
            self._connection, self._sent_to_row = link.connection, 0
            self._in_flight.clear()
        self._take_acks()
        room = IN_FLIGHT - len(self._in_flight)
        if not link.connected or room <= 0:
            return
        for stored in self._outbox.waiting(after_row=self._sent_to_row, limit=room):
            mid = link.publish(stored.message)
            if mid is None:
                return
            self._in_flight[mid] = stored.row
            self._sent_to_row = stored.row

    def _take_acks(self) -> None:
        while True:
            try:
                connection, mid, accepted = self._acks.get_nowait()
            except queue.Empty:
                return
            row = self._in_flight.pop(mid, None) if connection == self._connection else None
            if row is None:
                continue
            if accepted:
                self._outbox.forget(row)
            else:
                self.refused += 1  # stays on disk; sent again at the next connection
                log.warning("outbox: the broker refuses an event; check its ACL for this bin")
