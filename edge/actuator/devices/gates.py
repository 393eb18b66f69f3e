"""An n-way diverter: one gate for each compartment along the way, never two open at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.actuator.devices.base import (
    LAST_PIN,
    Device,
    DwellOptions,
    Limits,
    switch_on,
    switch_option,
)
from edge.actuator.devices.onoff import (
    all_off,
    await_end_free,
    await_switch,
    await_way_out,
    close_all,
)
from edge.actuator.gpio import Output, Pins, Switch
from edge.actuator.values import Order
from edge.options import option


@dataclass(frozen=True, slots=True)
class GatesOptions(DwellOptions):
    """gates: n ways, one output for each compartment; all off is straight on, the safe way."""

    routes: Mapping[str, int] = option(
        {}, "Compartment = GPIO of its gate.", entry=int, low=0, high=LAST_PIN
    )
    end_switches: Mapping[str, int] = option(
        {}, "Compartment = GPIO of its gate's end switch.", entry=int, low=0, high=LAST_PIN
    )
    home_switch: int = switch_option("Switches in series, closed while all are home; -1: none.")
    active_high: bool = option(True, "Whether high is on.")
    travel_s: float = option(
        0.3, "Longest time from end to end; without a switch, always.", low=0, high=10, unit="s"
    )
    max_on_s: float = option(5.0, "Longest time on, ever.", low=0.01, high=60, unit="s")


def faults(options: GatesOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with routes and times, as (key, sentence)."""
    if not options.routes:
        yield "routes", "is missing; write routes = { COMPARTMENT = GPIO }"
    for route in options.end_switches:
        if route not in options.routes:
            yield f"end_switches.{route}", "has no gate in routes"
    if options.travel_s + options.dwell_s > options.max_on_s:
        yield "max_on_s", f"= {options.max_on_s:g}: must not be less than travel_s + dwell_s"


def build(name: str, options: GatesOptions, pins: Pins) -> Gates:
    """The device, all outputs off; raises ActuatorError."""
    high = options.active_high
    gates = {route: pins.output(pin, active_high=high) for route, pin in options.routes.items()}
    ends = {route: pins.switch(pin) for route, pin in options.end_switches.items()}
    return Gates(
        name=name,
        limits=options.limits,
        gates=gates,
        end_switches=ends,
        home_switch=switch_on(pins, options.home_switch),
        travel_s=options.travel_s,
    )


class Gates(Device):
    """Before one opens, all are off: two open gates would make one item's way another's."""

    def __init__(
        self,
        *,
        name: str,
        limits: Limits,
        gates: Mapping[str, Output],
        travel_s: float,
        end_switches: Mapping[str, Switch] | None = None,
        home_switch: Switch | None = None,
    ) -> None:
        super().__init__(name=name, routes=dict.fromkeys(gates, 1.0), limits=limits)
        self._gates = dict(gates)
        self._ends = dict(end_switches or {})
        self._home_switch = home_switch
        self._travel_s = travel_s

    def _let_go(self) -> None:
        close_all([*self._gates.values(), *self._ends.values(), self._home_switch])

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self._all_off()
        self._gates[order.route].on()
        await_way_out(
            self.name,
            f"{order.route} did not open",
            end=self._ends.get(order.route),
            home=self._home_switch,
            travel_s=self._travel_s,
            stop=stop,
        )

    def _return(self) -> None:
        self._all_off()
        await_switch(self.name, "home was not reached", self._home_switch, self._travel_s, None)
        for end in self._ends.values():
            await_end_free(self.name, end, self._travel_s)

    def _all_off(self) -> None:
        all_off(self._gates.values())
