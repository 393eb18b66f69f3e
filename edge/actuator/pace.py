"""How often a device may move: a rest after each movement, and a rate; time is a value."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


class Pace:
    """Knows when the next movement may begin; a coil that rests too little burns."""

    def __init__(self, *, cool_down_s: float, per_min: int) -> None:
        self._cool_down_s = cool_down_s
        self._starts_s: deque[float] = deque(maxlen=per_min)  # of the last movements
        self._rested_s = float("-inf")

    @property
    def ready_s(self) -> float:
        """The earliest start of the next movement."""
        if len(self._starts_s) < (self._starts_s.maxlen or 0):
            return self._rested_s
        return max(self._rested_s, self._starts_s[0] + WINDOW_S)

    def moved(self, *, start_s: float, end_s: float) -> None:
        """Take a movement into account."""
        self._starts_s.append(start_s)
        self._rested_s = end_s + self._cool_down_s
