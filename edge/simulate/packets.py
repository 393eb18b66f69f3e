"""The part of MQTT 5 that a bin speaks: values in, bytes out, and back. Pure.

paho-mqtt needs a socket loop or a thread for each client, which ends at some hundreds of clients
in a process; these functions leave sockets to asyncio. Numbers of sections are those of the OASIS
standard, MQTT Version 5.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.values import Message

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14
PINGREQ = b"\xc0\x00"
FAREWELL = b"\xe0\x00"  # DISCONNECT, normal: no last will
MESSAGE_EXPIRY, RESPONSE_TOPIC, CORRELATION = 0x02, 0x08, 0x09
SERVER_KEEP_ALIVE, RECEIVE_MAXIMUM = 0x13, 0x21
RETAIN_AS_PUBLISHED = 0x08
MAX_BODY = 268_435_455
# How many bytes a property's value has (2.2.2.2); -1: a length of two bytes goes before it.
_SIZES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), -1),
}


class BadPacket(ValueError):
    """Bytes that are no MQTT 5; the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What came: the type, its flags, and the body after the fixed header."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a CONNACK says."""

    code: int  # 0: accepted
    keepalive_s: int | None  # the broker's own wish
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A PUBLISH as it came."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    packet_id: int  # 0 with QoS 0
    response_topic: str
    correlation: bytes | None
    expires_s: int | None


def connect(
    *, client_id: str, keepalive_s: int, will: Message, username: str = "", password: str = ""
) -> bytes:
    """CONNECT (3.1): a clean start, a last will with QoS 1, no session kept."""
    flags = 0x02 | 0x04 | 0x08 | (0x20 if will.retain else 0)
    flags |= (0x80 if username else 0) | (0x40 if password else 0)
    body = [text("MQTT"), bytes((5, flags)), keepalive_s.to_bytes(2, "big"), b"\0"]
    body += [text(client_id), b"\0", text(will.topic), binary(will.payload)]
    body += [text(username)] if username else []
    body += [binary(password.encode())] if password else []
    return _packet(0x10, b"".join(body))


def publish(message: Message, packet_id: int, *, again: bool = False) -> bytes:
    """PUBLISH (3.3); `packet_id` counts with QoS 1 alone, `again` is its DUP flag."""
    first = 0x30 | (8 if again else 0) | message.qos << 1 | message.retain
    number = packet_id.to_bytes(2, "big") if message.qos else b""
    extra = _properties(message)
    return _packet(
        first,
        b"".join((text(message.topic), number, varint(len(extra)), extra, message.payload)),
    )


def _properties(message: Message) -> bytes:
    parts = []
    if message.expires_s is not None:
        parts += [bytes((MESSAGE_EXPIRY,)), message.expires_s.to_bytes(4, "big")]
    if message.response_topic:
        parts += [bytes((RESPONSE_TOPIC,)), text(message.response_topic)]
    if message.correlation is not None:
        parts += [bytes((CORRELATION,)), binary(message.correlation)]
    return b"".join(parts)


def puback(packet_id: int) -> bytes:
    """PUBACK (3.4): success."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def subscribe(topic: str, packet_id: int) -> bytes:
    """SUBSCRIBE (3.8), QoS 1; a retained command is to show that it is one."""
    options = bytes((1 | RETAIN_AS_PUBLISHED,))
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"\0" + text(topic) + options)


def text(value: str) -> bytes:
    """UTF-8 with its length (1.5.4)."""
    return binary(value.encode())


def binary(value: bytes) -> bytes:
    """Bytes with their length (1.5.6); raises OverflowError over 65,535."""
    return len(value).to_bytes(2, "big") + value


def varint(value: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def split(buffer: bytearray) -> list[Packet]:
    """Take every whole packet off the front of `buffer`; raises BadPacket."""
    packets, at = [], 0
    while len(buffer) - at >= 2:
        size, start = _read_varint(buffer, at + 1)
        if start < 0 or start + size > len(buffer):
            break
        body = bytes(buffer[start : start + size])
        packets.append(Packet(buffer[at] >> 4, buffer[at] & 15, body))
        at = start + size
    del buffer[:at]
    return packets


def _read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """The value and where it ends; -1 where its end has not come yet."""
    value = 0
    for n in range(4):
        if at + n >= len(data):
            return 0, -1
        value |= (data[at + n] & 127) << 7 * n
        if data[at + n] < 128:
            return value, at + n + 1
    raise BadPacket("a length of more than four bytes")


def read_welcome(packet: Packet) -> Welcome:
    """CONNACK (3.2); raises BadPacket."""
    if len(packet.body) < 2:
        raise BadPacket("a CONNACK without a reason")
    found, _ = read_properties(packet.body, 2) if len(packet.body) > 2 else ({}, 0)
    return Welcome(packet.body[1], found.get(SERVER_KEEP_ALIVE), found.get(RECEIVE_MAXIMUM, 65_535))


def read_puback(packet: Packet) -> tuple[int, bool]:
    """Packet id, and whether the broker took it; raises BadPacket."""
    if len(packet.body) < 2:
        raise BadPacket("a PUBACK without a number")
    accepted = len(packet.body) < 3 or packet.body[2] < 0x80
    return int.from_bytes(packet.body[:2], "big"), accepted


def read_delivery(packet: Packet) -> Delivery:
    """PUBLISH (3.3); raises BadPacket."""
    body, qos = packet.body, packet.flags >> 1 & 3
    topic, at = _take(body, 0)
    number = int.from_bytes(body[at : at + 2], "big") if qos else 0
    found, at = read_properties(body, at + 2 if qos else at)
    return Delivery(
        topic=_decoded(topic),
        payload=body[at:],
        qos=qos,
        retained=bool(packet.flags & 1),
        packet_id=number,
        response_topic=_decoded(found.get(RESPONSE_TOPIC, b"")),
        correlation=found.get(CORRELATION),
        expires_s=found.get(MESSAGE_EXPIRY),
    )


def read_properties(body: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Properties (2.2.2) by their number, and where they end; raises BadPacket.

    Numbers are whole numbers, all others bytes; of a user property, the last is kept.
    """
    size, at = _read_varint(body, at)
    end = at + size
    found: dict[int, Any] = {}
    if at < 0 or end > len(body):
        raise BadPacket("properties that end beyond the packet")
    while at < end:
        name, at = body[at], at + 1
        if name == 0x26:  # user property: two texts
            _, at = _take(body, at)
            found[name], at = _take(body, at)
        elif name == 0x0B:  # subscription identifier
            found[name], at = _read_varint(body, at)
        elif (length := _SIZES.get(name, 0)) > 0:
            found[name] = int.from_bytes(body[at : at + length], "big")
            at += length
        elif length:
            found[name], at = _take(body, at)
        else:
            raise BadPacket(f"an unknown property, {name:#x}")
    return found, end


def _take(body: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if at + 2 > len(body) or end > len(body):
        raise BadPacket("a text that ends beyond the packet")
    return body[at + 2 : end], end


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadPacket("a text that is not UTF-8") from error
