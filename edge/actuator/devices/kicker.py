"""A solenoid kicker: one short push, then rest; a coil that stays on burns."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from edge.actuator.devices.base import (
    NO_PIN,
    CommonOptions,
    Device,
    Limits,
    jammed,
    pause,
    pin_option,
    switch_option,
    until,
)
from edge.actuator.devices.onoff import await_switch, close_all, route_fault
from edge.actuator.gpio import Output, Pins, Switch
from edge.actuator.values import Order
from edge.options import option

RETURN_S = 0.25  # for the spring, where a switch tells that it came back


@dataclass(frozen=True, slots=True)
class KickerOptions(CommonOptions):
    """kicker: a solenoid that pushes an item off the belt; off is home."""

    pin: int = pin_option("Coil, through a driver with a diode.")
    route: str = option("", "Compartment that it kicks into.")
    active_high: bool = option(True, "Whether high is on.")
    on_ms: float = option(60.0, "Length of the push.", low=5, high=500, unit="ms")
    duty: float = option(0.25, "Most of the time that the coil may be on.", low=0.01, high=1)
    end_switch: int = switch_option("Switch that is pressed by the full stroke; -1: none.")
    home_switch: int = switch_option("Switch that is pressed at rest; -1: none.")

    @property
    def limits(self) -> Limits:
        """The rest after a push is never less than the coil needs."""
        rest_s = self.on_ms / 1000 * (1 / self.duty - 1)
        return Limits(0.0, max(rest_s, self.cool_down_s), self.per_min, self.tolerance_ms / 1000)


def faults(options: KickerOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with the route, as (key, sentence)."""
    problem = route_fault(options.route)
    if problem:
        yield "route", problem


def build(name: str, options: KickerOptions, pins: Pins) -> Kicker:
    """The device, its coil off; raises ActuatorError."""
    output = pins.output(options.pin, active_high=options.active_high)
    home, end = (
        None if pin == NO_PIN else pins.switch(pin)
        for pin in (options.home_switch, options.end_switch)
    )
    return Kicker(
        name=name,
        route=options.route,
        limits=options.limits,
        output=output,
        on_s=options.on_ms / 1000,
        home_switch=home,
        end_switch=end,
    )


class Kicker(Device):
    """The push ends after `on_s`, whatever the switches say."""

    def __init__(
        self,
        *,
        name: str,
        route: str,
        limits: Limits,
        output: Output,
        on_s: float,
        home_switch: Switch | None = None,
        end_switch: Switch | None = None,
    ) -> None:
        super().__init__(name=name, routes={route: 1.0}, limits=limits)
        self._output = output
        self._on_s = on_s
        self._home_switch = home_switch
        self._end_switch = end_switch
        self._closed = False

    def close(self) -> None:
        if self._closed:
            return
        with contextlib.suppress(Exception):  # lgpio.error is a plain one
            self.home()
        self._closed = True
        close_all((self._output, self._home_switch, self._end_switch))

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self._output.on()
        end = self._end_switch
        if end is None:
            pause(self._on_s, stop)
        elif not until(lambda: end.pressed, self._on_s, stop):
            raise jammed(self.name, "the full stroke was not made", end.pin, self._on_s)

    def _return(self) -> None:
        self._output.off()
        if self._home_switch:
            await_switch(self.name, "it did not come back", self._home_switch, RETURN_S, None)
