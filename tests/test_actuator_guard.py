"""Which messages may move something, and what the ledger and the worker make of repeats."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.actuator import ledger as ledger_module
from edge.actuator.devices import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.guard import Clocks, Refusal, read_order
from edge.actuator.ledger import Ledger, LedgerError
from edge.actuator.mover import Mover
from edge.actuator.values import Ack, Order
from edge.values import Incoming
from edge.wire import Topics
from tests.harness import ROOT, wait_for

TOPICS = Topics("s", "b")
HOST = "0123456789ab"
CLOCKS = Clocks(now_s=50.0, now_ts=1000.0, synced=True, host=HOST)
DECISION = {
    "v": 1,
    "id": "boot-1",
    "site": "s",
    "bin": "b",
    "outcome": "sorted",
    "route": "left",
    "decided_ts": 999.9,
    "expires_ms": 500,
    "clock": "synced",
}


def read(
    clocks: Clocks = CLOCKS, topic: str = "decision", retained: bool = False, **changed: Any
) -> Order | Refusal | None:
    body = {k: v for k, v in {**DECISION, **changed}.items() if v is not ...}
    incoming = Incoming(
        TOPICS.of(topic), json.dumps(body).encode(), retained, received_s=50.0, expires_s=1
    )
    return read_order(incoming, topics=TOPICS, clocks=clocks)


def test_a_fresh_sorted_decision_is_an_order() -> None:
    """0.1 s of its half second are over when it comes."""
    order = read()
    assert isinstance(order, Order) and (order.id, order.route) == ("boot-1", "left")
    assert order.expires_s == pytest.approx(50.4) and order.fire_s is None


@pytest.mark.parametrize("outcome", ["unknown", "ambiguous", "empty", "late", "fault", None, 1])
def test_only_sorted_moves(outcome: object) -> None:
    """Whatever else it says, and no answer: nobody waits for one."""
    assert read(outcome=outcome) is None


def test_nothing_is_said_of_the_safe_route_where_nothing_moves_for_it() -> None:
    """The item falls that way by itself."""
    incoming = Incoming(TOPICS.of("decision"), json.dumps(DECISION).encode(), False)
    assert read_order(incoming, topics=TOPICS, clocks=CLOCKS, idle="left") is None


@pytest.mark.parametrize(
    ("changed", "result", "part"),
    [
        ({"decided_ts": 999.0}, "late", "expired 500 ms before it came"),
        ({"decided_ts": 1002.0}, "refused", "set the clocks"),
        ({"v": 2}, "refused", "schema version 2"),
        ({"bin": "other"}, "refused", "another bin"),
        ({"site": ...}, "refused", "another bin"),
        ({"retained": True}, "refused", "retained"),
        ({"expires_ms": 0}, "late", "expired"),
        ({"expires_ms": 0, "decided_ts": 1000.4}, "late", "expired 0 ms before"),
        ({"expires_ms": -1}, "refused", "expires_ms"),
        ({"expires_ms": 600_001}, "refused", "expires_ms of 0..600000"),
        ({"expires_ms": 1e12}, "refused", "expires_ms"),
        ({"expires_ms": math.nan}, "refused", "expires_ms"),
        ({"expires_ms": math.inf}, "refused", "expires_ms"),
        ({"decided_ts": math.nan}, "refused", "decided_ts"),
        ({"decided_ts": -math.inf}, "refused", "decided_ts"),
        ({"fire_at": {"ts": math.nan}}, "refused", "fire_at needs ts"),
        ({"expires_ms": "500"}, "refused", "expires_ms"),
        ({"expires_ms": True}, "refused", "expires_ms"),
        ({"decided_ts": ...}, "refused", "decided_ts"),
        ({"route": ...}, "refused", "no route"),
        ({"route": ["left"]}, "refused", "no route"),
        ({"fire_at": 7}, "refused", "fire_at needs ts"),
        ({"topic": "order", "verb": "dance"}, "refused", "unknown verb"),
    ],
)
def test_everything_else_is_refused_in_words(
    changed: dict[str, Any], result: str, part: str
) -> None:
    """Whoever asked is told why nothing moved."""
    refusal = read(**changed)
    assert isinstance(refusal, Refusal) and refusal.id == "boot-1"
    assert refusal.result == result and part in refusal.reason


UNSYNCED = Clocks(now_s=50.0, now_ts=5.0, synced=False, host=HOST)


def test_unsynced_clocks_count_from_receipt() -> None:
    """A clock of 1970 moves all the same, for the shorter of its life and the message's expiry."""
    order = read(UNSYNCED, expires_ms=5000)
    assert isinstance(order, Order) and order.expires_s == 51.0
    order = read(UNSYNCED, expires_ms=500)
    assert isinstance(order, Order) and order.expires_s == 50.5
    assert isinstance(read(CLOCKS, clock="unsynced", decided_ts=1.0), Order)


