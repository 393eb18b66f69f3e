"""The belt's clock, tracker and timetable: pure, so time and position are values here."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.clock import EncoderClock, FixedClock, Quadrature
from edge.belt.timetable import BeltTimetable, Diverters
from edge.belt.tracker import MAX_ITEMS, MAX_REFUSED, Optics, Spacing, Tracker
from edge.decide import Routes, Rules
from edge.judge import Judge
from edge.values import Appointment, Crop, Frame, Item, Prediction

SPEED_MM_S = 500.0
OPTICS = Optics(camera_mm=100, window_mm=60, exposure_s=0.002, strobe_s=0.0)
SPACING = Spacing(min_gap_mm=40, max_item_mm=300)
FPS = 50.0
LENGTH_MM = 120.0


def frame_at(captured_s: float, seq: int = 1) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), captured_s, seq)


def tracker(votes: int = 1, clock: FixedClock | EncoderClock | None = None) -> Tracker:
    belt = clock or FixedClock(speed_mm_s=SPEED_MM_S)
    return Tracker(clock=belt, optics=OPTICS, spacing=SPACING, votes=votes)


def drain(belt: Tracker, now_s: float) -> Iterator[Item]:
    while item := belt.ready(now_s, edges_until_s=now_s):
        yield item


def run(belt: Tracker, leads_mm: list[float], *, lost: frozenset[int] = frozenset()) -> list[Item]:
    """Items of LENGTH_MM, leading edges at these positions, past a camera at FPS; `lost` frames."""
    edges = [(lead / SPEED_MM_S, True) for lead in leads_mm]
    edges += [((lead + LENGTH_MM) / SPEED_MM_S, False) for lead in leads_mm]
    frames = [(n / FPS, None) for n in range(int((max(leads_mm) + 800) / SPEED_MM_S * FPS) + 40)]
    given_back: list[Item] = []
    for at_s, broken in sorted(edges + frames, key=lambda event: event[0]):
        if broken is None:
            seq = round(at_s * FPS)
            if seq not in lost:
                belt.frame(frame_at(at_s, seq))
        elif broken:
            belt.lead(at_s, "gate")
        else:
            belt.trail(at_s)
        given_back += drain(belt, at_s)
    return given_back


gaps_mm = st.lists(st.floats(5, 600), min_size=1, max_size=12)


def positions(gaps: list[float]) -> list[float]:
    return list(np.cumsum([100.0] + [LENGTH_MM + gap for gap in gaps[1:]]))


@given(gaps=gaps_mm, lost=st.frozensets(st.integers(0, 400), max_size=60))
@settings(max_examples=60, deadline=None)
def test_each_item_comes_back_once_and_in_order(gaps: list[float], lost: frozenset[int]) -> None:
    """Whatever the gaps are and whichever frames are lost."""
    leads = positions(gaps)
    items = run(tracker(), leads, lost=lost)
    assert [item.trigger_s for item in items] == [lead / SPEED_MM_S for lead in leads]


@given(gaps=gaps_mm)
@settings(max_examples=60, deadline=None)
def test_two_too_close_are_both_kept_back_and_no_others(gaps: list[float]) -> None:
    """An item is `ambiguous` exactly where the gap before or behind it is too small."""
    items = run(tracker(), positions(gaps))
    small = [gap < SPACING.min_gap_mm for gap in gaps[1:]]
    expected = [a or b for a, b in zip([False, *small], [*small, False], strict=True)]
    assert [item.barred is not None and item.barred[0] == "ambiguous" for item in items] == expected


@given(gaps=gaps_mm, lost=st.frozensets(st.integers(0, 400), max_size=60))
@settings(max_examples=60, deadline=None)
def test_frames_of_an_item_were_exposed_after_its_trigger(
    gaps: list[float], lost: frozenset[int]
) -> None:
    """And while it was in the window; one without such a frame says `stale`."""
    for item in run(tracker(), positions(gaps), lost=lost):
        for frame in item.frames:
            exposed_s = frame.captured_s - OPTICS.exposure_s
            assert exposed_s > item.trigger_s
            passed_mm = (exposed_s - item.trigger_s) * SPEED_MM_S - OPTICS.camera_mm
            assert -1e-6 <= passed_mm <= OPTICS.window_mm + 1e-6
        if not item.frames:
            assert item.barred is not None
            assert item.barred[0] == "ambiguous" or item.barred[1].startswith("stale")


def test_two_votes_are_two_frames_of_the_window() -> None:
    """As many as there are, where the window holds fewer."""
    (item,) = run(tracker(votes=2), [100.0])
    assert [frame.seq for frame in item.frames] == [21, 22]
    (item,) = run(tracker(votes=30), [100.0])
    assert len(item.frames) == 6  # 60 mm at 10 mm a frame


def test_dead_camera_gives_stale_items_in_bounded_time() -> None:
    """Nothing waits for frames for ever, and the operator reads why."""
    belt = tracker()
    belt.lead(1.0, "gate")
    belt.trail(1.24)
    assert not list(drain(belt, 1.5))
    (item,) = drain(belt, 1.7)
    assert item.barred == (
        "fault",
        "stale: no frame was exposed while the item was in the picture",
    )


def test_two_that_touch_are_one_long_item_and_kept_back() -> None:
    """The gate sees no gap between them, but their length."""
    belt = tracker()
    belt.lead(1.0, "gate")
    for n in range(60, 80):
        belt.frame(frame_at(n / FPS, n))
    assert not list(drain(belt, 1.5))
    (item,) = drain(belt, 1.7)  # 350 mm and not over
    assert item.barred is not None and "two that touch" in item.barred[1]
    assert not belt.trouble
    assert not list(drain(belt, 3.0))
    assert "covered" in belt.trouble
    belt.trail(3.1)
    assert not list(drain(belt, 3.2))
    assert not belt.trouble


def full(count: int) -> Tracker:
    """A belt on which so many items of 25 mm have come, 400 ms apart, and none was given back."""
    belt = tracker()
    for n in range(count):
        taken = belt.lead(1 + n * 0.4, "gate")
        belt.trail(1.05 + n * 0.4)
        assert taken == (n < MAX_ITEMS)
    return belt


def test_an_item_that_is_refused_comes_back_as_a_fault_in_its_turn() -> None:
    """Each of them by itself, with its own time, after those that wait."""
    belt = full(MAX_ITEMS + 10)
    items = list(drain(belt, 100.0))
    assert [item.trigger_s for item in items] == [1 + n * 0.4 for n in range(MAX_ITEMS + 10)]
    reasons = [item.barred[1] for item in items if item.barred and item.barred[0] == "fault"]
    assert [reason.startswith("full: 64") for reason in reasons] == [False] * 64 + [True] * 10
    assert not any("after it" in reason for reason in reasons)
    assert belt.refused == 10
    assert belt.lead(101.0, "gate")  # there is room once more


def test_tracker_is_bounded_and_counts_what_it_cannot_keep() -> None:
    """A gate that chatters fills no memory; the last one refused speaks for the rest."""
    belt = full(MAX_ITEMS + MAX_REFUSED + 7)
    assert (len(belt), belt.refused) == (MAX_ITEMS + MAX_REFUSED, MAX_REFUSED + 7)
    *_, last = drain(belt, 100.0)
    assert last.barred is not None
    assert last.barred[1].endswith("runs off the end; so do the 7 that came after it")


def test_the_last_item_before_a_refused_one_keeps_its_end_and_its_gap() -> None:
    """What is refused lies on the belt all the same: it lengthens no item, but may crowd one."""
    belt = full(MAX_ITEMS)
    end_s = 1.05 + (MAX_ITEMS - 1) * 0.4
    place_mm = (end_s - 0.025) * SPEED_MM_S
    assert not belt.lead(end_s + 0.02, "gate")  # 10 mm behind it
    belt.trail(end_s + 0.07)
    items = list(drain(belt, 100.0))
    assert items[-2].place_mm == pytest.approx(place_mm)
    assert items[-2].barred is not None and items[-2].barred[1].startswith("too close")
    assert items[-1].barred is not None and items[-1].barred[0] == "fault"


def test_an_item_without_length_that_is_refused_is_no_jam() -> None:
    """A command or a pocket says nothing of an end, so nothing waits for one."""
    belt = tracker()
    taken = [belt.point(1 + n * 0.4, "command") for n in range(MAX_ITEMS + 1)]
    assert taken == [True] * MAX_ITEMS + [False]
    assert len(list(drain(belt, 100.0))) == MAX_ITEMS + 1
    assert not belt.trouble


# The clock


def encoder(mm_per_pulse: float = 5.0) -> EncoderClock:
    return EncoderClock(mm_per_pulse=mm_per_pulse, max_speed_mm_s=2000)


@given(
    speed=st.floats(100, 1500),
    jitter=st.floats(0, 0.2),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_encoder_clock_follows_the_belt(speed: float, jitter: float, seed: int) -> None:
    """Within two pulses, though each is stamped late by a share of the interval."""
    rng = np.random.default_rng(seed)
    clock = encoder()
    interval_s = 5.0 / speed
    for n in range(1, 200):
        clock.pulse(n * interval_s + jitter * interval_s * rng.random())
    for at_s in rng.uniform(10 * interval_s, 199 * interval_s, 20):
        assert abs(clock.position_mm(at_s) - speed * at_s) <= 10.0
    now_s = 199.5 * interval_s
    ahead_mm = clock.position_mm(now_s) + 300
    assert clock.time_at(ahead_mm, now_s=now_s) == pytest.approx(now_s + 300 / speed, rel=0.05)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_bouncing_pulses_are_not_counted(seed: int) -> None:
    """Each true pulse counts once, however many bounces follow within a fifth of the interval."""
    rng = np.random.default_rng(seed)
    clock = encoder()
    for n in range(1, 101):
        clock.pulse(n * 0.01)
        for bounce in np.sort(rng.uniform(0, 0.002, rng.integers(0, 3))):
            clock.pulse(n * 0.01 + float(bounce))
    assert clock.count == 100


@given(lag_s=st.floats(0, 0.09))
def test_pulses_that_lag_move_no_appointment(lag_s: float) -> None:
    """A busy host tells pulses in batches; the belt neither stands nor runs late for it."""
    clock = EncoderClock(mm_per_pulse=2.0, max_speed_mm_s=5000)
    for n in range(1, 1001):
        clock.pulse(n * 0.001)  # 2 m/s
    now_s = 1.0 + lag_s
    assert clock.time_at(3500.0, now_s=now_s) == pytest.approx(1.75, abs=0.002)
    assert clock.position_mm(now_s) == pytest.approx(2000 + 2000 * min(lag_s, 0.02), abs=2)


def test_standing_belt_has_no_future() -> None:
    """Once the pulses stop, nothing can be said of when an item will be anywhere."""
    clock = encoder()
    for n in range(1, 51):
        clock.pulse(n * 0.01)
    assert clock.time_at(1000, now_s=0.505) == pytest.approx(2.0, rel=0.02)
    assert clock.time_at(1000, now_s=1.5) == math.inf
    assert clock.position_mm(100.0) <= 255.0


@given(steps=st.lists(st.sampled_from([1, -1]), min_size=1, max_size=300))
def test_quadrature_counts_the_true_way(steps: list[int]) -> None:
    """Forward and back, in any order, the sum is where the wheel is."""
    wheel, turned, counted = Quadrature(), 0, 0
    cycle = [(0, 0), (1, 0), (1, 1), (0, 1)]  # (a, b) of forward
    for step in steps:
        before, after = cycle[turned % 4], cycle[(turned + step) % 4]
        channel = "a" if before[0] != after[0] else "b"
        counted += wheel.change(channel, after[0] if channel == "a" else after[1])
        turned += step
    assert (counted, wheel.errors) == (turned, 0)


def test_quadrature_bounce_undoes_itself() -> None:
    """A channel that chatters moves the belt nowhere."""
    wheel = Quadrature()
    assert sum(wheel.change("a", level) for level in (1, 0, 1, 0, 1, 0, 1)) == 1
    assert wheel.change("a", 1) == 0  # an edge was missed
    assert wheel.errors == 1


@given(back_mm=st.floats(0, 400))
@settings(max_examples=40, deadline=None)
def test_item_that_passes_the_gate_again_after_a_reversal_is_the_same(back_mm: float) -> None:
    """The belt runs back and on again; the gate fires again, and no second item comes of it."""
    clock = encoder()
    belt = tracker(clock=clock)
    at_s, at_mm, fired = 0.0, 0, 0

    def travel(distance_mm: float) -> None:
        """Move the belt; an item lies from 100 to 220 mm before the gate."""
        nonlocal at_s, at_mm, fired
        step = 1 if distance_mm > 0 else -1
        for _ in range(round(abs(distance_mm) / 5)):
            covered = 100 <= at_mm < 220
            at_s, at_mm = at_s + 0.01, at_mm + 5 * step
            clock.pulse(at_s, step)
            now_covered = 100 <= at_mm < 220
            if now_covered and not covered:
                fired += belt.lead(at_s, "gate")
            elif covered and not now_covered:
                belt.trail(at_s)
            belt.frame(frame_at(at_s))

    travel(300)
    travel(-back_mm)
    travel(back_mm + 300)
    assert fired == 1
    assert len(list(drain(belt, at_s))) <= 1


# The timetable, and the judge that keeps it


def timetable(now_s: float = 0.0, clock: FixedClock | None = None) -> BeltTimetable:
    diverters = Diverters({"packaging": 800.0}, delay_s=0.03, notice_s=0.02, tolerance_mm=25)
    belt = clock or FixedClock(speed_mm_s=SPEED_MM_S)
    return BeltTimetable(clock=belt, diverters=diverters, now=lambda: now_s)


def item_at(place_mm: float) -> Item:
    trigger_s = place_mm / SPEED_MM_S
    return Item((frame_at(trigger_s + 0.1),), trigger_s, "gate", place_mm=place_mm)


def test_appointment_is_the_distance_over_the_speed_less_the_delay() -> None:
    """800 mm at 500 mm/s are 1.6 s; the actuator begins 30 ms before."""
    appointment = timetable().appointment(item_at(1000.0), "packaging")
    assert appointment is not None
    assert appointment.act_s == pytest.approx(2.0 + 1.6 - 0.03)
    assert appointment.until_s == pytest.approx(appointment.act_s + 0.05)
    assert appointment.pulse is None


def test_route_without_a_diverter_has_no_appointment() -> None:
    """The item runs off the end of the belt."""
    assert timetable().appointment(item_at(1000.0), "residual") is None


def test_encoder_says_the_pulse_at_which_to_act() -> None:
    """The same moment twice: the pulse leaves what the belt runs in the actuator's delay."""
    clock = encoder()
    for n in range(1, 101):
        clock.pulse(n * 0.01)  # 500 mm/s
    diverters = Diverters({"packaging": 800.0}, delay_s=0.03, notice_s=0.02, tolerance_mm=25)
    table = BeltTimetable(clock=clock, diverters=diverters, now=lambda: 1.0)
    appointment = table.appointment(item_at(450.0), "packaging")
    assert appointment is not None and appointment.pulse is not None
    assert appointment.act_s == pytest.approx(1.0 + 750 / 500 - 0.03, rel=0.01)
    assert appointment.pulse == pytest.approx((450 + 800 - 15) / 5, abs=1)


