"""Tells the world: numbers decisions, stores each as an event, publishes it while it is fresh."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.health import clock_synced
from edge.judge import Verdict
from edge.mqtt import Link
from edge.outbox import Outbox
from edge.postman import Postman
from edge.values import Appointment, Decision, Item, Message
from edge.wire import (
    FireAt,
    Origin,
    Stamp,
    State,
    decision_message,
    decision_payload,
    event_message,
    order_message,
    record_message,
    state_event_message,
)

log = logging.getLogger(__name__)

CLOCK_CHECK_S = 10.0  # adjtimex is cheap, but need not be asked for every item


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as it was told."""

    payload: dict[str, Any]
    message: Message
    sent: bool  # the broker's client took it
    left_s: float  # until nothing may move for it any more


class Reporter:
    """Used by the main thread alone."""

    def __init__(
        self,
        *,
        origin: Origin,
        link: Link,
        outbox: Outbox,
        postman: Postman,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.origin = origin
        self._link = link
        self._outbox = outbox
        self._postman = postman
        self.deadline_s = deadline_s
        self._clock = clock
        self._wall = wall
        self._seq = 0
        self._synced, self._synced_until_s = False, 0.0
        self.undelivered = 0  # decisions that no actuator heard of: offline, or too late

    @property
    def seq(self) -> int:
        """The number of the newest event."""
        return self._seq

    def report(
        self, item: Item, verdict: Verdict, *, obey: Callable[[Decision, Message], None]
    ) -> Told:
        """Event to the disk first, then the decision to the network, then the queue onward.

        `obey` gets the decision before the network, while it is fresh: devices on this board.
        """
        self._seq += 1
        payload = decision_payload(
            self.origin, verdict.decision, self._stamp(self._seq, item, verdict)
        )
        self._outbox.add(event_message(self.origin.topics, payload))
        # The disk may have taken its time: what counts is how much is left now.
        left_s = self._until_s(verdict) - self._clock()
        message = decision_message(self.origin.topics, payload, left_s=left_s)
        if left_s > 0:
            obey(verdict.decision, message)
        sent = left_s > 0 and self._link.publish(message) is not None
        self.undelivered += not sent
        self._postman.pump(self._link)
        decision = verdict.decision
        log.info(
            "item %d%s: %s %s -> %s (%s, %.1f ms)",
            self._seq,
            f" {payload['picture']}" if "picture" in payload else "",
            decision.outcome,
            decision.label or "-",
            decision.route,
            decision.reason,
            verdict.latency_ms,
        )
        return Told(payload, message, sent, left_s)

    def report_record(self, kind: str, details: Mapping[str, Any]) -> None:
        """Record a movement or a command among the events."""
        self._seq += 1
        event = record_message(
            self.origin,
            kind,
            details,
            seq=self._seq,
            ts=self._wall(),
            clock_synced=self._clock_synced(),
        )
        self._outbox.add(event)

    def order(self, verb: str, *, id: str, route: str, life_s: float) -> Message:
        """An operator's order as the actuator takes it."""
        return order_message(
            self.origin,
            verb,
            id=id,
            route=route,
            ts=self._wall(),
            expires_ms=round(life_s * 1000),
            synced=self._clock_synced(),
        )

    def report_state(self, state: State, reason: str) -> None:
        """Record a change of state among the events; urgent, so it is sent before history."""
        self._seq += 1
        event = state_event_message(
            self.origin,
            state,
            seq=self._seq,
            reason=reason,
            ts=self._wall(),
            clock_synced=self._clock_synced(),
        )
        self._outbox.add(event, urgent=True)

    def _stamp(self, seq: int, item: Item, verdict: Verdict) -> Stamp:
        to_wall = self._wall() - self._clock()
        latency_s = verdict.decided_s - verdict.frame_s
        return Stamp(
            seq=seq,
            cause=item.cause,
            trigger_ts=verdict.trigger_s + to_wall,
            frame_ts=verdict.frame_s + to_wall,
            decided_ts=verdict.decided_s + to_wall,
            latency_ms=latency_s * 1000,
            expires_ms=max(0, round((self._until_s(verdict) - verdict.decided_s) * 1000)),
            segmenter=verdict.segmenter,
            clock_synced=self._clock_synced(),
            picture=item.frames[-1].source if item.frames else "",
            fire_at=_fire_at(verdict.appointment, to_wall),
        )

    def _until_s(self, verdict: Verdict) -> float:
        """When nothing may move for this decision any more, on the monotonic clock."""
        if verdict.appointment:
            return verdict.appointment.until_s
        return verdict.frame_s + self.deadline_s

    def _clock_synced(self) -> bool:
        if self._clock() >= self._synced_until_s:
            self._synced = clock_synced()
            self._synced_until_s = self._clock() + CLOCK_CHECK_S
        return self._synced


def _fire_at(appointment: Appointment | None, to_wall: float) -> FireAt | None:
    return FireAt(appointment.act_s + to_wall, appointment.pulse) if appointment else None