def test_a_decision_from_a_little_ahead_lives_no_longer_for_it() -> None:
    """Two clocks may differ by half a second; that is not added to its life."""
    order = read(decided_ts=1000.4)
    assert isinstance(order, Order) and order.expires_s == pytest.approx(50.5)


def test_one_host_needs_no_synced_clock() -> None:
    """The same kernel's clock is the same, however wrong: then the age is known."""
    late = read(UNSYNCED, clock="unsynced", host=HOST, decided_ts=4.0)
    assert isinstance(late, Refusal) and late.result == "late"
    other = read(UNSYNCED, clock="unsynced", host="f" * 12, decided_ts=4.0)
    assert isinstance(other, Order)


@pytest.mark.parametrize(
    ("step_s", "said"), [(-3600.0, "refused"), (-0.4, "order"), (0.3, "order"), (3600.0, "late")]
)
def test_a_clock_that_is_set_on_the_way_gives_no_decision_a_longer_life(
    step_s: float, said: str
) -> None:
    """Back or forth between the decision and its receipt, on one host: moved within its life."""
    clocks = dataclasses.replace(CLOCKS, now_ts=CLOCKS.now_ts + step_s)
    order = read(clocks, host=HOST)
    if said == "order":
        assert isinstance(order, Order) and order.expires_s <= 50.0 + 0.5
    else:
        assert isinstance(order, Refusal) and order.result == said


def test_fire_at_is_a_moment_of_this_clock_or_nothing() -> None:
    """Known to both, it is kept; between unsynced hosts it means nothing and is refused."""
    order = read(fire_at={"ts": 1000.25, "pulse": 7})
    assert isinstance(order, Order) and order.fire_s == pytest.approx(50.25)
    refusal = read(UNSYNCED, fire_at={"ts": 1000.25})
    assert isinstance(refusal, Refusal) and "not both synced" in refusal.reason


@given(payload=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_payload_crashes_the_guard(payload: bytes) -> None:
    """Whatever comes."""
    incoming = Incoming(TOPICS.of("decision"), payload, False)
    assert read_order(incoming, topics=TOPICS, clocks=CLOCKS) is None


@given(
    st.dictionaries(
        st.sampled_from([*DECISION, "fire_at", "host", "verb"]),
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.none()),
    )
)
def test_no_value_crashes_the_guard(changed: dict[str, Any]) -> None:
    """Right keys with anything in them: an order, a refusal or nothing."""
    assert isinstance(read(**changed), Order | Refusal | None)


# The ledger


def test_an_id_is_claimed_once_ever(tmp_path: Path) -> None:
    """Also by the next process, and after a torn last line."""
    path = tmp_path / "moves"
    ledger = Ledger(path)
    assert ledger.claim("a-1") and not ledger.claim("a-1") and ledger.claim("a-2")
    ledger.close()
    with path.open("ab") as file:
        file.write(b"a-3\x00\x00")
    again = Ledger(path)
    assert not again.claim("a-1") and not again.claim("a-2") and again.claim("a-4")
    again.close()
    assert not Ledger(path).claim("a-4")


