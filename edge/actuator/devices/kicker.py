"""A solenoid kicker: one short push, then rest; a coil that stays on burns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from edge.actuator.devices.base import (
    CommonOptions,
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
    wiring = Wiring(
        output=pins.output(options.pin, active_high=options.active_high),
        home=switch_on(pins, options.home_switch),
        end=switch_on(pins, options.end_switch),
    )
    return Kicker(
        name=name,
        route=options.route,
        limits=options.limits,
        wiring=wiring,
        on_s=options.on_ms / 1000,
    )


class Kicker(OnOff):
    """The push ends after `on_s`, whatever the switches say."""

    def __init__(
        self, *, name: str, route: str, limits: Limits, wiring: Wiring, on_s: float
    ) -> None:
        super().__init__(name=name, route=route, limits=limits, wiring=wiring)
        self._on_s = on_s

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self._go_out("the full stroke was not made", self._on_s, stop)

    def _return(self) -> None:
        self._output.off()
        if self._home_switch:
            await_switch(self.name, "it did not come back", self._home_switch, RETURN_S, None)
        await_end_free(self.name, self._end_switch, RETURN_S)
