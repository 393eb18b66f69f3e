"""The daemon's ledger of movements: what is awaited, what became of it, what is still offered."""

from __future__ import annotations

import json

import pytest

from edge.acks import RETRY_MIN_S, Acks, Awaited, Movement, Said, read_ack


def awaited(id: str = "b-1", route: str = "left", until_s: float = 10.0) -> Awaited:
    return Awaited(id=id, route=route, trigger_s=1.0, until_s=until_s, connection=1)


def said(id: str = "b-1", result: str = "done", at_s: float = 1.5) -> Said:
    return Said(id, result, 400.0, "", "flap", at_s)  # type: ignore[arg-type]


def fail(acks: Acks, times: int, *, at_s: float = 2.0, result: str = "jammed") -> None:
    for index in range(times):
        acks.expect(awaited(f"f-{at_s}-{index}"))
        assert acks.take(said(f"f-{at_s}-{index}", result, at_s))


def test_an_ack_closes_its_movement_once() -> None:
    """The first answer counts; a second one, or one for nobody, says nothing."""
    acks = Acks(failures=3, retry_s=60.0)
    acks.expect(awaited())
    assert acks.take(said()) == Movement("b-1", "left", "done", 400.0, 500.0, "", "flap")
    assert acks.take(said()) is None and acks.take(said("other")) is None
    assert acks.open == 0 and acks.counts == {"done": 1}


def test_no_ack_in_time_is_missing_and_a_late_one_still_counts() -> None:
    """The record is put right by a second event; a success offers the route again."""
    acks = Acks(failures=1, retry_s=0.0)
    acks.expect(awaited())
    assert list(acks.overdue(9.9, connection=1)) == []
    (missing,) = acks.overdue(10.1, connection=1)
    assert (missing.result, missing.ms) == ("missing", None)
    assert not acks.offer("left", now_s=11.0) and "left" in acks.trouble
    late = acks.take(said(at_s=12.0))
    assert late and late.result == "done" and late.waited_ms == 11_000
    assert acks.offer("left", now_s=12.0) and acks.trouble == ""


@pytest.mark.parametrize("connection", [None, 2])
def test_a_broker_that_was_away_is_no_failure_of_the_device(connection: int | None) -> None:
    """Missing all the same, but the route stays offered."""
    acks = Acks(failures=1, retry_s=0.0)
    acks.expect(awaited())
    (missing,) = acks.overdue(11.0, connection=connection)
    assert missing.reason == "the broker was away"
    assert acks.offer("left", now_s=11.0)


@pytest.mark.parametrize("result", ["jammed", "refused"])
def test_failures_in_a_row_shut_a_route_and_no_other(result: str) -> None:
    """Two are not enough, a success in between starts the count anew."""
    acks = Acks(failures=3, retry_s=0.0)
    fail(acks, 2, at_s=2.0, result=result)
    fail(acks, 1, at_s=3.0, result="done")
    fail(acks, 2, at_s=4.0, result=result)
    assert acks.offer("left", now_s=5.0)
    fail(acks, 1, at_s=5.0, result=result)
    assert not acks.offer("left", now_s=1e9) and acks.offer("right", now_s=6.0)
    assert "route left is not offered after 3 failures" in acks.trouble
    acks.clear()
    assert acks.offer("left", now_s=6.0)


def test_late_movements_shut_nothing() -> None:
    """The device is well; the decision came too late to it."""
    acks = Acks(failures=1, retry_s=0.0)
    fail(acks, 9, result="late")
    assert acks.offer("left", now_s=3.0)


def test_a_shut_route_is_tried_again_ever_more_rarely() -> None:
    """5 s, 10, 20 and then every retry_s; each time for one item alone."""
    acks = Acks(failures=1, retry_s=30.0)
    fail(acks, 1, at_s=0.0)
    tries = [t for t in range(120) if acks.offer("left", now_s=float(t))]
    assert tries == [5, 15, 35, 65, 95]
    assert RETRY_MIN_S == 5.0


def test_at_the_end_every_open_movement_is_told() -> None:
    """Nobody knows what became of them, and that is what the record says."""
    acks = Acks(failures=1, retry_s=0.0)
    for id in ("b-1", "b-2"):
        acks.expect(awaited(id))
    given_up = list(acks.abandon(3.0, "the daemon ended"))
    assert {m.decision for m in given_up} == {"b-1", "b-2"}
    assert {m.result for m in given_up} == {"missing"} and acks.offer("left", now_s=4.0)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b'{"v":2,"id":"a","result":"done","ms":1}',
        b'{"v":1,"id":7,"result":"done","ms":1}',
        b'{"v":1,"id":"a","result":"perhaps","ms":1}',
        b'{"v":1,"id":"a","result":"done"}',
        b'{"v":1,"id":"a","result":"done","ms":-1}',
        b'{"v":1,"id":"a","result":"done","ms":NaN}',
        b'{"v":1,"id":"a","result":"done","ms":true}',
        b'{"v":1,"id":"a","result":["done"],"ms":1}',
        b"[" * 5000,
        b" " * 5000,
    ],
)
def test_what_is_no_ack_is_passed_over(payload: bytes) -> None:
    """Foreign and malformed messages never become a movement."""
    assert read_ack(payload, received_s=1.0) is None


def test_an_ack_of_a_simple_board_is_enough() -> None:
    """Four keys; reason and device are bounded text where they come."""
    said = read_ack(b'{"v":1,"id":"a-1","result":"done","ms":412}', received_s=3.0)
    assert said == Said("a-1", "done", 412.0, "", "", 3.0)
    long = json.dumps({"v": 1, "id": "a", "result": "late", "ms": 0, "reason": "x" * 999})
    told = read_ack(long.encode(), received_s=3.0)
    assert told and len(told.reason) == 300
