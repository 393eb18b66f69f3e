"""One contract for every device: gpiozero's mock pins under the real classes, and the simulation.

The mock pins are gpiozero's own; the metal is played by `Metal`, which moves end switches when an
output changes, as a flap or a plunger would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPin, MockPWMPin

from edge.actuator.devices import KINDS, Device, build_device
from edge.actuator.devices.carousel import _shortest
from edge.actuator.gpio import Pins
from edge.actuator.pace import Pace
from edge.actuator.values import ActuatorError, BrokenOffError, JammedError, Order
from edge.options import Reader

FAST = {"cool_down_s": 0.0, "per_min": 6000}
TABLES: dict[str, dict[str, Any]] = {
    "servo": {
        "pin": 18,
        "routes": {"a": 60, "b": -60},
        "deg_per_s": 2000,
        "dwell_s": 0.02,
        "home_switch": 5,
    },
    "diverter": {"pin": 17, "route": "a", "dwell_s": 0.02, "home_switch": 5, "end_switch": 6},
    "gates": {
        "routes": {"a": 17, "b": 27},
        "dwell_s": 0.02,
        "home_switch": 5,
        "end_switches": {"a": 6},
        "travel_s": 0.05,
    },
    "carousel": {
        "step_pin": 20,
        "dir_pin": 21,
        "enable_pin": 16,
        "home_switch": 5,
        "routes": {"a": 1, "b": 3},
        "steps_per_turn": 40,
        "steps_per_s": 20000,
        "ramp_s": 0,
        "dwell_s": 0.02,
    },
    "kicker": {"pin": 17, "route": "a", "on_ms": 20, "home_switch": 5},
    "relay": {"pin": 17, "route": "a", "dwell_s": 0.02, "feedback": 6},
    "simulated": {"routes": {"a": 1, "b": 2}, "travel_s": 0.01, "dwell_s": 0.02},
}
WITH_PINS = [kind for kind in TABLES if kind != "simulated"]


class WatchedPin(MockPWMPin):
    """gpiozero's mock pin, telling `changed` of each new level."""

    changed: Callable[[int, float], None] = staticmethod(lambda number, level: None)

    def close(self) -> None:
        """Become an input, as lgpio does; the mock would first drive a plain output low."""
        if self._frequency is not None:
            self.frequency = None
        MockPin.close(self)

    def _change_state(self, value: float) -> bool:
        new = super()._change_state(value)
        if new:
            type(self).changed(int(self.info.name.removeprefix("GPIO")), float(value))
        return new


@dataclass
class Metal:
    """What hangs on the pins: switches that follow the outputs, until it is stuck."""

    factory: MockFactory
    kind: str
    stuck: bool = False  # it no longer moves, so no switch changes
    levels: dict[int, float] = field(default_factory=dict)
    outputs: list[tuple[int, float]] = field(default_factory=list)
    shorted: int = -1  # a switch that is pressed for ever, by its wire
    cut: int = -1  # a switch that is never pressed, by its wire
    steps: int = 15  # of the carousel, from home: it was left somewhere

    def start(self) -> None:
        self._press(5, self.kind != "carousel")

    def changed(self, number: int, level: float) -> None:
        if number in (5, 6):
            return
        self.levels[number] = level
        self.outputs.append((number, level))
        if self.stuck:
            return
        if self.kind == "carousel":
            if number == 20 and level:
                self.steps = (self.steps + (1 if self.levels.get(21) else -1)) % 40
            self._press(5, self.steps == 0)
        elif self.kind == "servo":
            if level:  # no pulses: it stays where it is
                self._press(5, abs(level * 20 - 1.5) < 0.01)
        else:
            on = level == 0 if self.kind == "relay" else level == 1
            self._press(5, not on)
            self._press(6, on)

    def _press(self, number: int, pressed: bool) -> None:
        pin = self.factory.pin(number)
        if pin.function == "input" and number not in (self.shorted, self.cut):
            (pin.drive_low if pressed else pin.drive_high)()


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    made = MockFactory(pin_class=WatchedPin)
    yield made
    WatchedPin.changed = staticmethod(lambda number, level: None)
    made.reset()


