"""Where the belt is: at a fixed speed, or counted by an encoder.

Positions are millimetres on a scale that runs with the belt: what passes the trigger at the time
t has the position `position_mm(t)` for ever, and meets a diverter d millimetres further when the
belt's own position has grown by d.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections import deque
from typing import Protocol

SPEED_WINDOW_S = 0.25  # the speed is a mean over so long: 50 pulses at 1 m/s and 5 mm a pulse
LEAST_PULSES = 4  # of a window that a speed is read from
KEPT_PULSES = 8_192  # of history: 8 s at 1 kHz, longer than an item stays between gate and diverter
STALL_FACTOR = 8.0  # so many usual intervals without a pulse, and
STALL_S = 0.1  # so long: the belt stands; pulses come in batches where the host is busy
TRANSIT_S = 0.02  # a pulse may be on its way to us so long


class BeltClock(Protocol):
    """The belt's position against the monotonic clock."""

    def position_mm(self, at_s: float) -> float:
        """Where the belt was at a past time, or is by its speed shortly after now."""

    def time_at(self, position_mm: float, *, now_s: float) -> float:
        """When the belt was, or will be, there; infinite while it stands."""

    def pulse_at(self, position_mm: float) -> int | None:
        """The encoder's count there; None without an encoder."""

    def remembers(self, at_s: float) -> bool:
        """Whether it still knows where the belt was then."""


class FixedClock:
    """A belt that always runs, at one speed."""

    def __init__(self, *, speed_mm_s: float) -> None:
        self._speed_mm_s = speed_mm_s

    def position_mm(self, at_s: float) -> float:
        """Proportional to time."""
        return self._speed_mm_s * at_s

    def time_at(self, position_mm: float, *, now_s: float) -> float:
        """The reverse of `position_mm`, whatever the time is now."""
        return position_mm / self._speed_mm_s

    def pulse_at(self, position_mm: float) -> int | None:
        """No encoder, no pulses."""
        return None

    def remembers(self, at_s: float) -> bool:
        """It always ran."""
        return True


class EncoderClock:
    """A belt whose pulses are counted; `pulse` may be called from another thread.

    A pulse that follows another faster than `max_speed_mm_s` allows is noise and not counted.
    """

    def __init__(self, *, mm_per_pulse: float, max_speed_mm_s: float) -> None:
        self._mm = mm_per_pulse
        self._least_interval_s = mm_per_pulse / max_speed_mm_s
        self._lock = threading.Lock()  # guards _times_s and _counts, always of one length
        self._times_s: deque[float] = deque(maxlen=KEPT_PULSES)
        self._counts: deque[int] = deque(maxlen=KEPT_PULSES)
        self._step = 0  # of the last pulse
        self.noise = 0  # pulses not counted

    def pulse(self, at_s: float, step: int = 1) -> None:
        """Count one pulse, forward or (with a quadrature encoder) back."""
        with self._lock:
            last_s = self._times_s[-1] if self._times_s else -math.inf
            # One that turns back may follow at once: the belt stood on the very edge.
            same_way = step == self._step
            if at_s < last_s or (same_way and at_s - last_s < self._least_interval_s):
                self.noise += 1
                return
            self._step = step
            self._times_s.append(at_s)
            self._counts.append((self._counts[-1] if self._counts else 0) + step)

    @property
    def count(self) -> int:
        """Pulses forward less pulses back since the start."""
        with self._lock:
            return self._counts[-1] if self._counts else 0

    def position_mm(self, at_s: float) -> float:
        """Between two pulses by proportion; after the last by speed, as far as pulses may lag."""
        with self._lock:
            if not self._times_s:
                return 0.0
            index = bisect.bisect_right(self._times_s, at_s)
            if index == 0:
                return self._counts[0] * self._mm
            if index < len(self._times_s):
                return self._between(index, at_s)
            speed = self._speed_mm_s(at_s)
            beyond_mm = speed * (at_s - self._times_s[-1])
            most_mm = max(self._mm, abs(speed) * TRANSIT_S)
            return self._counts[-1] * self._mm + max(-most_mm, min(most_mm, beyond_mm))

    def time_at(self, position_mm: float, *, now_s: float) -> float:
        """The last time it was there, or the time by the present speed."""
        with self._lock:
            if not self._times_s:
                return math.inf
            last_s, last_mm = self._times_s[-1], self._counts[-1] * self._mm
            if position_mm <= last_mm:
                return self._last_time_at(position_mm, now_s)
            speed = self._speed_mm_s(now_s)
        # From the last pulse, not from now: pulses may lag, and now would lag with them.
        return last_s + (position_mm - last_mm) / speed if speed > 0 else math.inf

    def pulse_at(self, position_mm: float) -> int | None:
        """The count at which the belt is there or just past it."""
        return math.ceil(position_mm / self._mm)

    def remembers(self, at_s: float) -> bool:
        """Not before the oldest of the last KEPT_PULSES, where there were more."""
        with self._lock:
            return len(self._times_s) < KEPT_PULSES or at_s >= self._times_s[0]

    def _between(self, index: int, at_s: float) -> float:
        before_s, after_s = self._times_s[index - 1], self._times_s[index]
        share = (at_s - before_s) / (after_s - before_s) if after_s > before_s else 1.0
        before, after = self._counts[index - 1], self._counts[index]
        return (before + share * (after - before)) * self._mm

    def _speed_mm_s(self, now_s: float) -> float:
        """Mean over the last pulses; nought where none has come for long. Lock held."""
        last_s = self._times_s[-1]
        first = bisect.bisect_left(self._times_s, last_s - SPEED_WINDOW_S)
        first = max(0, min(first, len(self._times_s) - LEAST_PULSES))
        span_s, pulses = last_s - self._times_s[first], self._counts[-1] - self._counts[first]
        steps = len(self._times_s) - 1 - first
        if span_s <= 0 or not steps:
            return 0.0
        silence_s = now_s - last_s
        if silence_s > max(STALL_S, STALL_FACTOR * span_s / steps):
            return 0.0
        return pulses * self._mm / span_s

    def _last_time_at(self, position_mm: float, now_s: float) -> float:
        """Lock held; a belt that turned back was there more than once."""
        wanted = position_mm / self._mm
        for index in range(len(self._counts) - 1, 0, -1):
            before, after = self._counts[index - 1], self._counts[index]
            if before <= wanted <= after and after > before:
                share = (wanted - before) / (after - before)
                before_s, after_s = self._times_s[index - 1], self._times_s[index]
                return before_s + share * (after_s - before_s)
        return self._times_s[0] if wanted < self._counts[0] else min(now_s, self._times_s[-1])


# State of the two channels (A high: 2, B high: 1) to the next: forward is 0, 2, 3, 1.
_FORWARD = {(0, 2), (2, 3), (3, 1), (1, 0)}


class Quadrature:
    """Two channels, a quarter turn apart, to steps of +1 and -1: bounces undo themselves."""

    def __init__(self) -> None:
        self._levels = {"a": 0, "b": 0}
        self.errors = 0  # both channels changed at once: an edge was missed

    def begin(self, a: int, b: int) -> None:
        """The levels at the start: edges alone do not tell them."""
        self._levels = {"a": a, "b": b}

    def change(self, channel: str, level: int) -> int:
        """Take in one edge of channel "a" or "b"; the step that it means, or 0."""
        before = self._state()
        self._levels[channel] = level
        after = self._state()
        if before == after:
            self.errors += 1  # the same level twice: the edge between them was missed
            return 0
        return 1 if (before, after) in _FORWARD else -1

    def _state(self) -> int:
        return 2 * self._levels["a"] + self._levels["b"]
