"""One MQTT 5 connection as an asyncio protocol: no thread, no task, a few hundred bytes."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from edge.brokers import remedy
from edge.simulate import packets
from edge.values import Incoming, Message

LAST_ID = 65_535


class Owner(Protocol):
    """Who a connection tells what happens; called in the event loop."""

    def accepted(self, connection: Connection) -> None:
        """The broker has let us in."""

    def acknowledged(self, packet_id: int, accepted: bool) -> None:
        """A PUBACK came."""

    def heard(self, incoming: Incoming) -> None:
        """A message came."""

    def gone(self, connection: Connection, why: str) -> None:
        """The connection is over; `why` is empty where we ended it ourselves."""


class Connection(asyncio.Protocol):
    """Speaks for one bin until it is closed or cut; never connects again by itself."""

    def __init__(self, owner: Owner, *, greeting: bytes, topic: str, keepalive_s: int) -> None:
        self._owner = owner
        self._greeting = greeting  # the CONNECT packet
        self._topic = topic  # to subscribe to
        self.keepalive_s = keepalive_s
        self.receive_maximum = 20
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._id = 0
        self._why = ""
        self.open = False
        self.spoke_s = self.heard_s = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._write(self._greeting)

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._loop.time()
        self._buffer += data
        try:
            for packet in packets.split(self._buffer):
                self._take(packet)
        except packets.BadPacket as error:
            self.cut(f"the broker sent {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        was_cut = self._transport is None
        self._transport, self.open = None, False
        self._owner.gone(self, self._why or ("" if was_cut else str(exc or "the broker hung up")))

    def publish(self, message: Message, *, again: bool = False) -> int:
        """Send; the packet id, 0 for QoS 0."""
        number = self._next_id() if message.qos else 0
        self._write(packets.publish(message, number, again=again))
        return number

    def keep_alive(self, now_s: float) -> None:
        """Say that we live where we said nothing; cut where the broker says nothing."""
        if now_s - self.heard_s > 1.5 * self.keepalive_s:
            self.cut("the broker is silent")
        elif now_s - self.spoke_s > 0.7 * self.keepalive_s or (
            now_s - self.heard_s > self.keepalive_s
        ):
            self._write(packets.PINGREQ)

    def close(self) -> None:
        """Take leave: no last will."""
        self._write(packets.FAREWELL)
        if self._transport:
            self._transport.close()
        self._transport = None

    def cut(self, why: str = "") -> None:
        """Go without a word, as a power cut does: the broker tells the last will."""
        self._why = why
        if self._transport:
            self._transport.abort()
        self._transport = None

    def _write(self, data: bytes) -> None:
        if self._transport:
            self.spoke_s = self._loop.time()
            self._transport.write(data)

    def _next_id(self) -> int:
        self._id = self._id % LAST_ID + 1
        return self._id

    def _take(self, packet: packets.Packet) -> None:
        if packet.kind == packets.PUBACK:
            self._owner.acknowledged(*packets.read_puback(packet))
        elif packet.kind == packets.PUBLISH:
            self._deliver(packets.read_delivery(packet))
        elif packet.kind == packets.CONNACK:
            self._welcome(packets.read_welcome(packet))
        elif packet.kind == packets.SUBACK:
            if packet.body and packet.body[-1] >= 0x80:
                self.cut("the broker refuses the subscription to commands; check its ACL")
        elif packet.kind == packets.DISCONNECT:
            code = packet.body[0] if packet.body else 0
            self.cut(f"the broker ended it, reason {code:#x}")
        elif packet.kind != packets.PINGRESP:
            raise packets.BadPacket(f"a packet of type {packet.kind}")

    def _welcome(self, welcome: packets.Welcome) -> None:
        if welcome.code:
            why = f"the broker refuses, reason {welcome.code:#x}{remedy(welcome.code)}"
            self.cut(why)
            return
        self.keepalive_s = welcome.keepalive_s or self.keepalive_s
        self.receive_maximum = welcome.receive_maximum
        self.open = True
        self._write(packets.subscribe(self._topic, self._next_id()))
        self._owner.accepted(self)

    def _deliver(self, delivery: packets.Delivery) -> None:
        if delivery.qos:
            self._write(packets.puback(delivery.packet_id))
        self._owner.heard(
            Incoming(
                topic=delivery.topic,
                payload=delivery.payload,
                retained=delivery.retained,
                response_topic=delivery.response_topic,
                correlation=delivery.correlation,
                received_s=self._loop.time(),
                expires_s=delivery.expires_s,
            )
        )
