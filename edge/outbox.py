"""Events on disk until the broker has them: at least once, however long it is away.

What goes first when too much waits: the oldest decisions, then the oldest of the rest. Births and
faults are sent before history. While the disk is full or read-only, events wait in memory, within
the same bound, and move to the disk when it takes them again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OutboxError
from edge.places import state_folder
from edge.store import Row, Store
from edge.values import Message

log = logging.getLogger(__name__)

RETRY_DISK_S = 5.0
# Acknowledged events leave together, since each commit wears the card. A killed daemon sends at
# most these again; they have the same ids.
DELETE_EVERY_S = 600.0
DELETE_AT = 200
AGE_CHECK_S = 600.0
CLOCK_SET_S = 60.0  # a jump of the wall clock against the monotonic one; drift is less
MEMORY_BYTES = 8_000_000  # bound of what waits in memory while the disk fails: some 10,000 events


def default_path() -> Path:
    """$STATE_DIRECTORY under systemd, else the user's state folder."""
    return state_folder() / "outbox.db"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Where an event waits: on disk before memory, then its row."""

    in_memory: bool
    row: int
    bytes: int
    opening: int  # of the file: where a damaged one was salvaged, its rows have other numbers


@dataclass(frozen=True, slots=True)
class Stored:
    """One event that waits."""

    key: Key
    message: Message


class Outbox:
    """A bounded queue in one SQLite file; used from one thread."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        max_days: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_s = max_days * 86400
        self._clock = clock
        self._wall = wall
        self._memory = Store(None)
        self._disk: Store | None = None
        self._opening = 0
        self._acked_bytes = 0
        self._acked: list[int] = []  # rows on disk, still to be deleted
        self._retry_s = self._delete_s = self._age_s = clock()
        self._wall_ahead_s = wall() - clock()
        self.overflowed = 0  # went because too much waited
        self.expired = 0  # went because too old
        self.trouble = ""  # why the disk is not used, in words
        self._open_disk()
        if self.depth:
            log.info("outbox: %d events wait from before", self.depth)

    @property
    def stored(self) -> bool:
        """Whether there is anything to look for, be it acknowledged."""
        return bool(self._memory.count or (self._disk and self._disk.count))

    @property
    def depth(self) -> int:
        """Events that wait."""
        on_disk = max(0, self._disk.count - len(self._acked)) if self._disk else 0
        return on_disk + self._memory.count

    @property
    def bytes(self) -> int:
        """Bytes of the events that wait."""
        on_disk = max(0, self._disk.bytes - self._acked_bytes) if self._disk else 0
        return on_disk + self._memory.bytes

    @property
    def in_memory(self) -> int:
        """Events that a power cut would lose, because the disk does not take them."""
        return self._memory.count

    def add(self, message: Message, *, urgent: bool = False) -> None:
        """Store an event: on disk when this returns, or in memory, and `trouble` says why."""
        row = Row(0, urgent, self._dated_s(), message.topic, message.payload)
        if self._disk is not None and not self._memory.count:
            try:
                self._disk.insert([row])
                self._bound(self._disk, self._max_bytes)
                return
            except OutboxError as error:
                self._disk_failed(str(error))
        self._memory.insert([row])
        self._bound(self._memory, min(MEMORY_BYTES, self._max_bytes))

    def waiting(self, *, limit: int, but: Iterable[Key]) -> list[Stored]:
        """The next events to send, births and faults first, without those in `but`."""
        skipped = set(but)
        rows = [(True, row) for row in self._memory.first(_rows(skipped, in_memory=True), limit)]
        if self._disk is not None:
            skip = [*_rows(skipped, in_memory=False), *self._acked]
            rows += [(False, row) for row in self._read_disk(skip, limit)]
        rows.sort(key=lambda pair: (not pair[1].urgent, pair[0], pair[1].id))
        return [
            Stored(
                Key(in_memory, row.id, row.bytes, self._opening),
                Message(row.topic, row.payload, qos=1),
            )
            for in_memory, row in rows[:limit]
        ]

    def forget(self, key: Key) -> None:
        """Let go of an event that the broker has acknowledged."""
        if key.in_memory:
            self._memory.delete([key.row])
        elif key.opening == self._opening:
            self._acked.append(key.row)
            self._acked_bytes += key.bytes

    def maintain(self) -> None:
        """Now and then: delete what was acknowledged, drop what is too old, retry the disk."""
        now_s = self._clock()
        self._follow_clock()
        if self._disk is not None:
            self._disk.fold()
        if len(self._acked) >= DELETE_AT or now_s - self._delete_s >= DELETE_EVERY_S:
            self._delete_s = now_s
            self._delete_acked()
        if now_s - self._age_s >= AGE_CHECK_S:
            self._age_s = now_s
            self._drop_old()
        if (self.trouble or self._memory.count) and now_s >= self._retry_s:
            self._retry_s = now_s + RETRY_DISK_S
            self._move_to_disk()

    def close(self) -> None:
        """Delete what was acknowledged and let go of the file; idempotent."""
        self._delete_acked()
        self._move_to_disk()
        if self._memory.count:
            log.error("outbox: %d events in memory are lost: %s", self._memory.count, self.trouble)
        if self._disk is not None:
            self._disk.close()
        self._disk = None

    def _read_disk(self, skip: list[int], limit: int) -> list[Row]:
        if self._disk is None:
            return []
        try:
            return self._disk.first(skip, limit)
        except OutboxError as error:
            self._let_go(str(error))
            return []

    def _let_go(self, sentence: str) -> None:
        """Close a file that cannot be read; opening it again saves what is readable."""
        if self._disk is not None:
            self._disk.close()
        self._disk = None
        self._acked.clear()
        self._acked_bytes = 0
        self._disk_failed(sentence)

    def _open_disk(self) -> None:
        self._opening += 1
        try:
            self._disk = Store(self._path)
            if self._disk.read_only:
                self._disk_failed(self._disk.read_only)
        except OutboxError as error:
            self._disk_failed(str(error))

    def _disk_failed(self, sentence: str) -> None:
        if not self.trouble:
            log.error("outbox: %s; events wait in memory", sentence)
        self.trouble = sentence
        self._retry_s = self._clock() + RETRY_DISK_S

    def _move_to_disk(self) -> None:
        if self._disk is None:
            self._open_disk()
        elif self._disk.read_only:
            self._disk.retry()
        rows = self._memory.first([], self._memory.count)
        if self._disk is None:
            return
        try:
            if rows:
                self._disk.insert(sorted(rows, key=lambda row: row.id))
            elif self.trouble:
                self._disk.probe()
        except OutboxError as error:
            self._disk_failed(str(error))
            return
        self._memory.delete([row.id for row in rows])
        if self.trouble:
            log.info("outbox: the disk takes events again, %d moved there", len(rows))
        self.trouble = ""

    def _delete_acked(self) -> None:
        if self._disk is None or not self._acked:
            return
        try:
            self._disk.delete(self._acked)
            self._acked.clear()
            self._acked_bytes = 0
        except OutboxError as error:  # sent again after a restart: at least once still holds
            self._disk_failed(str(error))

    def _bound(self, store: Store, max_bytes: int) -> None:
        if store is self._disk and store.bytes > max_bytes:
            self._delete_acked()  # what the broker has is no loss
        dropped = store.drop_until(max_bytes)
        if dropped and not self.overflowed:
            log.warning("outbox: full at %d bytes, the oldest events go", max_bytes)
        self.overflowed += dropped

    def _dated_s(self) -> float:
        """Now, since the epoch, by the clock that every row in the store is dated by."""
        return self._clock() + self._wall_ahead_s

    def _follow_clock(self) -> None:
        """Where the wall clock was set, date what waits anew: it is no older than it was."""
        ahead_s = self._wall() - self._clock()
        jump_s = ahead_s - self._wall_ahead_s
        if abs(jump_s) < CLOCK_SET_S or self.trouble:
            return
        try:
            if self._disk is not None:
                self._disk.shift(jump_s)
        except OutboxError as error:
            self._disk_failed(str(error))
            return
        self._memory.shift(jump_s)
        self._wall_ahead_s = ahead_s
        days = jump_s / 86400
        log.warning("outbox: the clock was set by %+.1f days; what waits keeps its age", days)

    def _drop_old(self) -> None:
        if self._disk is None or self.trouble:
            return
        try:
            self.expired += self._disk.drop_before(self._dated_s() - self._max_s)
        except OutboxError as error:
            self._disk_failed(str(error))


def _rows(keys: set[Key], *, in_memory: bool) -> list[int]:
    return [key.row for key in keys if key.in_memory == in_memory]
