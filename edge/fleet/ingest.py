"""Between the broker and the database: takes messages, stores them in batches, acknowledges.

A batch is seen by others when it is committed, and acknowledged when the disk has it (flusher.py).
The bound of what waits in memory is the broker's receive maximum: it sends no more until we
acknowledge. Health is not acknowledged (QoS 0): where too much waits, it is left out and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import sqlalchemy as sa

from edge.fleet.batch import Batch, Heard, Sorter
from edge.fleet.figures import Figures
from edge.fleet.flusher import Disk, Flusher, Stored
from edge.fleet.writer import Writer, Written

log = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.2, 15.0
IDLE_S = 0.5
MAX_LABELS = 100  # classes that /metrics tells apart; a bin may invent more
# What a row itself causes, whenever it is written; the last two by the drivers themselves.
OF_A_ROW = (sa.exc.IntegrityError, sa.exc.DataError, ValueError, OverflowError)
# All else is the database's: away, locked, full, read-only, without its tables. That may pass.
OF_THE_STORE = (sa.exc.SQLAlchemyError, OSError)


class Acknowledges(Protocol):
    """Tells the broker what is on the disk."""

    def __call__(self, messages: Iterable[Heard]) -> None: ...


class Ingest:
    """`take` is called from paho's thread; everything else happens in the thread of its own."""

    def __init__(
        self,
        *,
        sorter: Sorter,
        writer: Writer,
        figures: Figures,
        acknowledge: Acknowledges,
        disk: Disk,
        batch_rows: int,
        linger_s: float,
        max_waiting: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sorter = sorter
        self._writer = writer
        self._figures = figures
        self._acknowledge = acknowledge
        self._batch_rows = batch_rows
        self._linger_s = linger_s
        self._max_waiting = max_waiting
        self._wall = wall
        self._waiting: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._labels: set[str] = set()
        self._left_out = 0  # health; written by paho's thread, taken by ours
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-writer", daemon=True)
        self._flusher = Flusher(disk, done=self._flushed)
        self._trouble = ""  # why nothing is stored, in words
        figures.waiting.set_function(self._waiting.qsize)

    def take(self, heard: Heard) -> None:
        """Keep a message for the next batch."""
        if heard.qos == 0 and self._waiting.qsize() >= self._max_waiting:
            self._left_out += 1
            return
        self._waiting.put(heard)

    @property
    def alive(self) -> bool:
        """Whether the threads of its own still run."""
        return self._thread.is_alive() and self._flusher.alive

    @property
    def trouble(self) -> str:
        """Why nothing is stored for good, in words; empty where all is well."""
        return self._trouble or self._flusher.trouble

    def start(self) -> None:
        """Begin to store."""
        self._flusher.start()
        self._thread.start()

    def stop(self) -> None:
        """Store what has been taken, within bounds, and end; idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        self._flusher.stop()

    def _run(self) -> None:
        while not (self._stop.is_set() and self._waiting.empty()):
            back = self._flusher.take_back()
            if back:
                self._writer.forget()
            for stored in back:
                self._write(stored.messages, stored.batch)
            messages = self._gather()
            if messages:
                self._store(messages)

    def _gather(self) -> list[Heard]:
        """A batch: what is there, and what comes while we linger."""
        try:
            messages = [self._waiting.get(timeout=IDLE_S)]
        except queue.Empty:
            return []
        until_s = time.monotonic() + self._linger_s
        while len(messages) < self._batch_rows:
            left_s = until_s - time.monotonic()
            try:
                if left_s > 0 and not self._stop.is_set():
                    messages.append(self._waiting.get(timeout=left_s))
                else:
                    messages.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return messages

    def _store(self, messages: list[Heard]) -> None:
        batch = self._sorter.sort(messages)
        left_out, self._left_out = self._left_out, 0
        if left_out:
            batch.reject("overload", "", ts=self._wall(), sample="health", n=left_out)
        written = self._write(messages, batch)
        if written:
            self._count(messages, batch, written)

    def _write(self, messages: list[Heard], batch: Batch) -> Written | None:
        """Commit a batch, however long the database is away; None where we end meanwhile."""
        try:
            done = self._insist(batch)
        except OF_A_ROW as error:
            log.warning("fleet: a batch is stored row by row: %s", _why(error))
            done = self._one_by_one(batch)
        if done is None:
            return None  # not acknowledged: the broker has it still
        written, epoch = done
        if any(heard.qos for heard in messages):  # else the broker waits for none: no bound
            self._flusher.add(Stored(messages, batch), epoch=epoch)
        return written

    def _insist(self, batch: Batch) -> tuple[Written, int] | None:
        """What it came to, and the flusher's epoch before; None where we end meanwhile.

        Raises OF_A_ROW; then nothing of the batch is stored, and none of it ever will be.
        """
        delay_s = RETRY_MIN_S
        while True:
            epoch = self._flusher.epoch
            try:
                written = self._writer.write(batch)
                break
            except OF_A_ROW:
                self._writer.forget()
                self._figures.failures.inc()
                raise
            except OF_THE_STORE as error:
                self._failed(error)
                if self._stop.wait(delay_s):
                    return None
                delay_s = min(RETRY_MAX_S, delay_s * 2)
        self._succeeded()
        return written, epoch

    def _one_by_one(self, batch: Batch) -> tuple[Written, int] | None:
        """Store what can be stored of a batch that the database refuses as a whole."""
        whole, epoch = Written(), self._flusher.epoch
        for what, part in batch.apart():
            try:
                done = self._insist(part)
            except OF_A_ROW as error:
                done = self._refuse(what, error)
            if done is None:
                return None
            whole += done[0]
        return whole, epoch

    def _refuse(self, what: str, error: Exception) -> tuple[Written, int] | None:
        """Count a row that no database takes; None where we end meanwhile."""
        log.error("fleet: the database refuses a row of %s: %s", what, _why(error))
        self._figures.rejects.labels("storage").inc()
        told = Batch()
        told.reject("storage", "", ts=self._wall(), sample=f"{what}: {_why(error)}")
        try:
            return self._insist(told)
        except OF_A_ROW:
            return Written(), self._flusher.epoch  # the log alone tells it

    def _failed(self, error: Exception) -> None:
        self._writer.forget()
        self._figures.failures.inc()
        self._figures.store_up.set(0)
        why = _why(error)
        if not self._trouble:
            log.error("fleet: the database fails: %s; messages wait at the broker", why)
        self._trouble = why

    def _succeeded(self) -> None:
        if self._trouble:
            log.info("fleet: the database takes messages again")
        self._trouble = ""
        self._figures.store_up.set(1)

    def _flushed(self, messages: list[Heard]) -> None:
        """Called by the flusher's thread."""
        self._acknowledge(messages)
        now_ts = self._wall()
        for heard in messages:
            self._figures.kept.observe(now_ts - heard.received_ts)

    def _count(self, messages: list[Heard], batch: Batch, written: Written) -> None:
        figures, now_ts = self._figures, self._wall()
        figures.batch_rows.observe(len(messages))
        figures.events.inc(len(written.new))
        figures.duplicates.inc(written.duplicates)
        for kind, n in batch.kinds.items():
            figures.messages.labels(kind).inc(n)
        for (reason, _), entry in batch.rejects.items():
            figures.rejects.labels(reason).inc(entry.n)
        for heard in messages:
            figures.lag.observe(now_ts - heard.received_ts)
        for row in written.new:
            if row["flag"] == "" and row["kind"] == "decision":
                figures.age.observe(max(0.0, now_ts - row["ts"]))
                figures.decisions.labels(row["outcome"], self._label(row["label"] or "")).inc()

    def _label(self, label: str) -> str:
        if label not in self._labels and len(self._labels) >= MAX_LABELS:
            return "other"
        self._labels.add(label)
        return label


def _why(error: Exception) -> str:
    """The database's own first line."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return text.splitlines()[0]
