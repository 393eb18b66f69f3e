"""A carousel of compartments on a stepper motor with a step and direction driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.actuator.devices.base import (
    NO_PIN,
    Device,
    DwellOptions,
    Limits,
    pin_option,
    switch_option,
)
from edge.actuator.devices.onoff import close_all
from edge.actuator.gpio import Output, Pins, Switch
from edge.actuator.values import BrokenOffError, JammedError, Order
from edge.options import option

PULSE_S = 5e-6  # of a step; the A4988 asks for 1 us, the DRV8825 for 1.9
START_STEPS_PER_S = 100.0  # from rest without a ramp
SEEK_SHARE = 0.5  # of the speed, while it looks for home
SEEK_TURNS = 1.25  # then home is not to be found


@dataclass(frozen=True, slots=True)
class CarouselOptions(DwellOptions):
    """carousel: compartments on a stepper motor; slot 0, at the home switch, is the safe one."""

    step_pin: int = pin_option("STEP of the driver.")
    dir_pin: int = pin_option("DIR of the driver.")
    enable_pin: int = switch_option("EN of the driver, on at low; -1: wired to ground.")
    home_switch: int = pin_option("Switch that is pressed while slot 0 is under the chute.")
    slots: int = option(4, "Compartments on it.", low=2, high=24)
    routes: Mapping[str, int] = option({}, "Compartment = slot, from 1.", entry=int, low=0, high=23)
    steps_per_turn: int = option(
        1600, "Of the carousel, microsteps and gears included.", low=20, high=200_000
    )
    steps_per_s: float = option(800.0, "Greatest speed.", low=20, high=20_000, unit="1/s")
    ramp_s: float = option(0.2, "From rest to that speed.", low=0, high=5, unit="s")


def faults(options: CarouselOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with the slots, as (key, sentence)."""
    if not options.routes:
        yield "routes", "is missing; write routes = { COMPARTMENT = SLOT }"
    for route, slot in options.routes.items():
        if not 0 <= slot < options.slots:
            yield f"routes.{route}", f"= {slot}: must be 0..{options.slots - 1}, by slots"
    if options.steps_per_turn % options.slots:
        yield "steps_per_turn", f"must be a multiple of slots, {options.slots}"


def build(name: str, options: CarouselOptions, pins: Pins) -> Carousel:
    """The device, motor off; `home` seeks the switch. Raises ActuatorError."""
    enable = None
    if options.enable_pin != NO_PIN:
        enable = pins.output(options.enable_pin, active_high=False)
    return Carousel(
        name=name,
        routes=options.routes,
        limits=options.limits,
        step=pins.output(options.step_pin, active_high=True),
        direction=pins.output(options.dir_pin, active_high=True),
        enable=enable,
        home_switch=pins.switch(options.home_switch),
        slots=options.slots,
        steps_per_turn=options.steps_per_turn,
        steps_per_s=options.steps_per_s,
        ramp_s=options.ramp_s,
    )


class Carousel(Device):
    """Counts its steps, and checks them against the home switch each time it comes home."""

    def __init__(
        self,
        *,
        name: str,
        routes: Mapping[str, float],
        limits: Limits,
        step: Output,
        direction: Output,
        enable: Output | None,
        home_switch: Switch,
        slots: int,
        steps_per_turn: int,
        steps_per_s: float,
        ramp_s: float,
    ) -> None:
        super().__init__(name=name, routes=routes, limits=limits)
        self._step = step
        self._direction = direction
        self._enable = enable
        self._switch = home_switch
        self._turn = steps_per_turn
        self._slot = steps_per_turn // slots  # steps from one slot to the next
        self._speed = steps_per_s
        self._ramp_s = ramp_s
        self._at: int | None = None  # steps from home, forward; None until it was found

    def _let_go(self) -> None:
        close_all((self._step, self._direction, self._enable, self._switch))

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        assert self._at is not None  # home() was called before any movement
        self._power(True)
        self._go(_shortest(round(where) * self._slot - self._at, self._turn), stop)
        if self._at and self._switch.pressed:  # it did not turn, or the switch tells nothing
            raise JammedError(
                f"{self.name}: did not leave home by the switch on GPIO {self._switch.pin}; "
                "free it, check motor and switch, then send cmd/clear"
            )

    def _return(self) -> None:
        self._power(True)
        try:
            if self._at is not None:
                self._go(_shortest(-self._at, self._turn), None)
            if not self._switch.pressed:
                self._seek()
            self._at = 0
        finally:
            self._power(False)

    def _seek(self) -> None:
        """Turn until the switch is pressed; raises JammedError after a turn and a quarter."""
        slow = max(START_STEPS_PER_S, self._speed * SEEK_SHARE)
        self._direction.on()
        for _ in range(round(self._turn * SEEK_TURNS)):
            if self._switch.pressed:
                return
            self._one_step(1 / slow)
        self._at = None
        raise JammedError(
            f"{self.name}: home was not found in {SEEK_TURNS:g} turns by the switch on GPIO "
            f"{self._switch.pin}; free it, check switch and motor, then send cmd/clear"
        )

    def _go(self, steps: int, stop: threading.Event | None) -> None:
        """So many steps, forward where more than 0, with a ramp at both ends."""
        (self._direction.on if steps > 0 else self._direction.off)()
        sign = 1 if steps > 0 else -1
        for index in range(abs(steps)):
            if stop is not None and stop.is_set():
                raise BrokenOffError(f"{self.name}: broken off on its way; it went home")
            self._one_step(1 / self._speed_at(min(index, abs(steps) - 1 - index)))
            assert self._at is not None
            self._at = (self._at + sign) % self._turn

    def _speed_at(self, from_rest: int) -> float:
        """Steps a second, so many steps from rest, at a constant acceleration."""
        if self._ramp_s == 0:
            return self._speed
        start = min(START_STEPS_PER_S, self._speed)
        gain = (self._speed - start) / self._ramp_s
        return float(min(self._speed, (start**2 + 2 * gain * from_rest) ** 0.5))

    def _one_step(self, period_s: float) -> None:
        self._step.on()
        time.sleep(PULSE_S)
        self._step.off()
        time.sleep(period_s)

    def _power(self, on: bool) -> None:
        if self._enable:
            (self._enable.on if on else self._enable.off)()


def _shortest(steps: int, turn: int) -> int:
    """The same place by the shorter way round."""
    return (steps + turn // 2) % turn - turn // 2
