"""Devices on the daemon's own board: the same messages, guard and acks, with no broker between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge.actuator.answers import ack_messages
from edge.actuator.devices import Device
from edge.actuator.guard import Refusal, read_order
from edge.actuator.hostclock import HostClock
from edge.actuator.ledger import Ledger
from edge.actuator.mover import Mover
from edge.actuator.values import Ack, Order
from edge.values import Incoming, Message
from edge.wire import Topics


class LocalActuator:
    """`obey` returns at once; the devices have threads of their own."""

    def __init__(
        self,
        *,
        topics: Topics,
        devices: Sequence[Device],
        ledger: Ledger,
        publish: Callable[[Message], object],
        heard: Callable[[Incoming], None],
        safe: str = "",
    ) -> None:
        """Acks go to `heard` at once, and to `publish` for whoever else listens.

        For the route `safe` nothing moves, unless a device serves it.
        """
        self._topics = topics
        self._publish = publish
        self._heard = heard
        self._clock = HostClock()
        self._mover = Mover(devices=devices, ledger=ledger, answer=self._answer)
        self._idle = self._mover.idle_route(safe)
        self._mover.release()

    def follow_safe(self, safe: str) -> None:
        """Another route is the safe one from now on."""
        self._idle = self._mover.idle_route(safe)

    def obey(self, message: Message) -> None:
        """Take a decision or an order as an actuator behind the broker would."""
        incoming = Incoming(
            topic=message.topic,
            payload=message.payload,
            retained=False,
            correlation=message.correlation,
            received_s=time.monotonic(),
            expires_s=message.expires_s,
        )
        clocks = self._clock.read()
        order = read_order(incoming, topics=self._topics, clocks=clocks, idle=self._idle)
        if isinstance(order, Order):
            self._mover.obey(order)
        elif isinstance(order, Refusal):
            self._tell(Ack(order.id, order.result, 0.0, order.reason), None)

    def close(self) -> None:
        """Go home and let go of the devices; idempotent."""
        self._mover.close()

    def _answer(self, order: Order, ack: Ack) -> None:
        self._tell(ack, order)

    def _tell(self, ack: Ack, order: Order | None) -> None:
        for message in ack_messages(ack, topics=self._topics, order=order):
            self._heard(
                Incoming(message.topic, message.payload, False, received_s=time.monotonic())
            )
            self._publish(message)
