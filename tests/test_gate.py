"""Light gate, encoder and line: what fires on a belt. Pins are gpiozero's own mock factory's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.clock import EncoderClock, FixedClock
from edge.belt.debounce import Debounce, Edge
from edge.belt.pins import PinSensors, SensorError, Sensors, Wiring
from edge.belt.tracker import Optics, Spacing, Tracker
from edge.beltsim.sensors import SimSensors
from edge.beltsim.world import Faults, World
from edge.triggers.encoder import EncoderTrigger
from edge.triggers.gate import EDGE_WAIT_S, GateTrigger
from edge.triggers.line import LineTrigger
from edge.triggers.moving import MovingTrigger
from edge.values import Frame, Item

HOLD_S = 0.005
SPEED_MM_S = 500.0


def settled(raw: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    gate = Debounce(hold_s=HOLD_S)
    clean = [edge for at_s, broken in raw for edge in gate.edge(Edge(at_s, broken))]
    clean += gate.settle(raw[-1][0] + 1.0)
    return [(edge.at_s, edge.broken) for edge in clean]


@given(
    pulses=st.lists(
        st.tuples(st.floats(1e-5, 0.5), st.floats(HOLD_S * 1.01, 0.5)), min_size=1, max_size=20
    )
)
def test_debounce_drops_no_real_pulse(pulses: list[tuple[float, float]]) -> None:
    """However short: each comes out with its own times, as long as the gaps outlast the hold."""
    raw, at_s = [], 1.0
    for length_s, gap_s in pulses:
        raw += [(at_s, True), (at_s + length_s, False)]
        at_s += length_s + gap_s
    assert settled(raw) == raw


@given(bounces=st.lists(st.floats(1e-5, HOLD_S * 0.9), min_size=1, max_size=30))
def test_debounce_merges_bounces(bounces: list[float]) -> None:
    """One item, however often its edges chatter; it began at the first break of all."""
    raw, at_s, broken = [(1.0, True)], 1.0, True
    for wait_s in bounces:
        at_s, broken = at_s + wait_s, not broken
        raw.append((at_s, broken))
    if broken:
        at_s += 0.2
        raw.append((at_s, False))
    assert settled(raw) == [(1.0, True), (at_s, False)]


def test_leading_edge_counts_at_once() -> None:
    """Nothing waits for the hold to know that an item has come."""
    assert [edge.at_s for edge in Debounce(hold_s=HOLD_S).edge(Edge(1.0, True))] == [1.0]


# Pins


@pytest.fixture
def factory() -> Iterator[Any]:
    mock = pytest.importorskip("gpiozero.pins.mock")
    made = mock.MockFactory()
    yield made
    made.close()


class Heard:
    """Keeps what the sensors told."""

    def __init__(self) -> None:
        self.gate: list[tuple[float, bool]] = []
        self.pulses: list[tuple[float, int]] = []

    def listen(self, sensors: Sensors) -> None:
        sensors.start(
            on_gate=lambda at_s, broken: self.gate.append((at_s, broken)),
            on_pulse=lambda at_s, step: self.pulses.append((at_s, step)),
        )


@pytest.mark.parametrize("broken_is_high", [True, False])
def test_gate_pin_tells_breaks_with_their_time(factory: Any, broken_is_high: bool) -> None:
    """Dark is high or low as the sensor is wired; the stamp is of our monotonic clock."""
    heard = Heard()
    with PinSensors(Wiring(gate=17, broken_is_high=broken_is_high), factory=factory) as sensors:
        heard.listen(sensors)
        pin = factory.pin("GPIO17")
        began_s = time.monotonic()
        pin.drive_low()
        pin.drive_high()
    assert [broken for _, broken in heard.gate] == [not broken_is_high, broken_is_high]
    assert all(began_s <= at_s <= time.monotonic() for at_s, _ in heard.gate)


class WiredLine:
    """The real sensors, on mock pins, with a wheel and an item moved by hand."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.sensors: Sensors = PinSensors(Wiring(gate=17, encoder_a=5), factory=factory)

    def pass_an_item(self) -> None:
        gate, wheel = self._factory.pin("GPIO17"), self._factory.pin("GPIO5")
        gate.drive_low()
        for drive in (gate.drive_high, wheel.drive_low, wheel.drive_high, gate.drive_low):
            drive()


class SimulatedLine:
    """The sensors of the simulation; its belt runs by itself."""

    def __init__(self) -> None:
        world = World(
            seed=1,
            start_s=time.monotonic() - 1.8,
            items=20,
            per_min=600,
            speed_mm_s=4500,
            fps=60,
            camera_mm=160,
            faults=Faults(gate_bounces=0, pulse_noise=0),
        )
        self.sensors: Sensors = SimSensors(world, mm_per_pulse=20)

    def pass_an_item(self) -> None:
        time.sleep(0.4)