@pytest.fixture
def make(factory: MockFactory) -> Iterator[Callable[..., tuple[Device, Metal]]]:
    made: list[Device] = []

    def build(kind: str, **changed: Any) -> tuple[Device, Metal]:
        reader = Reader({}, {}, file="test")
        table = {"kind": kind, **FAST, **TABLES[kind], **changed}
        options = reader.table("actuator.devices.it", table, KINDS[kind].options)
        assert not reader.faults and not list(KINDS[kind].faults(options))
        metal = Metal(factory, kind)
        device = build_device("it", options, Pins(factory) if kind in WITH_PINS else None)
        made.append(device)
        metal.start()
        WatchedPin.changed = staticmethod(metal.changed)
        return device, metal

    yield build
    for device in made:
        device.close()


Make = Callable[..., tuple[Device, Metal]]
NEVER = threading.Event()


def order(route: str = "a") -> Order:
    return Order(id="boot-1", route=route, received_s=0.0, expires_s=1e9)


def is_safe(kind: str, metal: Metal) -> bool:
    """No coil under current, no gate open, no pulses, no motor held."""
    if kind == "carousel":
        return metal.levels.get(16, 1.0) == 1.0 and metal.levels.get(20, 0.0) == 0.0
    off = 1.0 if kind == "relay" else 0.0
    return all(level == off for level in metal.levels.values())


@pytest.mark.parametrize("kind", TABLES)
def test_goes_out_and_comes_home(make: Make, kind: str) -> None:
    """After a movement it is home, without current, and ready for the next."""
    device, metal = make(kind)
    device.home()
    for route in device.routes:
        started_s = time.monotonic()
        device.move(order(route), stop=NEVER)
        assert device.position == "home"
        assert time.monotonic() - started_s >= device.limits.dwell_s
        assert is_safe(kind, metal)
    assert kind not in WITH_PINS or metal.outputs


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_stirs_before_it_is_asked(make: Make, kind: str) -> None:
    """Building it puts no current on anything."""
    _, metal = make(kind)
    assert metal.outputs == [] and is_safe(kind, metal)


@pytest.mark.parametrize("kind", TABLES)
def test_broken_off_goes_home_at_once(make: Make, kind: str) -> None:
    """Its stop event ends a long rest; where it was set before, nothing stirs."""
    long = {"on_ms": 500} if kind == "kicker" else {"dwell_s": 3.0}
    device, metal = make(kind, **long)
    device.home()
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    started_s = time.monotonic()
    with pytest.raises(BrokenOffError):
        device.move(order(), stop=stop)
    assert time.monotonic() - started_s < 2.5
    assert device.position == "home" and is_safe(kind, metal)
    metal.outputs.clear()
    with pytest.raises(BrokenOffError):
        device.move(order(), stop=stop)
    assert not [level for _, level in metal.outputs if level and kind in ("diverter", "kicker")]


@pytest.mark.parametrize("kind", TABLES)
def test_close_is_idempotent_and_safe(make: Make, kind: str) -> None:
    """However often it is closed, and in the middle of nothing."""
    device, metal = make(kind)
    with device:
        device.home()
        device.move(order(), stop=NEVER)
    device.close()
    assert is_safe(kind, metal)
    assert all(pin.function == "input" for pin in metal.factory.pins.values())


@pytest.mark.parametrize("kind", TABLES)
def test_unknown_route_moves_nothing(make: Make, kind: str) -> None:
    """The device itself knows where it can go."""
    device, metal = make(kind)
    with pytest.raises(KeyError):
        device.move(order("nowhere"), stop=NEVER)
    assert metal.outputs == []


