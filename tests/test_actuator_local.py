"""Devices on the daemon's own board, beside the tests of the loop: what they are told later."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge.acks import Acks
from edge.actuator.devices.base import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.ledger import Ledger
from edge.actuator.local import LocalActuator
from edge.health import clock_host
from edge.movements import Movements
from edge.values import Decision, Incoming, Message
from edge.wire import Origin, Topics
from tests.harness import wait_for

TOPICS = Topics("s", "b")


class Board:
    """A daemon's movements with one simulated flap on its own board, for the route left."""

    def __init__(self, safe: str) -> None:
        self.heard = queue.SimpleQueue[Incoming]()
        self.flap = Simulated(name="flap", routes={"left": 1.0}, limits=Limits(0.0, 0.0, 6000))
        link: Any = None
        self.movements = Movements(
            origin=Origin(TOPICS, "boot", "model", "0"),
            safe=safe,
            acks=Acks(failures=3, retry_s=0),
            ack_s=1.0,
            link=link,
            reporter=link,
        )
        self.local = LocalActuator(
            topics=TOPICS,
            devices=[self.flap],
            ledger=Ledger(None),
            publish=lambda message: None,
            heard=self.heard.put,
            safe=safe,
        )
        self.movements.local = self.local
        self._count = 0

    def decide(self, route: str, **changed: Any) -> str:
        """Have a sorted decision obeyed; returns its id."""
        self._count += 1
        body = {"v": 1, "id": f"boot-{self._count}", "site": "s", "bin": "b", "outcome": "sorted"}
        body |= {"route": route, "decided_ts": time.time(), "expires_ms": 9000}
        body |= {"host": clock_host(), **changed}
        decision = Decision("sorted", "green", route, 0.9, (("green", 0.9),), "sure")
        self.movements.obey(decision, Message(TOPICS.of("decision"), json.dumps(body).encode()))
        return str(body["id"])

    def acks(self, count: int) -> list[dict[str, Any]]:
        """So many acks, as soon as they are there."""
        wait_for(lambda: self.heard.qsize() >= count, what=f"{count} acks")
        return [json.loads(self.heard.get_nowait().payload) for _ in range(self.heard.qsize())]


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board("rest")
    yield made
    made.local.close()


def test_another_safe_route_is_followed_at_once(board: Board) -> None:
    """Nothing moves for the new one, and nothing is said; the old one is as any other."""
    board.decide("rest")
    board.movements.follow_safe("aside")
    board.decide("aside")
    old, left = board.decide("rest"), board.decide("left")
    acks = {ack["id"]: ack for ack in board.acks(2)}
    assert set(acks) == {old, left} and board.flap.moves == 1
    assert "no device serves 'rest'" in acks[old]["reason"] and acks[left]["result"] == "done"


def test_a_safe_route_that_a_device_serves_moves_it(board: Board) -> None:
    """As from the start: what is sorted into it is moved there."""
    board.movements.follow_safe("left")
    id = board.decide("left")
    assert [(ack["id"], ack["result"]) for ack in board.acks(1)] == [(id, "done")]