@pytest.fixture(params=["pins", "simulation"])
def line(request: pytest.FixtureRequest) -> WiredLine | SimulatedLine:
    """Whatever tells of a belt."""
    if request.param == "pins":
        return WiredLine(request.getfixturevalue("factory"))
    return SimulatedLine()


def test_sensors_tell_an_item_and_the_travel_in_order(line: WiredLine | SimulatedLine) -> None:
    """A break, then its end, then pulses; stamps are of the past and never run back."""
    heard = Heard()
    heard.listen(line.sensors)
    line.pass_an_item()
    line.sensors.close()
    edges = [broken for _, broken in heard.gate]
    assert True in edges and False in edges[edges.index(True) :]
    assert heard.pulses and {step for _, step in heard.pulses} == {1}
    for stamps in ([at_s for at_s, _ in heard.gate], [at_s for at_s, _ in heard.pulses]):
        assert stamps == sorted(stamps)
        assert stamps[-1] <= time.monotonic()


def test_closed_sensors_are_silent(line: WiredLine | SimulatedLine) -> None:
    """And closing twice is no fault."""
    heard = Heard()
    heard.listen(line.sensors)
    line.sensors.close()
    line.sensors.close()
    heard.gate.clear()
    line.pass_an_item()
    assert not heard.gate


def test_single_channel_counts_rising_edges(factory: Any) -> None:
    """One pulse for each tooth, always forward."""
    heard = Heard()
    with PinSensors(Wiring(encoder_a=5), factory=factory) as sensors:
        heard.listen(sensors)
        pin = factory.pin("GPIO5")
        for _ in range(3):
            pin.drive_low()
            pin.drive_high()
    assert [step for _, step in heard.pulses] == [1, 1, 1]


def test_quadrature_pins_count_both_ways(factory: Any) -> None:
    """Four steps a tooth, and the sign says which way."""
    heard = Heard()
    with PinSensors(Wiring(encoder_a=5, encoder_b=6), factory=factory) as sensors:
        heard.listen(sensors)
        a, b = factory.pin("GPIO5"), factory.pin("GPIO6")
        heard.pulses.clear()
        for _ in range(2):
            for drive in (a.drive_low, b.drive_low, a.drive_high, b.drive_high):
                drive()
        forward = [step for _, step in heard.pulses]
        heard.pulses.clear()
        for drive in (b.drive_low, a.drive_low, b.drive_high, a.drive_high):
            drive()
        back = [step for _, step in heard.pulses]
    assert abs(sum(forward)) == 8 and sum(back) == -np.sign(sum(forward)) * 4


@pytest.mark.parametrize("ahead_s", [0.0, 1.7e9, 5e5])
def test_stamp_of_another_clock_is_brought_onto_ours(ahead_s: float) -> None:
    """Monotonic or wall clock, 3 ms old; one that is neither counts as now."""
    sensors = PinSensors(Wiring(), factory=None, clock=lambda: 1000.0, wall=lambda: 1000.0 + 1.7e9)
    stamped_s = sensors._stamp(1000.0 + ahead_s - 0.003)
    assert stamped_s == pytest.approx(999.997 if ahead_s != 5e5 else 1000.0, abs=1e-6)


def test_pin_that_does_not_exist_is_a_sentence(factory: Any) -> None:
    """It names the option, the pin, and what to do; nothing stays claimed."""
    sensors = PinSensors(Wiring(gate=99), factory=factory)
    with pytest.raises(SensorError, match=r"belt.gate_pin = 99: .*gpioinfo"):
        Heard().listen(sensors)


# Triggers


class Now:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 10.0

    def __call__(self) -> float:
        return self.now_s


def tracker(clock: Any = None) -> Tracker:
    return Tracker(
        clock=clock or FixedClock(speed_mm_s=SPEED_MM_S),
        optics=Optics(camera_mm=50, window_mm=60, exposure_s=0, strobe_s=0),
        spacing=Spacing(min_gap_mm=40, max_item_mm=300),
        votes=1,
    )


def frame_at(at_s: float, pixels: Any = None, seq: int = 1) -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8) if pixels is None else pixels, at_s, seq)


def play(trigger: MovingTrigger, now: Now, until_s: float, picture: Any = None) -> list[Item]:
    """Frames at 50 a second and the time between, until then."""
    items = []
    while now.now_s < until_s:
        now.now_s += 0.02
        item = trigger.see(frame_at(now.now_s, picture(now.now_s) if picture else None))
        while item:
            items.append(item)
            item = trigger.due(now.now_s)
    return items


def test_gate_makes_an_item_of_a_break() -> None:
    """With the kernel's time, its middle on the belt's scale, and a frame from after it."""
    now = Now()
    trigger = GateTrigger(tracker(), hold_s=HOLD_S, clock=now)
    trigger.edge(10.001, True)
    trigger.edge(10.002, False)  # a bounce
    trigger.edge(10.003, True)
    trigger.edge(10.201, False)
    assert trigger.open_items == 0
    (item,) = play(trigger, now, 11.0)
    assert (item.cause, item.trigger_s, item.barred) == ("gate", 10.001, None)
    assert item.place_mm == pytest.approx(10.101 * SPEED_MM_S)
    assert item.frames[0].captured_s >= 10.101


