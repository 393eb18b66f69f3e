"""Which movements are awaited, what became of them, and which routes are no longer offered.

Pure: time is a value, and nothing here touches network or disk.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge.wire import SCHEMA

Outcome = Literal["done", "jammed", "refused", "late", "missing"]
FAILURES = ("jammed", "refused", "missing")  # late is the network's fault, or the decision's
MAX_ACK_BYTES = 4096
MAX_MS = 1e9
MAX_REASON = 300
MISSED = 1000  # whose ack may still come
RETRY_MIN_S = 5.0  # doubled up to retry_s; an actuator that was restarted is back by then
RESULTS = ("done", "jammed", "refused", "late")


@dataclass(frozen=True, slots=True)
class Said:
    """An ack as it came."""

    id: str
    result: Outcome
    ms: float
    reason: str
    device: str
    received_s: float  # monotonic clock


@dataclass(frozen=True, slots=True)
class Awaited:
    """A movement that was asked for."""

    id: str  # of the decision or order
    route: str
    trigger_s: float  # monotonic clock
    until_s: float  # then it counts as missing
    connection: int = 0  # of the daemon to the broker, when it was asked for


@dataclass(frozen=True, slots=True)
class Movement:
    """What became of one."""

    decision: str
    route: str
    result: Outcome
    ms: float | None  # as the actuator told it; None where no ack came
    waited_ms: float  # from the trigger to the ack, or to the end of waiting
    reason: str = ""
    device: str = ""


def read_ack(payload: bytes, *, received_s: float) -> Said | None:
    """The ack in a message; None where it is not one of ours."""
    if len(payload) > MAX_ACK_BYTES:
        return None
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or body.get("v") != SCHEMA:
        return None
    id, result, ms = body.get("id"), body.get("result"), body.get("ms")
    if not isinstance(ms, int | float) or isinstance(ms, bool) or not 0 <= ms < MAX_MS:
        return None  # NaN is not 0 or more either
    if not isinstance(id, str) or result not in RESULTS:
        return None
    reason, device = (_text(body.get(key)) for key in ("reason", "device"))
    return Said(id, result, float(ms), reason, device, received_s)


def _text(value: object) -> str:
    return value[:MAX_REASON] if isinstance(value, str) else ""


@dataclass(slots=True)
class _Route:
    """How a route fares."""

    failures: int = 0  # in a row
    why: str = ""  # the last one
    retry_s: float = 0.0  # wait of now between attempts, where it is not offered
    next_try_s: float = 0.0


class Acks:
    """Open movements by id, and failures by route."""

    def __init__(self, *, failures: int, retry_s: float) -> None:
        """After `failures` in a row a route is offered no longer, but for a try now and then."""
        self._limit = failures
        self._retry_s = retry_s
        self._open: dict[str, Awaited] = {}
        self._missed: OrderedDict[str, Awaited] = OrderedDict()
        self._routes: dict[str, _Route] = {}
        self.counts: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """Movements that are awaited."""
        return len(self._open)

    @property
    def trouble(self) -> str:
        """Which routes are not offered and why, in words; empty where all are."""
        shut = [
            f"route {name} is not offered after {route.failures} failures ({route.why})"
            for name, route in sorted(self._routes.items())
            if route.failures >= self._limit
        ]
        return "; ".join(shut)

    def offer(self, route: str, *, now_s: float) -> bool:
        """Whether an item may be sent there; a route that failed is tried again when it is due."""
        fares = self._routes.get(route)
        if fares is None or fares.failures < self._limit:
            return True
        if not self._retry_s or now_s < fares.next_try_s:
            return False
        fares.retry_s = min(fares.retry_s * 2, self._retry_s)
        fares.next_try_s = now_s + fares.retry_s
        return True

    def expect(self, awaited: Awaited) -> None:
        """Wait for the ack of a movement."""
        self._open[awaited.id] = awaited

    def take(self, said: Said) -> Movement | None:
        """What an ack says of a movement; None for one that nobody waits for, or a second one."""
        awaited = self._open.pop(said.id, None) or self._missed.pop(said.id, None)
        if awaited is None:
            return None
        movement = Movement(
            decision=awaited.id,
            route=awaited.route,
            result=said.result,
            ms=said.ms,
            waited_ms=_ms(said.received_s - awaited.trigger_s),
            reason=said.reason,
            device=said.device,
        )
        self._count(movement, fails=said.result in FAILURES, now_s=said.received_s)
        return movement

    def overdue(self, now_s: float, *, connection: int | None) -> Iterator[Movement]:
        """Movements whose ack did not come; `connection` is the present one, None without.

        Where the broker was away meanwhile, that is no failure of the device's.
        """
        due = [awaited for awaited in self._open.values() if now_s > awaited.until_s]
        for awaited in due:
            del self._open[awaited.id]
            reason = "no ack came in time; does the actuator run, and may it write to ack?"
            same = awaited.connection == connection
            yield self._missing(awaited, now_s, reason if same else "the broker was away", same)

    def abandon(self, now_s: float, reason: str) -> Iterator[Movement]:
        """Give up on every open movement."""
        while self._open:
            _, awaited = self._open.popitem()
            yield self._missing(awaited, now_s, reason, fails=False)

    def unsent(self, awaited: Awaited, now_s: float) -> Movement:
        """A movement that nobody could be asked for."""
        reason = "the decision was not sent: no broker, or too late"
        return self._missing(awaited, now_s, reason, fails=False)

    def clear(self, route: str = "") -> None:
        """Offer a route again, or all."""
        for name in [route] if route else list(self._routes):
            self._routes.pop(name, None)

    def _missing(self, awaited: Awaited, now_s: float, reason: str, fails: bool) -> Movement:
        self._missed[awaited.id] = awaited
        if len(self._missed) > MISSED:
            self._missed.popitem(last=False)
        waited_ms = _ms(now_s - awaited.trigger_s)
        movement = Movement(awaited.id, awaited.route, "missing", None, waited_ms, reason)
        self._count(movement, fails=fails, now_s=now_s)
        return movement

    def _count(self, movement: Movement, *, fails: bool, now_s: float) -> None:
        self.counts[movement.result] += 1
        if movement.result == "done":
            self.clear(movement.route)
        elif fails and movement.route:
            fares = self._routes.setdefault(movement.route, _Route())
            fares.failures += 1
            fares.why = (
                f"{movement.result}: {movement.reason}" if movement.reason else movement.result
            )
            if fares.failures == self._limit:
                fares.retry_s = min(RETRY_MIN_S, self._retry_s)
                fares.next_try_s = now_s + fares.retry_s


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 2)
