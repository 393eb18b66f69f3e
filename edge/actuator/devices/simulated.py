"""A device in simulation: takes its time, jams when told to, and keeps a record; no pins."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edge.actuator.devices.base import Device, DwellOptions, Limits, pause
from edge.actuator.gpio import Pins
from edge.actuator.values import JammedError, Order
from edge.options import option


@dataclass(frozen=True, slots=True)
class SimulatedOptions(DwellOptions):
    """simulated: no pins; for trying out, and for measuring everything but the metal."""

    routes: Mapping[str, float] = option(
        {}, "Compartment = position, any number.", entry=float, low=-1000, high=1000
    )
    travel_s: float = option(0.005, "Time from home to a route.", low=0, high=10, unit="s")
    jam_every: int = option(0, "Every so many movements it jams; 0: never.", low=0, high=1_000_000)
    record: str = option("", "File that gets a line for each movement: time, id, route.")


def faults(options: SimulatedOptions) -> Iterator[tuple[str, str]]:
    """What is wrong with the routes, as (key, sentence)."""
    if not options.routes:
        yield "routes", "is missing; write routes = { COMPARTMENT = 1 }"


def build(name: str, options: SimulatedOptions, _pins: Pins | None) -> Simulated:
    """The device; it needs no pins."""
    return Simulated(
        name=name,
        routes=options.routes,
        limits=options.limits,
        travel_s=options.travel_s,
        jam_every=options.jam_every,
        on_move=_recorder(options.record) if options.record else None,
    )


class Simulated(Device):
    """`on_move(order)` is called, in the device's thread, at the moment when it would stir."""

    def __init__(
        self,
        *,
        name: str,
        routes: Mapping[str, float],
        limits: Limits,
        travel_s: float = 0.005,
        jam_every: int = 0,
        on_move: Callable[[Order], None] | None = None,
    ) -> None:
        super().__init__(name=name, routes=routes, limits=limits)
        self._travel_s = travel_s
        self._jam_every = jam_every
        self._on_move = on_move
        self.moves = 0

    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        self.moves += 1
        if self._on_move:
            self._on_move(order)
        if self._jam_every and self.moves % self._jam_every == 0:
            raise JammedError(f"{self.name}: jammed, as it was told to; send cmd/clear")
        pause(self._travel_s, stop)

    def _return(self) -> None:
        if self._travel_s:
            time.sleep(self._travel_s)

    def _let_go(self) -> None:
        """It holds no pins."""


def _recorder(path: str) -> Callable[[Order], None]:
    """Append to a file: seconds since the epoch, id, route; what is written survives a kill."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def record(order: Order) -> None:
        os.write(fd, f"{time.time():.6f} {order.id} {order.route}\n".encode())

    return record
