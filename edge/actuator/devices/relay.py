"""A relay: on for a set time, for a lid, a motor door or an older machine's own input."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from edge.actuator.devices.base import (
    DwellOptions,
    jammed,
    pause,
    pin_option,
    switch_on,
    switch_option,
    until,
)
from edge.actuator.devices.onoff import OnOff, Wiring, route_fault
from edge.actuator.gpio import Pins
from edge.actuator.values import Order
from edge.options import option

CONTACT_S = 0.1  # a relay closes within some 15 ms, a contactor within 50


@dataclass(frozen=True, slots=True)
class RelayOptions(DwellOptions):
    """relay: on for dwell_s, then off, which is home."""

    pin: int = pin_option("Relay board's input.")
    route: str = option("", "Compartment that it opens.")
    active_high: bool = option(False, "Whether high is on; most relay boards are on at low.")
    max_on_s: float = option(10.0, "Longest time on, ever.", low=0.01, high=60, unit="s")
    feedback: int = switch_option("A second contact, closed while it is on; -1: none.")


def faults(options: RelayOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with route and times, as (key, sentence)."""
    problem = route_fault(options.route)
    if problem:
        yield "route", problem
    if options.dwell_s > options.max_on_s:
        yield "max_on_s", f"= {options.max_on_s:g}: must not be less than dwell_s"


def build(name: str, options: RelayOptions, pins: Pins) -> Relay:
    """The device, off; raises ActuatorError."""
    wiring = Wiring(
        output=pins.output(options.pin, active_high=options.active_high),
        end=switch_on(pins, options.feedback),
    )
    return Relay(
        name=name,
        route=options.route,
        limits=options.limits,
        wiring=wiring,
    )


class Relay(OnOff):
    """With feedback, its end switch, a contact that welded or never closed is a jam."""

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self._output.on()
        feedback = self._end_switch
        if feedback and not until(lambda: feedback.pressed, CONTACT_S, stop):
            raise jammed(self.name, "its contact did not close", feedback.pin, CONTACT_S)
        pause(0.0, stop)

    def _return(self) -> None:
        self._output.off()
        feedback = self._end_switch
        if feedback and not until(lambda: not feedback.pressed, CONTACT_S):
            raise jammed(self.name, "its contact did not open", feedback.pin, CONTACT_S)
