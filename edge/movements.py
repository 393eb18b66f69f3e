"""The loop's part in movements: asks, awaits acks without waiting, records, and steers round jams.

`take` is called in the network thread, or in that of a local device, and only hands over.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import time
from collections.abc import Callable
from typing import Any, Protocol

from edge.acks import Acks, Awaited, Movement, Said, read_ack
from edge.commands import Command
from edge.judge import Verdict
from edge.mqtt import Link
from edge.options import name_fault
from edge.reporter import Reporter, Told
from edge.values import Decision, Incoming, Message
from edge.wire import Origin

log = logging.getLogger(__name__)

MAX_SAID = 1000  # acks that wait for the loop; more is a flood
ORDER_LIFE_S = 5.0  # in which an operator's order may begin


class Local(Protocol):
    """Devices on this board: take decisions and orders as an actuator behind the broker would."""

    def obey(self, message: Message) -> None: ...
    def follow_safe(self, safe: str) -> None: ...
    def close(self) -> None: ...


class Movements:
    """Used by the loop, but for `take`."""

    def __init__(
        self,
        *,
        origin: Origin,
        safe: str,
        acks: Acks,
        ack_s: float,
        link: Link,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin = origin
        self._safe = safe
        self._acks = acks
        self._ack_s = ack_s
        self._link = link
        self._reporter = reporter
        self._clock = clock
        self._said: queue.Queue[Said] = queue.Queue(MAX_SAID)
        self._dropped = 0  # acks since none waited; a count may miss one between threads
        self._orders = 0
        self.told: Callable[[str, str], None] = lambda id, result: None  # of each outcome
        self.local: Local | None = None  # else the broker's subscribers move things

    def follow_safe(self, safe: str) -> None:
        """Another route is the safe one from now on, here and for devices on this board."""
        self._safe = safe
        if self.local is not None:
            self.local.follow_safe(safe)

    @property
    def trouble(self) -> str:
        """Which routes are not offered, in words; empty where all are."""
        trouble = self._acks.trouble
        return f"actuator: {trouble}; free it, then send cmd/clear" if trouble else ""

    @property
    def counts(self) -> dict[str, int]:
        """Movements by result."""
        return dict(self._acks.counts)

    def take(self, incoming: Incoming) -> None:
        """Keep an ack for the loop."""
        said = read_ack(incoming.payload, received_s=incoming.received_s)
        # Of another start, or of no decision of ours: nobody here waits for it.
        if said is None or incoming.retained or not said.id.startswith(f"{self._origin.boot}-"):
            return
        try:
            self._said.put_nowait(said)
        except queue.Full:
            if not self._dropped:
                log.warning("actuator: an ack dropped, %d wait already", MAX_SAID)
            self._dropped += 1

    def reroute(self, verdict: Verdict) -> Verdict:
        """Send an item the safe way where its route is not offered; it stays what it is."""
        decision = verdict.decision
        if not self._moves(decision.outcome, decision.route):
            return verdict
        if self._acks.offer(decision.route, now_s=self._clock()):
            return verdict
        reason = f"{decision.reason}; route {decision.route} is not offered, so {self._safe}"
        safe = dataclasses.replace(decision, route=self._safe, reason=reason)
        return dataclasses.replace(verdict, decision=safe, appointment=None)

    def obey(self, decision: Decision, message: Message) -> None:
        """Have local devices carry a decision out; its ack is served later than it is awaited."""
        if self.local is not None and decision.outcome == "sorted":
            self.local.obey(message)  # which knows whether a device serves the safe route

    def decided(self, told: Told, verdict: Verdict) -> None:
        """Await the ack of a decision that moves something."""
        id, route = told.payload["id"], told.payload["route"]
        if not self._moves(told.payload["outcome"], route):
            return
        now_s = self._clock()
        awaited = self._awaited(id, route, verdict.trigger_s, now_s + max(0.0, told.left_s))
        if told.left_s <= 0 or not (told.sent or self.local):
            self._record(self._acks.unsent(awaited, now_s))
            return
        self._acks.expect(awaited)

    def serve(self) -> None:
        """Record what acks have come, and which have not in time."""
        self._take_acks()
        if self._acks.open:
            for missed in self._acks.overdue(self._clock(), connection=self._connection()):
                self._record(missed)

    def _take_acks(self) -> None:
        """At most MAX_SAID of them, then a frame: acks may come faster than they are taken."""
        for _ in range(MAX_SAID):
            try:
                movement = self._acks.take(self._said.get_nowait())
            except queue.Empty:
                if self._dropped:
                    log.warning("actuator: %d acks were dropped", self._dropped)
                self._dropped = 0
                return
            if movement is not None:
                self._record(movement)

    def end(self) -> None:
        """Send local devices home, take what came, and say of the rest that nobody knows."""
        if self.local is not None:
            self.local.close()
        self.serve()
        reason = "the daemon ended before the ack came"
        for movement in self._acks.abandon(self._clock(), reason):
            self._record(movement)

    def order(self, command: Command) -> dict[str, Any]:
        """Obey cmd/move and cmd/clear: an order to the actuator, and an audit event."""
        route = command.body.get("route", "")
        problem = _route_problem(command.verb, route)
        order = "" if problem else self._send_order(command.verb, route)
        if not problem and not order:
            problem = "the order was not sent: no broker"
        if order and command.verb == "clear":
            self._acks.clear(route)
        said = f"ordered as {order}; the outcome is an event"
        answer = {"ok": not problem, "detail": problem or said}
        details = {"verb": command.verb, **answer, "route": route if isinstance(route, str) else ""}
        by = command.body.get("id")
        details |= {"order": order} if order else {}
        details |= {"by": by} if isinstance(by, str) else {}
        self._reporter.report_record("command", details)
        return answer

    def _send_order(self, verb: str, route: str) -> str:
        """The id of an order that was sent; empty where it was not."""
        self._orders += 1
        id = f"{self._origin.boot}-op{self._orders}"
        now_s = self._clock()
        message = self._reporter.order(verb, id=id, route=route, life_s=ORDER_LIFE_S)
        if self.local is None and self._link.publish(message) is None:
            return ""
        self._acks.expect(self._awaited(id, route, now_s, now_s + ORDER_LIFE_S))
        if self.local is not None:
            self.local.obey(message)
        return id

    def _awaited(self, id: str, route: str, trigger_s: float, expires_s: float) -> Awaited:
        connection = 0 if self.local else self._link.connection
        return Awaited(id, route, trigger_s, expires_s + self._ack_s, connection)

    def _connection(self) -> int | None:
        if self.local is not None:
            return 0
        return self._link.connection if self._link.connected else None

    def _moves(self, outcome: str, route: str) -> bool:
        return outcome == "sorted" and route != self._safe

    def _record(self, movement: Movement) -> None:
        told = dataclasses.asdict(movement)
        self._reporter.report_record("movement", told)
        self.told(movement.decision, movement.result)
        level = logging.INFO if movement.result == "done" else logging.WARNING
        log.log(
            level,
            "movement for %s to %s: %s, %.1f ms after the trigger%s",
            movement.decision,
            movement.route or "every device",
            movement.result,
            movement.waited_ms,
            f" ({movement.reason})" if movement.reason else "",
        )


def _route_problem(verb: str, route: object) -> str:
    """What is wrong with the route of a command, in words."""
    if not isinstance(route, str):
        return "route must be text"
    if verb == "move" and not route:
        return 'name the route: {"route": "COMPARTMENT"}'
    return f"route {name_fault(route)}" if route and name_fault(route) else ""