class WholePicture:
    """A segmenter that cuts nothing off."""

    def cut(self, frame: Frame, item: Item) -> Crop:
        return Crop(frame.pixels, (0, 0, 4, 4))


class SureOfMetal:
    """A classifier that always says metal."""

    def look(self, crop: Crop) -> Prediction:
        return Prediction(np.array([0.97, 0.03], np.float32))


def judged(now_s: float, item: Item) -> tuple[str, Appointment | None]:
    judge = Judge(
        segmenter=WholePicture(),
        classifier=SureOfMetal(),  # type: ignore[arg-type]
        rules=Rules(("metal", "glass"), (0.6, 0.6), 0.1, 0.6),
        routes=Routes("residual", {"metal": "packaging"}),
        deadline_s=10.0,
        timetable=timetable(now_s),
        clock=lambda: now_s,
    )
    verdict = judge.judge(item)
    return verdict.decision.outcome, verdict.appointment


@given(now_s=st.floats(2.0, 6.0))
@settings(max_examples=60, deadline=None)
def test_late_never_fires(now_s: float) -> None:
    """An appointment that cannot be kept is `late`, and goes nowhere; one that can is kept."""
    outcome, appointment = judged(now_s, item_at(1000.0))
    if now_s <= 3.57 - 0.02 - 1e-6:
        assert outcome == "sorted" and appointment is not None
    elif now_s >= 3.57 - 0.02 + 1e-6:
        assert (outcome, appointment) == ("late", None)


