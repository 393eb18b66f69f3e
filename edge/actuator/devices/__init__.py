"""The kinds of device: one file each, with its options, their faults, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edge.actuator.devices import carousel, diverter, gates, kicker, relay, servo, simulated
from edge.actuator.devices.base import NO_PIN, CommonOptions, Device, Limits
from edge.actuator.gpio import Pins

__all__ = ["KINDS", "NO_PIN", "CommonOptions", "Device", "Kind", "Limits"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the configuration and the command line know of a kind of device."""

    options: type[CommonOptions]
    faults: Callable[[Any], Iterator[tuple[str, str]]]
    build: Callable[[str, Any, Any], Device]


KINDS: dict[str, Kind] = {
    "servo": Kind(servo.ServoOptions, servo.faults, servo.build),
    "diverter": Kind(diverter.DiverterOptions, diverter.faults, diverter.build),
    "gates": Kind(gates.GatesOptions, gates.faults, gates.build),
    "carousel": Kind(carousel.CarouselOptions, carousel.faults, carousel.build),
    "kicker": Kind(kicker.KickerOptions, kicker.faults, kicker.build),
    "relay": Kind(relay.RelayOptions, relay.faults, relay.build),
    "simulated": Kind(simulated.SimulatedOptions, simulated.faults, simulated.build),
}


def build_device(name: str, options: CommonOptions, pins: Pins | None) -> Device:
    """A device from its options; raises ActuatorError where a pin cannot be had."""
    return KINDS[options.kind].build(name, options, pins)
