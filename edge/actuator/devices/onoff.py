"""What the devices share that are driven by one switched output: valve, coil, relay."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from edge.actuator.devices.base import Device, Limits, jammed, pause, until
from edge.actuator.gpio import Output, Switch
from edge.options import name_fault


@dataclass(frozen=True, slots=True)
class Wiring:
    """One output and its switches."""

    output: Output
    home: Switch | None = None  # pressed at home
    end: Switch | None = None  # pressed where it is sent


class OnOff(Device):
    """One output, one compartment; off is home."""

    def __init__(self, *, name: str, route: str, limits: Limits, wiring: Wiring) -> None:
        super().__init__(name=name, routes={route: 1.0}, limits=limits)
        self._output = wiring.output
        self._home_switch = wiring.home
        self._end_switch = wiring.end

    def _go_out(self, missed: str, travel_s: float, stop: threading.Event) -> None:
        """On, and wait as `await_way_out`, which raises; `missed` is what the end did not tell."""
        self._output.on()
        await_way_out(
            self.name,
            missed,
            end=self._end_switch,
            home=self._home_switch,
            travel_s=travel_s,
            stop=stop,
        )

    def _let_go(self) -> None:
        close_all((self._output, self._home_switch, self._end_switch))


def route_fault(text: str) -> str | None:
    """Refuse a compartment that is missing or cannot be one."""
    return name_fault(text) if text else 'is missing; write route = "COMPARTMENT"'


def await_switch(
    name: str, what: str, switch: Switch | None, travel_s: float, stop: threading.Event | None
) -> None:
    """Wait for an end switch, at most for the time of travel, or for all of it without one.

    Raises JammedError where the switch did not answer, BrokenOffError where `stop` was set.
    """
    if switch is None:
        pause(travel_s, stop or threading.Event())
    elif not until(lambda: switch.pressed, travel_s, stop):
        raise jammed(name, what, switch.pin, travel_s)


def await_way_out(
    name: str,
    what: str,
    *,
    end: Switch | None,
    home: Switch | None,
    travel_s: float,
    stop: threading.Event,
) -> None:
    """Wait until it is at the end and off the home switch, in all at most the time of travel.

    Raises JammedError where a switch did not say so, BrokenOffError where `stop` was set.
    """
    latest_s = time.monotonic() + travel_s
    await_switch(name, what, end, travel_s, stop)
    left_s = max(0.0, latest_s - time.monotonic())
    if home and not until(lambda: not home.pressed, left_s, stop):
        raise jammed(name, "did not leave home", home.pin, travel_s)


def await_end_free(name: str, end: Switch | None, travel_s: float) -> None:
    """At home the end switch is free; one that is stuck or shorted would call any order done."""
    if end and not until(lambda: not end.pressed, travel_s):
        raise jammed(name, "did not leave its end", end.pin, travel_s)


def all_off(outputs: Iterable[Output]) -> None:
    """Every output off; one that fails does not keep the others on. Raises the last failure."""
    failure: Exception | None = None
    for output in outputs:
        try:
            output.off()
        except Exception as error:  # lgpio.error is a plain one
            failure = error
    if failure:
        raise failure


def close_all(parts: Iterable[Output | Switch | None]) -> None:
    """Outputs off, all pins let go; one that fails does not keep the others."""
    for part in parts:
        if part is None:
            continue
        off = getattr(part, "off", None)
        for act in (off, part.close) if off else (part.close,):
            with contextlib.suppress(Exception):  # lgpio.error is a plain one
                act()