def test_barred_item_is_never_judged() -> None:
    """Its frames may show a neighbour; what the trigger says of it stands."""
    barred = Item((frame_at(2.1),), 2.0, "gate", barred=("ambiguous", "too close"), place_mm=1000)
    assert judged(2.2, barred) == ("ambiguous", None)
    stale = Item((), 2.0, "gate", barred=("fault", "stale"), place_mm=1000)
    assert judged(2.2, stale) == ("fault", None)


def test_dead_encoder_is_told_and_not_silent() -> None:
    """Items break the beam, but the belt's clock knows of no travel: the state says so."""
    clock = encoder()
    belt = tracker(clock=clock)
    for n in range(9):
        belt.lead(float(n), "gate")
        belt.trail(n + 0.2)
    assert "belt.encoder_a" in belt.trouble and len(belt) == 1
    for n in range(40):
        clock.pulse(10 + n * 0.01, 1)
    belt.lead(10.4, "gate")
    assert not belt.trouble


def test_place_of_an_item_survives_a_belt_that_stood_and_shook() -> None:
    """Thousands of pulses to and fro push the item's edge out of the clock's memory."""
    clock = encoder()
    belt = tracker(clock=clock)
    for n in range(100):
        clock.pulse(n * 0.01, 1)
        if n == 20:
            belt.lead(n * 0.01, "gate")
        if n == 40:
            belt.trail(n * 0.01)
    for n in range(10_000):
        clock.pulse(1.0 + n * 0.01, 1 if n % 2 == 0 else -1)
    for n in range(60):
        clock.pulse(102.0 + n * 0.01, 1)
    (item,) = drain(belt, 104.0)
    assert item.place_mm == pytest.approx((105 + 205) / 2, abs=10)


def test_appointment_without_an_end_is_not_kept() -> None:
    """A belt that stops between two looks at its clock: late, not a number that no wire takes."""
    assert "stands" in timetable().missed(Appointment(5.0, math.inf, None), 0.0)
