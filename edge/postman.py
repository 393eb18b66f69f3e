"""Carries events from the outbox to the broker, paced, and forgets what it acknowledged."""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable

from edge.mqtt import Link
from edge.outbox import Key, Outbox, Stored
from edge.values import Message

log = logging.getLogger(__name__)

IN_FLIGHT = 10  # unacknowledged events; brokers allow 20, the rest is for decisions
REFUSALS = 20  # on one connection: then events wait for the next, an ACL does not change so fast
SLOW_ACK_S = 0.25  # worth a remark; a broker in the house answers in milliseconds
PAUSE_MAX_S = 1.0  # random, before a replay: a fleet that lost its broker must not storm it


class Postman:
    """Everything happens in the thread of `pump`; only `acknowledge` is called from another."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        per_s: float,
        on_delivered: Callable[[Message], None] = lambda message: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._per_s = per_s
        self._on_delivered = on_delivered  # called in the thread of `pump`
        self._clock = clock
        self._acks: queue.SimpleQueue[tuple[int, int, bool, float]] = queue.SimpleQueue()
        self._in_flight: dict[int, tuple[Stored, float]] = {}  # message id -> event, when sent
        self._refused: set[Key] = set()  # by this connection; tried again at the next
        self._remarked = False  # that this connection is slow
        self._connection = 0
        self._was_connected = False
        self._tokens, self._filled_s = float(IN_FLIGHT), clock()
        self.refused = 0

    def acknowledge(self, connection: int, mid: int, accepted: bool) -> None:
        """Called in the network thread: only hands over."""
        self._acks.put((connection, mid, accepted, self._clock()))

    def pump(self, link: Link) -> None:
        """Take in acknowledgements, then send on as far as pace and window allow."""
        self._on_new_connection(link)
        self._take_acks()
        self._outbox.maintain()
        room = min(IN_FLIGHT - len(self._in_flight), self._allowance())
        if not link.connected or room <= 0:
            return
        busy = {*(stored.key for stored, _ in self._in_flight.values()), *self._refused}
        if not self._outbox.stored or len(self._refused) >= REFUSALS:
            return
        for stored in self._outbox.waiting(limit=room, but=busy):
            mid = link.publish(stored.message)
            if mid is None:
                return
            self._in_flight[mid] = stored, self._clock()
            self._tokens -= 1

    def _on_new_connection(self, link: Link) -> None:
        if link.connection != self._connection:
            # What the last connection did not acknowledge is sent again, from the outbox.
            self._connection = link.connection
            self._in_flight.clear()
            self._refused.clear()
            self._remarked = False
        if link.connected and not self._was_connected and self._outbox.depth > IN_FLIGHT:
            self._tokens = -random.uniform(0, PAUSE_MAX_S) * self._per_s
        self._was_connected = link.connected

    def _allowance(self) -> int:
        now_s = self._clock()
        self._tokens += (now_s - self._filled_s) * self._per_s
        self._tokens = min(self._tokens, float(IN_FLIGHT))
        self._filled_s = now_s
        return int(self._tokens)

    def _take_acks(self) -> None:
        while True:
            try:
                connection, mid, accepted, acked_s = self._acks.get_nowait()
            except queue.Empty:
                return
            sent = self._in_flight.pop(mid, None) if connection == self._connection else None
            if sent is None:
                continue
            stored, sent_s = sent
            self._remark_slowness(acked_s - sent_s)
            if accepted:
                self._outbox.forget(stored.key)
                self._on_delivered(stored.message)
            else:
                self._refuse(stored.key)

    def _remark_slowness(self, took_s: float) -> None:
        if took_s > SLOW_ACK_S and not self._remarked:  # once a connection
            log.warning(
                "outbox: the broker took %.1f s to acknowledge an event; is the network slow? "
                "Events wait on the disk meanwhile",
                took_s,
            )
            self._remarked = True

    def _refuse(self, key: Key) -> None:
        if not self._refused:
            log.warning("outbox: the broker refuses an event; check its ACL for this bin")
        self._refused.add(key)
        self.refused += 1
