"""One thread for one device: waits for the moment, looks once more, records, moves, answers."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from edge.actuator.devices import Device
from edge.actuator.ledger import Ledger, LedgerError
from edge.actuator.pace import Pace
from edge.actuator.values import Ack, BrokenOffError, JammedError, Order, Result

log = logging.getLogger(__name__)

MAX_WAITING = 64  # orders of one device; more is a fault of whoever sends them
REMEMBERED = 1000  # answers, for orders that are delivered again
Answer = Callable[[Order, Ack], None]
AT_ONCE = float("-inf")


class Worker:
    """Takes orders from any thread; the device is touched by its own thread alone."""

    def __init__(
        self,
        *,
        device: Device,
        ledger: Ledger,
        answer: Answer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin by going home; until `release` every order is refused."""
        self._device = device
        self._ledger = ledger
        self._answer = answer
        self._clock = clock
        limits = device.limits
        self._pace = Pace(cool_down_s=limits.cool_down_s, per_min=limits.per_min)
        self._answered: dict[str, Ack] = {}  # of movements, newest last
        self._news = threading.Condition()  # guards _waiting, _held, _barred, _ending
        self._waiting: list[tuple[float, int, Order, Answer]] = []  # heap by due_s
        self._count = itertools.count()
        self._held = "it has just started"
        self._barred = 0  # orders numbered below waited while it was held, and never move
        self._barred_why = ""
        self._why_now = ""  # of the order in hand; of this thread alone
        self._ending = False
        self._break_off = threading.Event()  # ends a movement on its way
        self.jam = ""  # why it does not move until it is cleared, in words
        self._thread = threading.Thread(target=self._run, name=f"move-{device.name}", daemon=True)
        self._thread.start()

    @property
    def routes(self) -> frozenset[str]:
        return frozenset(self._device.routes)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def put(self, order: Order, answer: Answer | None = None) -> None:
        """Take an order; its answer comes in time, in the device's thread or in this one."""
        answer = answer or self._answer
        with self._news:
            full = len(self._waiting) >= MAX_WAITING
            if not full:
                # An order to clear is not held up by the pace, nor by movements that wait.
                due_s = AT_ONCE if order.verb == "clear" else order.due_s
                heapq.heappush(self._waiting, (due_s, next(self._count), order, answer))
                self._news.notify()
        if full:
            answer(order, self._ack(order, "refused", f"{MAX_WAITING} orders wait already"))

    def hold(self, why: str) -> None:
        """Go home and stay: break a movement off, refuse what waits and what comes."""
        with self._news:
            self._held = self._barred_why = why
            self._barred = next(self._count)  # a release while it comes home frees none of them
            self._break_off.set()
            self._news.notify()

    def release(self) -> None:
        """Move again for new orders."""
        with self._news:
            self._held = ""
            self._break_off.clear()

    def close(self, timeout_s: float = 5.0) -> None:
        """Refuse what waits, go home, let go of the device; idempotent."""
        self.hold("the actuator is stopping")
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._go_home()
            while (waited := self._next()) is not None:
                order, answer = waited
                self._give(answer, order, self._obey(order))
        finally:
            self._device.close()

    def _give(self, answer: Answer, order: Order, ack: Ack) -> None:
        """An answer that cannot be given must not end the thread that brings the device home."""
        try:
            answer(order, ack)
        except Exception:
            log.exception("actuator: the ack of %s was not sent", order.id)

    def _go_home(self) -> None:
        try:
            self._device.home()
            self.jam = ""
        except (JammedError, OSError) as error:
            self._latch(str(error))
        except Exception as error:  # lgpio.error is a plain one
            self._latch(
                f"{self._device.name}: cannot go home: {error!r}; mend it, then send cmd/clear"
            )

    def _latch(self, why: str) -> None:
        self.jam = why
        log.error("actuator: %s", why)

    def _next(self) -> tuple[Order, Answer] | None:
        """The next order whose moment has come or has gone by; None at the end."""
        with self._news:
            while self._waiting or not self._ending:
                if not self._waiting:
                    self._news.wait()
                    continue
                due_s, number, order, answer = self._waiting[0]
                barred = number < self._barred
                now_s, latest_s = self._clock(), self._latest_s(order)
                start_s = due_s if order.verb == "clear" else max(due_s, self._pace.ready_s)
                if start_s <= now_s or now_s > latest_s or self._held or barred:
                    heapq.heappop(self._waiting)
                    self._why_now = self._barred_why if barred else ""
                    return order, answer
                self._news.wait(min(start_s, latest_s + 1e-3) - now_s)
            return None

    def _latest_s(self, order: Order) -> float:
        """Nothing may start for an order after this."""
        if order.fire_s is None:
            return order.expires_s
        return min(order.expires_s, order.fire_s + self._device.limits.tolerance_s)

    def _obey(self, order: Order) -> Ack:
        try:
            return self._clear(order) if order.verb == "clear" else self._move(order)
        except Exception as error:  # the outermost loop of this thread: the device stays home
            log.exception("actuator: %s", self._device.name)
            self._latch(f"{self._device.name}: a fault of the program: {error!r}")
            return self._ack(order, "jammed", self.jam)

    def _clear(self, order: Order) -> Ack:
        self._go_home()
        return self._ack(order, "jammed" if self.jam else "done", self.jam)

    def _move(self, order: Order) -> Ack:
        earlier = self._answered.get(order.id)
        if earlier is not None:
            return earlier  # delivered again: the same answer, no movement
        refusal = self._refusal(order)
        if refusal:
            return self._ack(order, *refusal)
        try:
            fresh = self._ledger.claim(order.id)
        except LedgerError as error:
            return self._ack(order, "refused", f"nothing moves without a record: {error}")
        if not fresh:
            return self._ack(order, "refused", "moved for before the last start; never twice")
        return self._remembered(self._carry_out(order))

    def _refusal(self, order: Order) -> tuple[Result, str] | None:
        """Why an order is not carried out now."""
        with self._news:
            held = self._held or self._why_now
        if held:
            return "refused", f"home and staying there: {held}"
        if self.jam:
            return "refused", f"jammed before: {self.jam}"
        latest_s = self._latest_s(order)
        behind_ms = (self._clock() - latest_s) * 1000
        if behind_ms > 0:
            paced = self._pace.ready_s > latest_s
            why = "; the device rested by cool_down_s or per_min" if paced else ""
            return "late", f"{behind_ms:.1f} ms too late to begin{why}"
        return None

    def _carry_out(self, order: Order) -> Ack:
        start_s = self._clock()
        try:
            result, reason = self._result(order)
        finally:  # a coil that failed was on all the same
            self._pace.moved(start_s=start_s, end_s=self._clock())
        return self._ack(order, result, reason)

    def _result(self, order: Order) -> tuple[Result, str]:
        try:
            self._device.move(order, stop=self._break_off)
        except BrokenOffError:
            return "refused", f"broken off on its way and home again: {self._held}"
        except (JammedError, OSError) as error:
            self._latch(str(error))
            return "jammed", str(error)
        return "done", ""

    def _ack(self, order: Order, result: Result, reason: str) -> Ack:
        ms = (self._clock() - order.received_s) * 1000
        return Ack(order.id, result, round(ms, 2), reason, self._device.name)

    def _remembered(self, ack: Ack) -> Ack:
        self._answered[ack.id] = ack
        if len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]
        return ack
