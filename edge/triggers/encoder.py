"""A belt with pockets: an item every so many millimetres of travel, told by the encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from edge.belt.clock import BeltClock
from edge.belt.tracker import Tracker
from edge.triggers.moving import MovingTrigger


class EncoderTrigger(MovingTrigger):
    """Makes an item of each pocket; a belt that turns back makes none twice."""

    def __init__(
        self,
        tracker: Tracker,
        *,
        belt: BeltClock,
        pitch_mm: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(tracker, clock=clock)
        self._belt = belt
        self._pitch_mm = pitch_mm
        self._next_mm: float | None = None  # position at which the next pocket is at the trigger

    def reset(self) -> None:
        """Forget the items; the pockets stay where they are."""
        super().reset()
        if self._next_mm is not None:
            beyond_mm = self._belt.position_mm(self._clock()) - self._next_mm
            self._next_mm += self._pitch_mm * max(0, 1 + math.floor(beyond_mm / self._pitch_mm))

    def _take_edges(self, now_s: float) -> None:
        here_mm = self._belt.position_mm(now_s)
        if self._next_mm is None:
            self._next_mm = here_mm + self._pitch_mm
        while here_mm >= self._next_mm:
            at_s = self._belt.time_at(self._next_mm, now_s=now_s)
            self._tracker.point(at_s, "encoder")
            self._next_mm += self._pitch_mm
