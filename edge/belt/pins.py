"""The belt's sensors on GPIO: a light gate and an encoder, each edge with the kernel's stamp."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from edge.belt.clock import Quadrature
from edge.errors import SmartbinError

NO_PIN = -1
MAX_STAMP_AGE_S = 2.0  # a stamp further from now than this is of another clock
STAMP_SLACK_S = 0.002  # reading two clocks is not one act

OnGate = Callable[[float, bool], None]  # (monotonic s, the beam is broken)
OnPulse = Callable[[float, int], None]  # (monotonic s, +1 or -1)


class SensorError(SmartbinError):
    """A sensor's pin that cannot be had."""


class Sensors(Protocol):
    """What tells of the belt; calls come from a thread of the sensors' own."""

    def start(self, *, on_gate: OnGate, on_pulse: OnPulse) -> None:
        """Begin to tell; raises SensorError."""

    def close(self) -> None:
        """Tell no more; may be called again."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """BCM numbers of the pins; NO_PIN where nothing is wired."""

    gate: int = NO_PIN
    broken_is_high: bool = True  # an NPN sensor with a pull-up: dark is high
    encoder_a: int = NO_PIN
    encoder_b: int = NO_PIN  # without it, every pulse counts as forward


class PinSensors:
    """Light gate and encoder on the pins of gpiozero's factory (lgpio on a Pi).

    No debounce is asked of the kernel: it would drop a short pulse and delay every stamp.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        factory: Any,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wiring = wiring
        self._factory = factory
        self._clock = clock
        self._wall = wall
        self._quadrature = Quadrature()
        self._pins: list[Any] = []

    def start(self, *, on_gate: OnGate, on_pulse: OnPulse) -> None:
        """Claim the pins, with pull-ups, and tell of every edge."""
        self._on_gate, self._on_pulse = on_gate, on_pulse
        wiring = self._wiring
        try:
            self._listen("belt.gate_pin", wiring.gate, self._gate_changed)
            self._listen("belt.encoder_a", wiring.encoder_a, self._a_changed)
            self._listen("belt.encoder_b", wiring.encoder_b, self._b_changed)
            if wiring.encoder_b != NO_PIN:
                levels = [int(bool(pin.state)) for pin in self._pins[-2:]]
                self._quadrature.begin(levels[0], levels[1])
        except SensorError:
            self.close()
            raise

    def close(self) -> None:
        """Give the pins back."""
        while self._pins:
            self._pins.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _listen(self, option: str, number: int, handler: Callable[[float, int], None]) -> None:
        if number == NO_PIN:
            return
        try:
            pin = self._factory.pin(f"GPIO{number}")
            self._pins.append(pin)
            pin.function = "input"
            pin.pull = "up"
            pin.bounce = None
            pin.edges = "both"
            pin.when_changed = handler  # the library holds bound methods weakly: `self` keeps them
        except Exception as error:  # lgpio raises its own kind, which is a plain Exception
            raise SensorError(
                f"{option} = {number}: the pin cannot be read ({error}); another program may hold "
                "it: gpioinfo says which"
            ) from error

    def _gate_changed(self, ticks: float, level: int) -> None:
        self._on_gate(self._stamp(ticks), bool(level) == self._wiring.broken_is_high)

    def _a_changed(self, ticks: float, level: int) -> None:
        if self._wiring.encoder_b == NO_PIN:
            if level:
                self._on_pulse(self._stamp(ticks), 1)
            return
        self._turn(ticks, "a", level)

    def _b_changed(self, ticks: float, level: int) -> None:
        self._turn(ticks, "b", level)

    def _turn(self, ticks: float, channel: str, level: int) -> None:
        step = self._quadrature.change(channel, int(bool(level)))
        if step:
            self._on_pulse(self._stamp(ticks), step)

    def _stamp(self, ticks: float) -> float:
        """Bring the kernel's stamp onto our clock; without a believable one, say now.

        Linux stamps edges by the monotonic clock since 5.7, by the wall clock before, and what
        lies between may turn one into the other: the right reading lies just before now.
        """
        now_s = self._clock()
        for ahead_s in (0.0, self._wall() - now_s):
            age_s = now_s - (ticks - ahead_s)
            if -STAMP_SLACK_S <= age_s < MAX_STAMP_AGE_S:
                return now_s - max(0.0, age_s)
        return now_s
