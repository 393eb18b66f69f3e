"""Acks as messages, kept until the broker has them: a break must not leave a movement untold."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.actuator.values import Ack, Order
from edge.mqtt import Link
from edge.values import Message
from edge.wire import Topics, ack_payload, encode

KEPT = 500  # acks that the broker has not taken yet
KEPT_S = 60.0  # then nobody waits for one any more
ANSWER_S = 60  # expiry at the broker
MAX_TOPIC = 256


def ack_messages(ack: Ack, *, topics: Topics, order: Order | None = None) -> list[Message]:
    """The ack on the bin's own topic, and where the order asked for it, if that is another."""
    payload = encode(ack_payload(ack.id, ack.result, ack.ms, reason=ack.reason, device=ack.device))
    own = topics.of("ack")
    correlation = order.correlation if order else None
    messages = [Message(own, payload, qos=1, expires_s=ANSWER_S, correlation=correlation)]
    reply = order.reply_topic if order else ""
    if reply not in ("", own) and _may_answer(reply, topics):
        messages.append(Message(reply, payload, qos=1, expires_s=ANSWER_S, correlation=correlation))
    return messages


def _may_answer(topic: str, topics: Topics) -> bool:
    """Below the bin's own topics only answer/: an ack must not pass for a state or a decision."""
    root = f"{topics.root}/"
    forged = topic.startswith(root) and not topic.startswith(f"{root}answer/")
    return len(topic) <= MAX_TOPIC and not forged and not set(topic) & set("+#\0")


@dataclass(slots=True)
class _Kept:
    message: Message
    since_s: float
    sent: tuple[int, int] | None = None  # connection and message id, while it is under way


class Answers:
    """`send` may be called from any thread; `acknowledged` only hands over; `retry` is one's own.

    Nothing is published under the lock: paho calls `acknowledged` while it holds its own.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards _kept
        self._kept: list[_Kept] = []

    def send(self, message: Message, link: Link) -> None:
        """Publish now if there is a connection, else as soon as there is one."""
        kept = _Kept(message, self._clock())
        with self._lock:
            self._kept.append(kept)
            del self._kept[:-KEPT]
        _publish(kept, link)

    def acknowledged(self, connection: int, mid: int, accepted: bool) -> None:
        """The broker has one, or refuses it; either way it is not sent again."""
        del accepted  # a refusal is the ACL's, and will not change soon
        self._taken.put((connection, mid))

    def retry(self, link: Link) -> int:
        """Send again what a broken connection took with it; how many the broker has yet to take."""
        taken = set()
        with contextlib.suppress(queue.Empty):
            while True:
                taken.add(self._taken.get_nowait())
        oldest_s = self._clock() - KEPT_S
        with self._lock:
            self._kept = [k for k in self._kept if k.sent not in taken and k.since_s >= oldest_s]
            lost = [k for k in self._kept if k.sent is None or k.sent[0] != link.connection]
            waiting = len(self._kept)
        for kept in lost:
            _publish(kept, link)
        return waiting


def _publish(kept: _Kept, link: Link) -> None:
    connection = link.connection
    mid = link.publish(kept.message)
    kept.sent = None if mid is None else (connection, mid)