def test_gate_waits_for_edges_on_their_way() -> None:
    """A break that reaches the trigger late still makes both items ambiguous."""
    now = Now()
    trigger = GateTrigger(tracker(), hold_s=HOLD_S, clock=now)
    trigger.edge(10.0, True)
    trigger.edge(10.2, False)
    assert not play(trigger, now, 10.2 + 40 / SPEED_MM_S + EDGE_WAIT_S - 0.02)
    trigger.edge(10.27, True)  # 35 mm behind, told 10 ms after it happened
    trigger.edge(10.4, False)
    items = play(trigger, now, 11.0)
    assert [item.barred and item.barred[0] for item in items] == ["ambiguous", "ambiguous"]


def test_command_fires_on_a_belt_too() -> None:
    """A light barrier on a PLC may speak through MQTT: place and time are the command's."""
    now = Now()
    trigger = MovingTrigger(tracker(), clock=now)
    assert trigger.fire(10.0)
    (item,) = play(trigger, now, 11.0)
    assert (item.cause, item.trigger_s, item.place_mm) == ("command", 10.0, 5000.0)


def test_reset_forgets_what_is_on_the_belt() -> None:
    """After a pause the items that passed are gone."""
    now = Now()
    trigger = GateTrigger(tracker(), hold_s=HOLD_S, clock=now)
    trigger.edge(10.0, True)
    trigger.due(10.1)
    assert trigger.open_items == 1
    trigger.reset()
    assert not play(trigger, now, 11.0)


@given(turns=st.lists(st.integers(-20, 60), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_encoder_fires_once_for_each_pocket(turns: list[int]) -> None:
    """A pocket is a pitch of travel beyond the furthest yet, however the belt turns."""
    now = Now()
    belt = EncoderClock(mm_per_pulse=10, max_speed_mm_s=5000)
    belt.pulse(now.now_s)
    trigger = EncoderTrigger(tracker(belt), belt=belt, pitch_mm=200, clock=now)
    trigger.due(now.now_s)
    fired, here_mm, furthest_mm = 0, 10.0, 10.0
    for pulses in turns:
        for _ in range(abs(pulses)):
            now.now_s += 0.01
            belt.pulse(now.now_s, 1 if pulses > 0 else -1)
            here_mm += 10 if pulses > 0 else -10
            furthest_mm = max(furthest_mm, here_mm)
            item = trigger.see(frame_at(now.now_s))
            fired += item is not None
            while trigger.due(now.now_s):
                fired += 1
    assert fired + trigger.open_items == int((furthest_mm - 10) // 200)


class RunningBelt:
    """Draws a textured belt that runs, with items on it, in noise."""

    def __init__(self, leads_s: list[float], *, seed: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        self._texture = self._rng.normal(70, 3, (48, 400, 1)).repeat(3, axis=2)
        self._leads_s = leads_s

    def __call__(self, at_s: float) -> Any:
        shift = int(at_s * SPEED_MM_S / 5) % 300  # 5 mm a pixel: the picture is 320 mm wide
        picture = self._texture[:, shift : shift + 64].copy()
        for lead_s in self._leads_s:
            front = int((at_s - lead_s) * SPEED_MM_S / 5) + 32
            if front > 0:
                picture[12:36, max(0, front - 20) : max(0, front)] = (170, 120, 80)
        picture += self._rng.normal(0, 2, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)


def line_trigger(now: Now) -> LineTrigger:
    return LineTrigger(tracker(), line_at=0.5, across="x", min_share=0.1, absorb_s=5.0, clock=now)


def test_line_fires_for_what_crosses_it_and_for_nothing_else() -> None:
    """Three items in two seconds, none for the belt's own pattern; each within two frames."""
    now = Now()
    leads_s = [11.0, 11.6, 12.3]
    items = play(line_trigger(now), now, 13.5, RunningBelt(leads_s))
    assert [item.barred for item in items] == [None] * 3
    for item, lead_s in zip(items, leads_s, strict=True):
        assert abs(item.trigger_s - lead_s) <= 0.045
        assert item.frames[0].captured_s > item.trigger_s
        assert item.place_mm == pytest.approx((lead_s + 0.1) * SPEED_MM_S, abs=25)


def test_line_that_stays_covered_is_learned_anew() -> None:
    """Dirt on the belt or the lens does not blind it for ever."""
    now = Now()
    dirty = RunningBelt([11.0])
    stuck = dirty(11.1)
    trigger = line_trigger(now)
    play(trigger, now, 11.02, RunningBelt([]))
    play(trigger, now, 17.0, lambda _: stuck)
    assert not trigger.trouble
    assert [item.cause for item in play(trigger, now, 20.0, lambda _: stuck)] == []
