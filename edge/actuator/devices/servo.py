"""A flap on a hobby servo: one angle for each compartment."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.actuator.devices.base import (
    Device,
    DwellOptions,
    Limits,
    jammed,
    pause,
    pin_option,
    switch_on,
    switch_option,
    until,
)
from edge.actuator.gpio import Pins, Servo, Switch
from edge.actuator.values import Order
from edge.options import option

SETTLE_S = 0.04  # two pulses: a servo hears of a new angle up to one frame of 20 ms later
SWITCH_S = 0.3  # beyond the travel, for the home switch to close


@dataclass(frozen=True, slots=True)
class ServoOptions(DwellOptions):
    """servo: a flap on a hobby servo, signal on `pin`; home again after each item."""

    pin: int = pin_option("Signal.")
    routes: Mapping[str, float] = option(
        {}, "Compartment = angle.", entry=float, low=-180, high=180, unit="deg"
    )
    home_deg: float = option(0.0, "The safe position.", low=-180, high=180, unit="deg")
    min_deg: float = option(-90.0, "Least angle, ever.", low=-180, high=180, unit="deg")
    max_deg: float = option(90.0, "Greatest angle, ever.", low=-180, high=180, unit="deg")
    min_pulse_ms: float = option(1.0, "Pulse at min_deg.", low=0.4, high=2.4, unit="ms")
    max_pulse_ms: float = option(2.0, "Pulse at max_deg.", low=0.5, high=2.6, unit="ms")
    deg_per_s: float = option(
        200.0, "What it surely turns, loaded; gives the time of travel.", low=5, high=2000
    )
    hold: bool = option(False, "Keep the pulses on while home: holds, hums and warms.")
    home_switch: int = switch_option("Switch that is pressed at home; -1: none.")


def faults(options: ServoOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with angles and pulses, as (key, sentence)."""
    low, high = options.min_deg, options.max_deg
    if low >= high:
        yield "min_deg", "must be less than max_deg"
    if options.min_pulse_ms >= options.max_pulse_ms:
        yield "min_pulse_ms", "must be less than max_pulse_ms"
    if not options.routes:
        yield "routes", "is missing; write routes = { COMPARTMENT = ANGLE }"
    angles = {"home_deg": options.home_deg}
    angles |= {f"routes.{route}": angle for route, angle in options.routes.items()}
    for key, angle in angles.items():
        if not low <= angle <= high:
            yield key, f"= {angle:g}: must lie within min_deg..max_deg, {low:g}..{high:g} deg"


def build(name: str, options: ServoOptions, pins: Pins) -> ServoFlap:
    """The device, at home; raises ActuatorError, JammedError."""
    servo = pins.servo(
        options.pin,
        span_deg=(options.min_deg, options.max_deg),
        pulse_s=(options.min_pulse_ms / 1000, options.max_pulse_ms / 1000),
    )
    return ServoFlap(
        name=name,
        routes=options.routes,
        limits=options.limits,
        servo=servo,
        home_deg=options.home_deg,
        widest_deg=options.max_deg - options.min_deg,
        deg_per_s=options.deg_per_s,
        hold=options.hold,
        home_switch=switch_on(pins, options.home_switch),
    )


class ServoFlap(Device):
    """Knows where it is by time; with a home switch it also knows that it left and came back."""

    def __init__(
        self,
        *,
        name: str,
        routes: Mapping[str, float],
        limits: Limits,
        servo: Servo,
        home_deg: float,
        widest_deg: float,
        deg_per_s: float,
        hold: bool = False,
        home_switch: Switch | None = None,
    ) -> None:
        super().__init__(name=name, routes=routes, limits=limits)
        self._servo = servo
        self._home_deg = home_deg
        self._widest_deg = widest_deg
        self._deg_per_s = deg_per_s
        self._hold = hold
        self._switch = home_switch
        self._angle: float | None = None  # unknown until it was home once

    def _let_go(self) -> None:
        with contextlib.suppress(Exception):
            self._servo.angle = None
        with contextlib.suppress(Exception):
            self._servo.close()
        if self._switch:
            self._switch.close()

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        pause(self._turn_to(where), stop)
        switch = self._switch
        if switch and where != self._home_deg and not until(lambda: not switch.pressed, SWITCH_S):
            raise jammed(self.name, "did not leave home", switch.pin, SWITCH_S)

    def _return(self) -> None:
        pause(self._turn_to(self._home_deg), threading.Event())
        switch = self._switch
        there = switch is None or until(lambda: switch.pressed, SWITCH_S)
        if not self._hold:
            self._servo.angle = None
        if switch and not there:
            raise jammed(self.name, "home was not reached", switch.pin, SWITCH_S)

    def _turn_to(self, angle: float) -> float:
        """Send it there; the seconds that it surely takes."""
        way_deg = self._widest_deg if self._angle is None else abs(angle - self._angle)
        self._angle = angle
        self._servo.angle = angle
        return way_deg / self._deg_per_s + SETTLE_S
