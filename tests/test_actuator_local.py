"""Devices on the daemon's own board, beside the tests of the loop: what they are told later."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge.acks import Acks, Awaited
from edge.actuator.devices.base import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.ledger import Ledger
from edge.actuator.local import LocalActuator
from edge.health import clock_host
from edge.movements import MAX_SAID, Movements
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
        reporter: Any = self
        self.records: list[dict[str, Any]] = []
        self.acks_awaited = Acks(failures=3, retry_s=0)
        self.movements = Movements(
            origin=Origin(TOPICS, "boot", "model", "0"),
            safe=safe,
            acks=self.acks_awaited,
            ack_s=1.0,
            link=link,
            reporter=reporter,
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

    def report_record(self, kind: str, details: dict[str, Any]) -> None:
        """What would be an event."""
        self.records.append({"type": kind, **details})

    def expect(self, id: str) -> None:
        """As if a decision of this id had been sent."""
        self.acks_awaited.expect(Awaited(id, "left", 0.0, time.monotonic() + 600))

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


# Acks in masses, and of others


def ack(id: str, result: str = "done") -> Incoming:
    body = {"v": 1, "id": id, "result": result, "ms": 1.0}
    return Incoming(TOPICS.of("ack"), json.dumps(body).encode(), False, received_s=1.0)


def test_a_storm_of_acks_is_cut_and_told_once(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    """Two lines in the log, not thousands; what comes afterwards is heard as before."""
    for number in range(3 * MAX_SAID):
        board.movements.take(ack(f"boot-x{number}"))
    for _ in range(2):
        board.movements.serve()
    assert [record.getMessage() for record in caplog.records] == [
        f"actuator: an ack dropped, {MAX_SAID} wait already",
        f"actuator: {2 * MAX_SAID} acks were dropped",
    ]
    board.expect("boot-7")
    board.movements.take(ack("boot-7"))
    board.movements.serve()
    assert board.movements.counts == {"done": 1}


def test_acks_of_another_start_take_no_place(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    """An actuator of another name, or one that repeats the acks of yesterday."""
    board.expect("boot-7")
    for number in range(3 * MAX_SAID):
        board.movements.take(ack(f"yesterday-{number}"))
    board.movements.take(ack("boot-7"))
    board.movements.serve()
    assert board.movements.counts == {"done": 1} and not caplog.records


def test_acks_without_end_do_not_stop_the_loop(board: Board) -> None:
    """However fast they come, `serve` ends, and with it the turn of the loop."""
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            board.movements.take(ack("boot-x"))

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        board.movements.serve()
    over.set()
    for thread in threads:
        thread.join()


def test_of_two_actuators_the_first_ack_counts(board: Board) -> None:
    """One on this board and one behind the broker for the same id: one outcome, one event."""
    board.expect("boot-7")
    for result in ("jammed", "done"):
        board.movements.take(ack("boot-7", result))
    board.movements.serve()
    assert board.movements.counts == {"jammed": 1} and len(board.records) == 1
