"""What every device is: home until asked, out to a route, home again, whatever happens.

A device is used by one thread. Its constructor puts every pin into its safe state before anything
else; `home` brings it there and raises JammedError where an end switch says that it is not there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge.actuator.gpio import Pins, Switch
from edge.actuator.values import BrokenOffError, JammedError, Order
from edge.options import option

HOME = "home"
NO_PIN = -1
LAST_PIN = 27  # GPIO 0 to 27 are on a Raspberry Pi's header
POLL_S = 0.001  # of an end switch; a flap at 300 degrees a second turns 0.3 of one in it


@dataclass(frozen=True, slots=True)
class Limits:
    """What no order can exceed."""

    dwell_s: float = 0.5
    cool_down_s: float = 0.2
    per_min: int = 60
    tolerance_s: float = 0.02


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What every device has."""

    kind: str = option("", "What it is.")
    cool_down_s: float = option(0.2, "Rest after a movement.", low=0, high=60, unit="s")
    per_min: int = option(60, "Most movements a minute.", low=1, high=6000)
    tolerance_ms: float = option(
        20.0, "How late a movement with fire_at may start.", low=1, high=1000, unit="ms"
    )

    @property
    def limits(self) -> Limits:
        """The options as the device takes them."""
        return Limits(0.0, self.cool_down_s, self.per_min, self.tolerance_ms / 1000)


@dataclass(frozen=True, slots=True)
class DwellOptions(CommonOptions):
    """What every device has that rests in the position of a route."""

    dwell_s: float = option(
        0.5, "Rest in the position of a route: the item falls.", low=0, high=30, unit="s"
    )

    @property
    def limits(self) -> Limits:
        """The options as the device takes them."""
        return Limits(self.dwell_s, self.cool_down_s, self.per_min, self.tolerance_ms / 1000)


def pin_option(doc: str) -> int:
    """A pin that must be given."""
    return option(NO_PIN, doc, low=0, high=LAST_PIN)  # type: ignore[no-any-return]


def switch_option(doc: str) -> int:
    """A pin that may be left out."""
    return option(NO_PIN, doc, low=NO_PIN, high=LAST_PIN)  # type: ignore[no-any-return]


def switch_on(pins: Pins, pin: int) -> Switch | None:
    """The switch on a pin that may have been left out."""
    return None if pin == NO_PIN else pins.switch(pin)


class Device(ABC):
    """Use it with `with`; `close` is idempotent and leaves the device home and without current."""

    def __init__(self, *, name: str, routes: Mapping[str, float], limits: Limits) -> None:
        """`routes` says where each compartment lies, in the device's own terms."""
        self.name = name
        self.routes = dict(routes)
        self.limits = limits
        self.position = HOME
        self._closed = False

    def move(self, order: Order, *, stop: threading.Event) -> None:
        """Go to a route, dwell, and come home.

        Raises JammedError where it did not get there or back, BrokenOffError where `stop` was set;
        in both cases it went home as well as it could. Raises KeyError for a route not its own.
        """
        where = self.routes[order.route]
        try:
            if stop.is_set():
                raise BrokenOffError(f"{self.name}: told to stay home")
            self.position = order.route
            self._reach(order, where, stop)
            pause(self.limits.dwell_s, stop)
        finally:
            self.home()

    def home(self) -> None:
        """Go to the safe state and stay; raises JammedError where a switch says otherwise."""
        self.position = "unknown"
        self._return()
        self.position = HOME

    def close(self) -> None:
        """Go home without raising, take the current away and let go of the pins; idempotent."""
        if self._closed:
            return
        with contextlib.suppress(Exception):  # lgpio.error is a plain one
            self.home()
        self._closed = True
        self._let_go()

    @abstractmethod
    def _reach(self, order: Order, where: float, stop: threading.Event) -> None:
        """Go out to `where`; raises JammedError, BrokenOffError."""

    @abstractmethod
    def _return(self) -> None:
        """Go home, in bounded time, not to be broken off; raises JammedError."""

    @abstractmethod
    def _let_go(self) -> None:
        """Take the current away and let go of the pins; never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def pause(seconds: float, stop: threading.Event) -> None:
    """Wait; raises BrokenOffError as soon as `stop` is set."""
    if stop.wait(seconds):
        raise BrokenOffError("broken off on its way; it went home")


def until(there: Callable[[], bool], timeout_s: float, stop: threading.Event | None = None) -> bool:
    """Whether something came true in time; raises BrokenOffError where `stop` was set."""
    until_s = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > until_s:
            return False
        if stop is None:
            time.sleep(POLL_S)
        else:
            pause(POLL_S, stop)
    return True


def jammed(name: str, what: str, pin: int, timeout_s: float) -> JammedError:
    """The sentence of a switch that did not answer."""
    return JammedError(
        f"{name}: {what} within {timeout_s:g} s by the switch on GPIO {pin}; "
        "free it, check switch and wire, then send cmd/clear"
    )
