"""`smartbin actuator`: hears one bin's decisions, moves, answers; home whenever in doubt.

Threads: `run` watches over the connection and the bin's silence; each device has its own; that of
`edge.mqtt` brings messages and only hands over.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence

from edge.actuator.answers import Answers, ack_messages
from edge.actuator.devices import Device
from edge.actuator.guard import Refusal, read_order
from edge.actuator.hostclock import HostClock
from edge.actuator.ledger import Ledger
from edge.actuator.mover import Mover
from edge.actuator.values import Ack, ActuatorError, Order
from edge.brokers import Broker
from edge.mqtt import Link
from edge.notify import Notifier
from edge.values import Incoming
from edge.wire import Topics

log = logging.getLogger(__name__)

TICK_S = 0.1
FAREWELL_S = 0.5
ALIVE = ("init", "ready", "degraded")
STOPPED = "the bin is stopped"  # its farewell
UNHEARD = "the bin has not been heard of yet"
UNCONNECTED = "there is no connection to the broker"


class ActuatorService:
    """The actuator of one bin, behind a broker."""

    def __init__(
        self,
        *,
        topics: Topics,
        broker: Broker,
        devices: Sequence[Device],
        ledger: Ledger,
        safe: str = "",
        silence_s: float,
    ) -> None:
        """Bring the devices home; nothing moves before the bin was heard of."""
        self._topics = topics
        self._silence_s = silence_s
        self._clock = HostClock()
        self._answers = Answers()
        self._notifier = Notifier()
        self._stop_asked = False  # a plain attribute: Event.set() in a signal may wait for itself
        self._bin_state = (0, "")  # the connection on which `state` was heard, and what it said
        self._heard_s = time.monotonic()
        self._why_home = UNHEARD
        self._lock = threading.Lock()  # guards _why_home against the two threads that set it
        self._mover = Mover(devices=devices, ledger=ledger, answer=self._answer)
        self._mover.hold(UNHEARD)
        self._idle = self._mover.idle_route(safe)
        self._link = Link(
            broker=broker,
            client_id=f"smartbin/{topics.site}/{topics.bin}/actuator",
            subscriptions=tuple(topics.of(n) for n in ("decision", "order", "state", "health")),
            on_message=self._take,
            on_ack=self._answers.acknowledged,
        )

    def run(self) -> None:
        """Work until stopped; raises ActuatorError where a device has lost its thread."""
        self._link.start()
        self._notifier.ready("home")
        try:
            while not self._stop_asked:
                self._look_after()
                time.sleep(TICK_S)
        finally:
            self._notifier.stopping()
            self._mover.close()
            self._await_answers()
            self._link.stop()

    @property
    def connected(self) -> bool:
        """Whether the broker has let it in."""
        return self._link.connected

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler."""
        self._stop_asked = True

    def _await_answers(self) -> None:
        """Let the last acks leave, in bounds."""
        until_s = time.monotonic() + FAREWELL_S
        while self._answers.retry(self._link) and time.monotonic() < until_s:
            time.sleep(0.01)

    def _look_after(self) -> None:
        if not self._mover.alive:
            raise ActuatorError("actuator: a device's thread has ended; systemd starts it afresh")
        self._notifier.progress()
        self._answers.retry(self._link)
        self._decide_home()

    def _decide_home(self) -> None:
        """Home and staying there, or free to move; said where it changes."""
        with self._lock:
            why = self._reason_for_home()
            if why == self._why_home:
                return
            was_free, self._why_home = not self._why_home, why
            if why:
                self._mover.hold(why)
            else:
                self._mover.release()
        alarming = was_free and why != STOPPED
        log.log(
            logging.WARNING if alarming else logging.INFO, "actuator: %s", why or "free to move"
        )
        self._notifier.status(f"home: {why}" if why else "free to move")

    def _reason_for_home(self) -> str:
        if not self._link.connected:
            return UNCONNECTED
        heard_on, state = self._bin_state
        if heard_on != self._link.connection:  # what was said before a break may no longer hold
            return UNHEARD
        if state not in ALIVE:
            return f"the bin is {state}"
        silent_s = time.monotonic() - self._heard_s
        if self._silence_s and silent_s > self._silence_s:
            return f"the bin has been silent for {self._silence_s:g} s"
        return ""

    def _take(self, incoming: Incoming) -> None:
        name = incoming.topic.rsplit("/", 1)[-1]
        if name == "state":
            self._bin_state = self._link.connection, _state_of(incoming.payload)
            self._heard_s = incoming.received_s
            self._decide_home()
            return
        if not incoming.retained:
            self._heard_s = incoming.received_s
        if name in ("decision", "order"):
            self._decide_home()  # a message ends a silence
            self._obey(incoming)

    def _obey(self, incoming: Incoming) -> None:
        clocks = self._clock.read()
        order = read_order(incoming, topics=self._topics, clocks=clocks, idle=self._idle)
        if isinstance(order, Order):
            self._mover.obey(order)
        elif isinstance(order, Refusal):
            ms = (time.monotonic() - incoming.received_s) * 1000
            self._tell(Ack(order.id, order.result, round(ms, 2), order.reason), None)

    def _answer(self, order: Order, ack: Ack) -> None:
        self._tell(ack, order)

    def _tell(self, ack: Ack, order: Order | None) -> None:
        for message in ack_messages(ack, topics=self._topics, order=order):
            self._answers.send(message, self._link)
        level = logging.INFO if ack.result == "done" else logging.WARNING
        where = f"{ack.device} to {order.route}" if order and order.route else ack.device or "-"
        why = f" ({ack.reason})" if ack.reason else ""
        log.log(level, "%s: %s %s, %.1f ms%s", ack.id, where, ack.result, ack.ms, why)


def _state_of(payload: bytes) -> str:
    """The state in a message on `state`; one that cannot be read is no living bin."""
    try:
        state = json.loads(payload)["state"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return "not understood"
    return str(state)[:32]
