"""When an item meets its diverter: pure, positions from the belt's clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.belt.clock import BeltClock
from edge.values import Appointment, Item


@dataclass(frozen=True, slots=True)
class Diverters:
    """Where they are, and how they move."""

    at_mm: Mapping[str, float]  # route: from the trigger to the middle of its diverter
    delay_s: float  # from an order to the full movement
    notice_s: float  # how long before it the actuator must have the order
    tolerance_mm: float  # how far the middle of an item may be off at the movement


class BeltTimetable:
    """Appointments of items with diverters."""

    def __init__(
        self,
        *,
        clock: BeltClock,
        diverters: Diverters,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._diverters = diverters
        self._now = now

    def appointment(self, item: Item, route: str) -> Appointment | None:
        """None where no diverter serves the route: the item runs off the end of the belt."""
        distance_mm = self._diverters.at_mm.get(route)
        if distance_mm is None or item.place_mm is None:
            return None
        meets_mm = item.place_mm + distance_mm
        now_s = self._now()
        meets_s = self._clock.time_at(meets_mm, now_s=now_s)
        tolerance_mm = self._diverters.tolerance_mm
        until_s = self._clock.time_at(meets_mm + tolerance_mm, now_s=now_s)
        act_s = meets_s - self._diverters.delay_s
        return Appointment(act_s, until_s - self._diverters.delay_s, self._pulse(act_s, meets_mm))

    def missed(self, appointment: Appointment, now_s: float) -> str:
        """Late where the order would not reach the actuator in time; so is one never to come."""
        if not (math.isfinite(appointment.act_s) and math.isfinite(appointment.until_s)):
            return "the belt stands: when the item meets its diverter cannot be said"
        left_ms = (appointment.act_s - now_s) * 1000
        notice_ms = self._diverters.notice_s * 1000
        if left_ms >= notice_ms:
            return ""
        return f"decided {left_ms:.0f} ms before its diverter must act, {notice_ms:g} ms are needed"

    def _pulse(self, act_s: float, meets_mm: float) -> int | None:
        """The count at `act_s`, where the belt will be by its present speed."""
        if not math.isfinite(act_s) or not self._diverters.delay_s:
            return self._clock.pulse_at(meets_mm)
        now_s = self._now()
        ahead_s = self._clock.time_at(meets_mm, now_s=now_s) - now_s
        here_mm = self._clock.position_mm(now_s)
        if ahead_s <= 0:
            return self._clock.pulse_at(meets_mm)
        speed_mm_s = (meets_mm - here_mm) / ahead_s
        return self._clock.pulse_at(meets_mm - speed_mm_s * self._diverters.delay_s)
