"""A two-way diverter: a valve or coil pushes it over, a spring or the valve brings it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from edge.actuator.devices.base import (
    DwellOptions,
    Limits,
    pin_option,
    switch_on,
    switch_option,
)
from edge.actuator.devices.onoff import (
    OnOff,
    Wiring,
    await_end_free,
    await_switch,
    route_fault,
)
from edge.actuator.gpio import Pins
from edge.actuator.values import Order
from edge.options import option


@dataclass(frozen=True, slots=True)
class DiverterOptions(DwellOptions):
    """diverter: two ways, one output; off is straight on, which is the safe way."""

    pin: int = pin_option("Valve or coil, through a driver.")
    route: str = option("", "Compartment of the way that is not straight on.")
    active_high: bool = option(True, "Whether high is on.")
    travel_s: float = option(
        0.3, "Longest time from end to end; without a switch, always.", low=0, high=10, unit="s"
    )
    max_on_s: float = option(5.0, "Longest time on, ever.", low=0.01, high=60, unit="s")
    home_switch: int = switch_option("Switch that is pressed at home; -1: none.")
    end_switch: int = switch_option("Switch that is pressed at the other end; -1: none.")


def faults(options: DiverterOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with route and times, as (key, sentence)."""
    problem = route_fault(options.route)
    if problem:
        yield "route", problem
    if options.travel_s + options.dwell_s > options.max_on_s:
        yield "max_on_s", f"= {options.max_on_s:g}: must not be less than travel_s + dwell_s"


def build(name: str, options: DiverterOptions, pins: Pins) -> Diverter:
    """The device, its output off; raises ActuatorError."""
    wiring = Wiring(
        output=pins.output(options.pin, active_high=options.active_high),
        home=switch_on(pins, options.home_switch),
        end=switch_on(pins, options.end_switch),
    )
    return Diverter(
        name=name,
        route=options.route,
        limits=options.limits,
        wiring=wiring,
        travel_s=options.travel_s,
    )


class Diverter(OnOff):
    """Off is home; the time on is bounded by travel and dwell, which the config holds in bounds."""

    def __init__(
        self, *, name: str, route: str, limits: Limits, wiring: Wiring, travel_s: float
    ) -> None:
        super().__init__(name=name, route=route, limits=limits, wiring=wiring)
        self._travel_s = travel_s

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self._go_out("the end was not reached", self._travel_s, stop)

    def _return(self) -> None:
        self._output.off()
        await_switch(self.name, "home was not reached", self._home_switch, self._travel_s, None)
        await_end_free(self.name, self._end_switch, self._travel_s)
