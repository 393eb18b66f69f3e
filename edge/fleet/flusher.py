"""What is committed is seen at once; it is acknowledged when the disk has it, here.

A slow disk (a card, a disk that others use) may take seconds for one flush. The writer does not
wait for it: it commits without, and a thread of this module flushes for all that was committed
meanwhile. Nobody sees later because of it, and what the broker may forget is on the disk.

A server that crashes takes its last commits back, the broker does not know. They are kept here
until they are flushed, and given back to be stored again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from edge.fleet.batch import Batch, Heard

log = logging.getLogger(__name__)

IDLE_S = 0.5
RETRY_MIN_S, RETRY_MAX_S = 0.2, 15.0
FAULTS = (sa.exc.SQLAlchemyError, OSError)
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has none


class Disk(Protocol):
    """`flush` returns when every commit since `open` would outlive a power cut."""

    def open(self) -> None:
        """Begin, or begin anew after a fault; raises SQLAlchemyError or OSError."""

    def flush(self) -> None:
        """Raises SQLAlchemyError or OSError where a commit since `open` may be gone."""


class NoFlush:
    """store.durable = false: a power cut may take the last seconds."""

    def open(self) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""


class Disks:
    """Several as one: what is stored in two places is on the disk when both have it."""

    def __init__(self, *disks: Disk) -> None:
        self._disks = disks

    def open(self) -> None:
        """Each in turn."""
        for disk in self._disks:
            disk.open()

    def flush(self) -> None:
        """Each in turn."""
        for disk in self._disks:
            disk.flush()


class SqliteLog:
    """Flushes the log, in which every commit is, as SQLite itself does with synchronous=FULL.

    What is not in the log any more was flushed when it was folded into the file.
    """

    def __init__(self, file: Path) -> None:
        self._log = file.with_name(file.name + "-wal")

    def open(self) -> None:
        """Nothing: a process that lives has lost nothing."""

    def flush(self) -> None:
        """The log is opened anew each time, since SQLite may have made another."""
        try:
            descriptor = os.open(self._log, os.O_RDONLY)
        except FileNotFoundError:
            return  # no log where the file system allows none: each commit was flushed
        try:
            _fdatasync(descriptor)
        finally:
            os.close(descriptor)


class PostgresLog:
    """A commit that waits for the disk flushes all that were logged before it.

    The connection is held: while it lives, the server has not crashed, and what was committed
    since it was made is there.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._db: sa.Connection | None = None

    def open(self) -> None:
        """Connect."""
        if self._db is not None:
            self._db.invalidate()
            self._db.close()
            self._db = None
        self._db = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Where the server's own default waits for replicas, that stays.
        waits = "SELECT set_config('synchronous_commit', 'on', false) "
        self._db.exec_driver_sql(waits + "WHERE current_setting('synchronous_commit') = 'off'")

    def flush(self) -> None:
        """An empty message into the server's log, durably."""
        assert self._db is not None, "open first"
        self._db.exec_driver_sql("SELECT pg_logical_emit_message(true, 'smartbin', '')")


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that is committed, and not known to be on the disk."""

    messages: list[Heard]
    batch: Batch


class Flusher:
    """The writer's thread calls `add` and `take_back`; everything else happens in its own."""

    def __init__(self, disk: Disk, *, done: Callable[[list[Heard]], None]) -> None:
        self._disk = disk
        self._done = done
        self._open = False
        self._lock = threading.Lock()  # guards _waiting, _doubtful and epoch
        self._waiting: list[Stored] = []
        self._doubtful: list[Stored] = []  # committed before the server may have crashed
        self.epoch = 0  # how often the disk was opened; ask before a batch is written
        self._there = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-flusher", daemon=True)
        self.trouble = ""  # why nothing is flushed, in words

    @property
    def alive(self) -> bool:
        """Whether the thread of its own still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to flush; nothing may have been written before."""
        self._flush()
        self._thread.start()

    def stop(self) -> None:
        """Flush what was added, once, and end; idempotent."""
        self._stop.set()
        self._there.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def add(self, stored: Stored, *, epoch: int) -> None:
        """A batch is committed; `epoch` is what it was before the batch was written."""
        with self._lock:
            # After one that must be stored again, all are, in their order: states follow states.
            doubtful = self._doubtful or epoch != self.epoch
            (self._doubtful if doubtful else self._waiting).append(stored)
        self._there.set()

    def take_back(self) -> list[Stored]:
        """Batches that must be stored again, because the server may have forgotten them."""
        with self._lock:
            doubtful, self._doubtful = self._doubtful, []
        return doubtful

    def _run(self) -> None:
        delay_s = RETRY_MIN_S
        while True:
            self._there.wait(IDLE_S)
            ending = self._stop.is_set()
            self._there.clear()
            if self._flush():
                delay_s = RETRY_MIN_S
            elif not ending:
                self._stop.wait(delay_s)
                delay_s = min(RETRY_MAX_S, delay_s * 2)
            if ending:
                return

    def _flush(self) -> bool:
        """One flush for all that waits; False where the disk does not do it."""
        try:
            if not self._open:
                self._begin()
            with self._lock:
                stored = list(self._waiting)
            if stored:
                self._disk.flush()
        except FAULTS as error:
            self._open = False
            why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            if not self.trouble:  # once, not at every attempt
                log.warning("fleet: the database's disk is not flushed: %s; trying again", why)
            self.trouble = why
            return False
        self.trouble = ""
        if stored:
            with self._lock:
                del self._waiting[: len(stored)]
            self._done([heard for one in stored for heard in one.messages])
        return True

    def _begin(self) -> None:
        self._disk.open()
        with self._lock:
            self.epoch += 1
            self._doubtful += self._waiting
            self._waiting = []
        self._open = True