@pytest.mark.parametrize("kind", WITH_PINS)
def test_stuck_metal_is_a_jam_with_its_switch_and_remedy(make: Make, kind: str) -> None:
    """The end switch says so within its time; the current is off whatever it says."""
    device, metal = make(kind)
    device.home()
    metal.stuck = True
    if kind in ("carousel", "kicker"):  # what they look for is home, after the movement
        metal.factory.pin(5).drive_high()
    with pytest.raises(JammedError, match=r"it: .* GPIO [56]; .*cmd/clear"):
        device.move(order(), stop=NEVER)
    assert is_safe(kind, metal)
    assert device.position == "home" if kind in ("servo", "relay", "diverter", "gates") else True
    metal.stuck = False
    metal.start() if kind != "carousel" else None
    device.home()
    device.move(order(), stop=NEVER)
    assert device.position == "home"


# Kind, switches that it has beside those of the table, and which of them is shorted to ground.
SHORTED = [
    ("servo", {}, 5),
    ("diverter", {}, 5),
    ("diverter", {}, 6),
    ("diverter", {"end_switch": -1}, 5),
    ("gates", {}, 5),
    ("gates", {}, 6),
    ("kicker", {}, 5),
    ("kicker", {"end_switch": 6}, 6),
    ("relay", {}, 6),
]


@pytest.mark.parametrize(("kind", "switches", "shorted"), SHORTED)
def test_a_shorted_switch_is_a_jam_and_never_done(
    make: Make, kind: str, switches: dict[str, int], shorted: int
) -> None:
    """Pinched or corroded wire: what it says is true of home or of the end, never of both."""
    device, metal = make(kind, **switches)
    metal.shorted = shorted
    metal.factory.pin(shorted).drive_low()
    with pytest.raises(JammedError, match=rf"it: .* GPIO {shorted}; .*cmd/clear"):
        device.home()
        device.move(order(), stop=NEVER)
    assert is_safe(kind, metal)


@pytest.mark.parametrize(
    ("kind", "switch"),
    [(kind, "home_switch") for kind in ("servo", "diverter", "gates", "kicker", "carousel")]
    + [("diverter", "end_switch"), ("kicker", "end_switch"), ("relay", "feedback")],
)
def test_an_unplugged_switch_is_a_jam_and_never_done(make: Make, kind: str, switch: str) -> None:
    """Nothing joins its pin with ground any more: the pull-up says so at home, or at the end."""
    device, metal = make(kind, **({"end_switch": 6} if switch == "end_switch" else {}))
    metal.cut = 5 if switch == "home_switch" else 6
    metal.factory.pin(metal.cut).drive_high()
    with pytest.raises(JammedError, match=rf"it: .* GPIO {metal.cut}; .*cmd/clear"):
        device.home()
        device.move(order(), stop=NEVER)
    assert is_safe(kind, metal)


def test_simulated_jam_is_a_jam(make: Make) -> None:
    """Every third movement, as it was told to."""
    device, _ = make("simulated", jam_every=3)
    for _ in range(2):
        device.move(order(), stop=NEVER)
    with pytest.raises(JammedError, match="cmd/clear"):
        device.move(order(), stop=NEVER)
    assert device.position == "home"


def test_servo_turns_to_the_angle_and_rests_without_pulses(make: Make) -> None:
    """60 degrees of -90..90 with 1 to 2 ms: 1.833 ms of 20; then home, 1.5 ms; then none."""
    device, metal = make("servo")
    device.home()
    metal.outputs.clear()
    device.move(order("a"), stop=NEVER)
    pulses_ms = [round(level * 20, 3) for pin, level in metal.outputs if pin == 18]
    assert pulses_ms == [1.833, 1.5, 0.0]


def test_servo_that_holds_keeps_its_pulses(make: Make) -> None:
    """hold = true: the last level is that of home, not none."""
    device, metal = make("servo", hold=True)
    device.home()
    device.move(order("b"), stop=NEVER)
    assert round(metal.levels[18] * 20, 3) == 1.5
    device.close()
    assert metal.levels[18] == 0.0


