"""The connection: who publishes writes to the network itself, from any thread, and never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.brokers import Broker
from edge.mqtt import Link
from edge.values import Message
from tests.harness import Listener, Mosquitto, wait_for

TOPIC = "bins/v1/s/b/event"
THREADS, EACH = 4, 150
LARGE_BYTES = 20_000_000  # more than any socket takes at once


@pytest.fixture
def acks() -> list[int]:
    """Ids of messages that the broker has."""
    return []


@pytest.fixture
def link(mosquitto: Mosquitto, acks: list[int]) -> Iterator[Link]:
    made = Link(
        broker=Broker("127.0.0.1", mosquitto.port),
        client_id="test",
        on_ack=lambda connection, mid, accepted: acks.append(mid),
    )
    made.start()
    wait_for(lambda: made.connected, what="the connection")
    yield made
    made.stop()


def test_messages_of_many_threads_arrive_whole_and_once(
    link: Link, mosquitto: Mosquitto, listen: Callable[..., Listener], acks: list[int]
) -> None:
    """Packets of several writers on one socket are never mixed; each has its own id."""
    heard = listen(mosquitto.port, TOPIC)
    sent: list[int | None] = []

    def publish(thread: int) -> None:
        for number in range(EACH):
            payload = f'{{"n":[{thread},{number}]}}'.encode() + b" " * number * 20
            sent.append(link.publish(Message(TOPIC, payload, qos=1)))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [mid for mid in sent if mid is not None]
    wait_for(lambda: len(acks) >= len(taken), what="every acknowledgement")
    wait_for(lambda: len(heard.rows) >= len(taken), what="every message")
    told = [tuple(row["payload"]["n"]) for row in heard.rows]  # type: ignore[index]
    assert len(set(taken)) == len(taken) and sorted(acks) == sorted(taken)
    assert len(set(told)) == len(told) == len(taken)


def test_what_the_network_does_not_take_at_once_is_written_when_it_does(
    link: Link, acks: list[int]
) -> None:
    """The publisher goes on; the broker acknowledges the whole of it, and what came behind."""
    large = link.publish(Message("large", b"x" * LARGE_BYTES, qos=1))
    small = link.publish(Message("small", b"y", qos=1))
    wait_for(lambda: len(acks) == 2, what="both acknowledgements")
    assert acks == [large, small]


def test_a_publisher_may_be_the_one_who_finds_the_connection_broken(
    link: Link, mosquitto: Mosquitto
) -> None:
    """It is told that nothing was taken, and the link heals when the broker is back."""
    mosquitto.stop()
    wait_for(lambda: link.publish(Message(TOPIC, b"{}", qos=1)) is None, what="a message not taken")
    wait_for(lambda: not link.connected, what="the end of the connection")
    mosquitto.start()
    wait_for(lambda: link.connected, what="another connection")
    assert link.connection >= 2
    assert link.publish(Message(TOPIC, b"{}", qos=1)) is not None


def test_an_ended_link_holds_nothing_open(mosquitto: Mosquitto) -> None:
    """Neither its socket nor what wakes its thread; and it may be ended twice."""
    before = descriptors()
    for _ in range(5):
        link = Link(broker=Broker("127.0.0.1", mosquitto.port), client_id="brief")
        link.start()
        wait_for(lambda one=link: one.connected, what="the connection")  # type: ignore[misc]
        link.stop()
        link.stop()
        del link
    wait_for(lambda: descriptors() <= before, what="descriptors to close")


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