def test_a_killed_process_leaves_its_claim(tmp_path: Path) -> None:
    """SIGKILL right after the claim: it was written before the device could stir."""
    path = tmp_path / "moves"
    code = (
        "import os, sys; from edge.actuator.ledger import Ledger; from pathlib import Path;"
        f"Ledger(Path({str(path)!r})).claim('a-1'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -9
    assert not Ledger(path).claim("a-1")


def test_the_file_stays_small(tmp_path: Path) -> None:
    """The newest ids are kept, the file is written anew, and a claim is still found."""
    path = tmp_path / "moves"
    ledger = Ledger(path, keep=50)
    for n in range(1000):
        assert ledger.claim(f"a-{n}")
        wait_for(lambda: ledger._shortening is None, what="the file to be shortened")
        assert len(path.read_text().splitlines()) <= 100
    ledger.close()
    assert [p.name for p in tmp_path.iterdir()] == ["moves"]
    again = Ledger(path, keep=50)
    assert not again.claim("a-999") and not again.claim("a-951")


def test_no_claim_waits_while_the_file_is_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one lost that is made meanwhile; the disk may take as long as it likes."""
    path, go_on, begun = tmp_path / "moves", threading.Event(), threading.Event()
    write = ledger_module._write

    def slow(fd: int, ids: Sequence[str]) -> None:
        begun.set()
        assert go_on.wait(20)
        write(fd, ids)

    monkeypatch.setattr(ledger_module, "_write", slow)
    ledger = Ledger(path, keep=5)
    assert all(ledger.claim(f"a-{n}") for n in range(11))
    assert begun.wait(20)
    assert ledger.claim("b-1") and ledger.claim("b-2")  # at once: the other thread is held
    go_on.set()
    wait_for(lambda: "a-0" not in path.read_text().split(), what="the new file")
    assert ledger.claim("b-3")
    ledger.close()
    kept = ["a-6", "a-7", "a-8", "a-9", "a-10", "b-1", "b-2", "b-3"]
    assert path.read_text().split() == kept
    assert not any(Ledger(tmp_path / "moves", keep=50).claim(id) for id in kept[-1:])


def test_a_ledger_that_cannot_be_shortened_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk leaves the long file in its place, says so, and loses no claim."""

    def full(fd: int, ids: Sequence[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "moves"
    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "_write", full)
        ledger = Ledger(path, keep=5)
        assert all(ledger.claim(f"a-{n}") for n in range(11))
        wait_for(lambda: "not shortened (No space" in caplog.text, what="the sentence")
    assert ledger.claim("a-11")
    ledger.close()
    assert path.read_text().split() == [f"a-{n}" for n in range(12)]


def test_two_actuators_do_not_share_a_ledger(tmp_path: Path) -> None:
    """The second says so."""
    first = Ledger(tmp_path / "moves")
    with pytest.raises(LedgerError, match="another actuator uses this ledger"):
        Ledger(tmp_path / "moves")
    first.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_line_torn_by_a_full_disk_joins_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is claimed after it is found again by the next start."""
    path, write = tmp_path / "moves", os.write
    ledger = Ledger(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
        with pytest.raises(LedgerError, match="disk full"):
            ledger.claim("boot-1")
    assert ledger.claim("boot-2") and ledger.claim("boot-3")
    ledger.close()
    assert not Ledger(path).claim("boot-2")


def test_nothing_moves_without_a_record(tmp_path: Path) -> None:
    """A full disk refuses the movement, in words."""
    ledger = Ledger(tmp_path / "moves")
    os.close(ledger._fd)
    ledger._fd = os.open("/dev/full", os.O_WRONLY)
    with Bench(ledger=ledger) as bench:
        assert bench.ask("a-1").result == "refused"
        assert "nothing moves without a record" in bench.acks[-1].reason
        assert bench.moved == []


# Orders on their way to the device


class Bench:
    """A mover with one simulated device, and what it did."""

    def __init__(self, *, ledger: Ledger | None = None, **device: Any) -> None:
        self.moved: list[tuple[str, float]] = []
        self.acks: list[Ack] = []
        self._news = threading.Condition()
        limits = Limits(device.pop("dwell_s", 0.0), 0.0, 6000, device.pop("tolerance_s", 0.02))
        limits = device.pop("limits", limits)
        self.device = Simulated(
            name="flap",
            routes={"left": 1.0, "right": 2.0},
            limits=limits,
            travel_s=device.pop("travel_s", 0.0),
            on_move=lambda order: self.moved.append((order.id, time.monotonic())),
            **device,
        )
        self.mover = Mover(devices=[self.device], ledger=ledger or Ledger(None), answer=self._take)
        self.mover.release()

    def _take(self, _order: Order, ack: Ack) -> None:
        with self._news:
            self.acks.append(ack)
            self._news.notify_all()

    def put(
        self,
        id: str,
        route: str = "left",
        *,
        in_s: float | None = None,
        life_s: float = 5.0,
        verb: Any = "move",
    ) -> None:
        now_s = time.monotonic()
        fire_s = None if in_s is None else now_s + in_s
        self.mover.obey(Order(id, route, now_s, now_s + life_s, fire_s, verb))

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A movement of `a-0` that lasts as long as the block, however slow the machine is."""
        over, record = threading.Event(), self.device._on_move
        self.device._on_move = lambda order: over.wait(30)
        self.put("a-0")
        wait_for(lambda: self.device.moves, what="the movement to begin")
        self.device._on_move = record
        try:
            yield
        finally:
            over.set()

    def ask(self, id: str, route: str = "left", **timing: Any) -> Ack:
        self.put(id, route, **timing)
        with self._news:
            assert self._news.wait_for(lambda: any(a.id == id for a in self.acks), 20.0)
            return next(a for a in self.acks if a.id == id)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.mover.close()


def test_an_id_delivered_again_moves_once_and_gets_the_same_answer() -> None:
    """Whether it comes after the movement, or while it lasts."""
    with Bench(dwell_s=0.05) as bench:
        for _ in range(3):
            bench.put("a-1")
        wait_for(lambda: len(bench.acks) == 3, what="three answers")
        assert [id for id, _ in bench.moved] == ["a-1"]
        assert len(set(bench.acks)) == 1 and bench.acks[0].result == "done"


def test_an_id_of_before_the_restart_is_not_moved_again(tmp_path: Path) -> None:
    """The ledger knows it, though nobody knows how it ended."""
    with Bench(ledger=Ledger(tmp_path / "moves")) as bench:
        assert bench.ask("a-1").result == "done"
    with Bench(ledger=Ledger(tmp_path / "moves")) as bench:
        ack = bench.ask("a-1")
        assert ack.result == "refused" and "never twice" in ack.reason and bench.moved == []


def test_what_waits_too_long_is_late_and_still() -> None:
    """Behind a long movement a short-lived order expires; it is told and not moved."""
    with Bench() as bench:
        with bench.busy():
            bench.put("a-1", life_s=0.05)
            time.sleep(0.06)
        wait_for(lambda: len(bench.acks) == 2, what="both answers")
        assert [(a.id, a.result) for a in bench.acks] == [("a-0", "done"), ("a-1", "late")]
        assert bench.moved == []


def test_fire_at_is_kept_in_the_order_of_the_moments() -> None:
    """Orders that come crosswise start in time's order, none before its moment."""
    with Bench(tolerance_s=30.0) as bench:
        start_s = time.monotonic()
        with bench.busy():
            for id, in_s in (("a-2", 0.4), ("a-1", 0.2), ("a-3", 0.6)):
                bench.put(id, in_s=in_s, life_s=60.0)
        wait_for(lambda: len(bench.acks) == 4, what="the movements")
        assert [id for id, _ in bench.moved] == ["a-1", "a-2", "a-3"]
        for (_, at_s), due_s in zip(bench.moved, (0.2, 0.4, 0.6), strict=True):
            assert at_s - start_s >= due_s


def test_a_moment_that_has_passed_is_late_beyond_the_tolerance() -> None:
    """100 ms ago is no use at a tolerance of 20; 5 ms ago is."""
    with Bench() as bench:
        ack = bench.ask("a-1", in_s=-0.1)
        assert ack.result == "late" and "too late to begin" in ack.reason
    with Bench(tolerance_s=30.0) as bench:
        assert bench.ask("a-2", in_s=-0.005, life_s=60.0).result == "done"


def test_held_it_stays_home_and_says_why() -> None:
    """What waits is refused at once, a movement is broken off, and release lets the next move."""
    with Bench(dwell_s=5.0) as bench:
        bench.put("a-1")
        bench.put("a-2", in_s=60.0, life_s=90.0)
        wait_for(lambda: bench.moved, what="the first to stir")
        bench.mover.hold("the bin is lost")
        wait_for(lambda: len(bench.acks) == 2, what="both")
        assert {a.result for a in bench.acks} == {"refused"}
        assert all("the bin is lost" in a.reason for a in bench.acks)
        assert bench.device.position == "home"
        assert bench.ask("a-3").result == "refused"
    with Bench() as bench:
        bench.mover.hold("silence")
        bench.mover.release()
        assert bench.ask("a-4").result == "done"


def test_what_waited_when_it_was_held_never_moves() -> None:
    """Also where it is free again before it has come home from the movement broken off."""
    with Bench(dwell_s=2.0) as bench:
        on_its_way, free = threading.Event(), threading.Event()

        def back() -> None:
            on_its_way.set()
            free.wait(30)

        bench.device._return = back  # type: ignore[method-assign]
        bench.put("a-1")
        wait_for(lambda: len(bench.moved) == 1, what="the movement")
        bench.put("a-2")
        bench.mover.hold("the bin is lost")
        assert on_its_way.wait(30)
        bench.mover.release()
        free.set()
        wait_for(lambda: len(bench.acks) == 2, what="both answers")
        assert [(a.id, a.result) for a in bench.acks] == [("a-1", "refused"), ("a-2", "refused")]
        assert "lost" in bench.acks[1].reason and len(bench.moved) == 1
        bench.put("a-3")
        wait_for(lambda: len(bench.moved) == 2, what="a new order's movement")


def test_a_jam_stays_until_it_is_cleared() -> None:
    """After it everything is refused; clear brings it home and lets it move again."""
    with Bench(jam_every=2) as bench:
        assert bench.ask("a-1").result == "done"
        assert bench.ask("a-2").result == "jammed"
        refused = bench.ask("a-3")
        assert refused.result == "refused" and "jammed before" in refused.reason
        assert bench.ask("op-1", "", verb="clear").result == "done"
        assert bench.ask("a-4").result == "done"


def test_cool_down_and_rate_are_kept_whatever_is_asked() -> None:
    """Four orders at once: a rest of 0.1 s between them, and the fourth is over the rate."""
    limits = Limits(dwell_s=0.0, cool_down_s=0.1, per_min=3, tolerance_s=0.02)
    with Bench(limits=limits) as bench:
        for n in range(4):
            bench.put(f"a-{n}", life_s=0.5 if n == 3 else 30.0)
        wait_for(lambda: len(bench.acks) == 4, what="all answers")
        starts = [at_s for _, at_s in bench.moved]
        assert [a.result for a in bench.acks] == ["done", "done", "done", "late"]
        assert all(b - a >= 0.1 for a, b in itertools.pairwise(starts))


def test_an_unknown_route_is_refused_with_the_known_ones() -> None:
    """By name, so that a slip in a config is found."""
    with Bench() as bench:
        ack = bench.ask("a-1", "lfet")
        assert ack.result == "refused" and "left, right" in ack.reason


def test_the_fault_of_a_device_is_a_jam_and_not_the_end() -> None:
    """Any exception leaves it home and latched, and the thread alive for a clear."""

    def broken(order: Order) -> None:
        raise RuntimeError("loose wire")

    with Bench() as bench:
        bench.device._on_move = broken
        ack = bench.ask("a-1")
        assert ack.result == "jammed" and "loose wire" in ack.reason
        bench.device._on_move = None
        assert bench.ask("op", "left", verb="clear").result == "done"
        assert bench.mover.alive and bench.ask("a-2").result == "done"


def test_neither_a_failing_pin_nor_a_failing_answer_ends_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also at home, what lgpio raises is a jam that a clear ends; a lost ack is only logged."""

    def broken(*_: object) -> None:
        raise Exception("bad GPIO write")

    with Bench() as bench:
        with monkeypatch.context() as patch:
            patch.setattr(bench.device, "_return", broken)
            ack = bench.ask("op-1", "left", verb="clear")
            assert ack.result == "jammed" and "bad GPIO write" in ack.reason
        assert bench.ask("op-2", "left", verb="clear").result == "done"
        worker = bench.mover._workers[0]
        with monkeypatch.context() as patch:
            patch.setattr(worker, "_answer", broken)
            bench.put("a-1")
            wait_for(lambda: len(bench.moved) == 1, what="the movement")
        assert bench.ask("a-2").result == "done" and bench.mover.alive


def test_a_movement_that_failed_counts_for_the_rest_of_its_coil() -> None:
    """A fault of the program does not let the next movement begin at once."""

    failed_s: list[float] = []

    def broken(order: Order) -> None:
        failed_s.append(time.monotonic())
        raise RuntimeError("loose wire")

    limits = Limits(dwell_s=0.0, cool_down_s=0.3, per_min=6000, tolerance_s=0.02)
    with Bench(limits=limits) as bench:
        bench.device._on_move = broken
        bench.ask("a-1")
        bench.device._on_move = lambda order: bench.moved.append((order.id, time.monotonic()))
        bench.ask("op", "left", verb="clear")
        assert bench.ask("a-2").result == "done"
        assert bench.moved[0][1] - failed_s[0] >= 0.3


def test_late_by_its_own_limits_names_them() -> None:
    """So that the owner of a quick belt finds cool_down_s and per_min."""
    limits = Limits(dwell_s=0.0, cool_down_s=30.0, per_min=6000, tolerance_s=0.02)
    with Bench(limits=limits) as bench:
        assert bench.ask("a-1").result == "done"
        ack = bench.ask("a-2", life_s=0.1)
        assert ack.result == "late" and "cool_down_s or per_min" in ack.reason


def test_at_the_end_a_stuck_device_keeps_no_other_moving() -> None:
    """All are told to stay home before one is waited for."""
    first, second = (
        Simulated(name=n, routes={n: 1.0}, limits=Limits(3.0, 0.0, 6000), travel_s=0.0)
        for n in ("one", "two")
    )
    acks: list[Ack] = []
    told, free = threading.Event(), threading.Event()

    def take(_order: Order, ack: Ack) -> None:
        acks.append(ack)
        told.set()

    mover = Mover(devices=[first, second], ledger=Ledger(None), answer=take)
    mover.release()
    now_s = time.monotonic()
    mover.obey(Order("a-1", "two", now_s, now_s + 5))
    wait_for(lambda: second.moves == 1, what="the movement")
    first._return = lambda: free.wait(30)  # type: ignore[method-assign,assignment,return-value]
    closing = threading.Thread(target=mover.close)
    closing.start()
    assert told.wait(20) and closing.is_alive()  # while the first is stuck still
    free.set()
    closing.join(20)
    assert [ack.result for ack in acks] == ["refused"]


def test_a_flood_is_cut() -> None:
    """Orders beyond the bound are refused, not stored."""
    with Bench() as bench, bench.busy():
        for n in range(1, 101):
            bench.put(f"a-{n}")
        assert [a.id for a in bench.acks] == [f"a-{n}" for n in range(65, 101)]
        assert all("64 orders wait already" in a.reason for a in bench.acks)


def test_the_environment_names_the_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under systemd it lies in the state directory."""
    from edge.actuator.ledger import default_path

    monkeypatch.setitem(os.environ, "STATE_DIRECTORY", f"{tmp_path}:/other")
    assert default_path() == tmp_path / "moves.journal"