def test_never_two_gates_open(make: Make) -> None:
    """Between any two changes at most one output is on."""
    device, metal = make("gates")
    for route in ("a", "b", "a"):
        device.move(order(route), stop=NEVER)
    levels = {17: 0.0, 27: 0.0}
    for pin, level in metal.outputs:
        levels[pin] = level
        assert sum(levels.values()) <= 1


def test_carousel_finds_home_and_takes_the_shorter_way(make: Make) -> None:
    """Left 15 steps from home it seeks; slot 3 of 4 is a quarter turn back, not three forward."""
    device, metal = make("carousel")
    device.home()
    assert metal.steps == 0
    metal.outputs.clear()
    device.move(order("b"), stop=NEVER)
    assert sum(1 for pin, level in metal.outputs if pin == 20 and level) == 20
    assert metal.steps == 0
    assert [_shortest(steps, 40) for steps in (10, 20, 30, -30, 40)] == [10, -20, -10, 10, 0]


def test_carousel_that_lost_steps_finds_home_again(make: Make) -> None:
    """Where the switch is not pressed at the count of home, it turns on until it is."""
    device, metal = make("carousel")
    device.home()
    metal.steps = 7  # pushed by hand
    device.move(order("a"), stop=NEVER)
    assert metal.steps == 0 and device.position == "home"


def test_kicker_rests_as_its_coil_needs() -> None:
    """60 ms at a duty of a quarter: 180 ms of rest, whatever cool_down_s says."""
    options = KINDS["kicker"].options
    assert options(kind="kicker", cool_down_s=0.0).limits.cool_down_s == pytest.approx(0.18)
    assert options(kind="kicker", cool_down_s=1.0).limits.cool_down_s == 1.0


def test_pin_taken_twice_is_a_sentence(make: Make, factory: MockFactory) -> None:
    """Pins that do not exist, likewise."""
    make("diverter")
    with pytest.raises(ActuatorError, match="GPIO 17 is used twice"):
        Pins(factory).output(17, active_high=True)
    with pytest.raises(ActuatorError, match="GPIO 99 does not exist"):
        Pins(factory).output(99, active_high=True)


def test_pin_held_by_another_program_is_a_sentence(factory: MockFactory) -> None:
    """lgpio's own words are turned into what to do."""

    class BusyPin(MockPin):
        def __init__(self, *_: Any) -> None:
            error = type("error", (Exception,), {"__module__": "lgpio"})
            raise error("'GPIO busy'")

    factory.pin_class = BusyPin
    with pytest.raises(ActuatorError, match=r"GPIO 17 is in use by another program .*gpioinfo"):
        Pins(factory).output(17, active_high=True)


def test_carousel_that_does_not_turn_is_a_jam(make: Make) -> None:
    """A motor that is held fast leaves the home switch pressed: no `done` for that."""
    device, metal = make("carousel")
    device.home()
    metal.stuck = True
    with pytest.raises(JammedError, match=r"did not leave home .* GPIO 5; .*cmd/clear"):
        device.move(order(), stop=NEVER)
    assert is_safe("carousel", metal)


class Faulty(Exception):
    """As lgpio's own, which is a plain Exception."""


def test_a_gate_whose_pin_fails_leaves_no_other_open(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gate b is open while the pin of gate a fails: b closes all the same, and so does `close`."""
    device, metal = make("gates", home_switch=-1)
    device.home()

    def fail() -> None:
        raise Faulty("bad GPIO write")

    gates = device._gates  # type: ignore[attr-defined]
    gates["b"].on()
    monkeypatch.setattr(gates["a"], "off", fail)
    with pytest.raises(Faulty):
        device.home()
    assert metal.levels[27] == 0.0
    device.close()
    assert metal.factory.pin(27).function == "input"


def test_pace_rests_and_counts() -> None:
    """A rest after each movement, and no more than so many starts in a minute."""
    pace = Pace(cool_down_s=0.5, per_min=2)
    assert pace.ready_s == float("-inf")
    pace.moved(start_s=10.0, end_s=11.0)
    assert pace.ready_s == 11.5
    pace.moved(start_s=12.0, end_s=13.0)
    assert pace.ready_s == 70.0
