"""A line of the picture as a light gate: something crosses it. Cheap, for a belt that moves."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge.belt.tracker import Tracker
from edge.triggers.moving import MovingTrigger
from edge.values import Frame

STRIP_PX = 8  # width of the line: a mean over so many pixels has a third of their noise
CELLS = 48  # along the line; a cell of a 640x480 picture is 10 px
LEARN_FRAMES = 8
ADAPT = 0.05  # of the way to a free line's new look, at each frame
LEAST_LEVELS = 10.0  # a smaller difference is noise and the belt's own pattern
SIGMAS = 5.0

Line = npt.NDArray[np.float32]  # (CELLS, 3) levels


class LineTrigger(MovingTrigger):
    """Makes an item of what covers a share of a line across the belt.

    Its edges are as exact as frames are frequent: at 30 frames a second and 0.5 m/s, 17 mm.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        line_at: float,
        across: str,
        min_share: float,
        absorb_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`line_at` is where the line lies, 0..1 of the width (`across` "x") or height ("y")."""
        super().__init__(tracker, clock=clock)
        self._line_at = line_at
        self._across = across
        self._min_share = min_share
        self._absorb_s = absorb_s
        self._forget()

    def follow(self, *, votes: int, absorb_s: float) -> None:
        """Go on by other rules, with the items that are on the belt."""
        super().follow(votes=votes, absorb_s=absorb_s)
        self._absorb_s = absorb_s

    def reset(self) -> None:
        """Forget the items and the look of the empty line."""
        super().reset()
        self._forget()

    def _forget(self) -> None:
        self._learned: list[Line] = []
        self._usual: Line | None = None
        self._spread: Line | None = None  # mean absolute deviation of the free line
        self._seen_s = 0.0  # the newest frame
        self._covered_s: float | None = None  # since when something lies on it

    def _edges_until_s(self, now_s: float) -> float:
        return self._seen_s  # the line is looked at when a frame comes, not between

    def _notice(self, frame: Frame) -> None:
        self._seen_s = frame.captured_s
        line = self._line_of(frame)
        if self._usual is None or self._spread is None:
            self._learn(line)
            return
        apart = np.abs(line - self._usual)  # (CELLS, 3)
        limit = np.maximum(LEAST_LEVELS, SIGMAS * self._spread)
        covered = float((apart > limit).any(axis=1).mean()) >= self._min_share
        self._follow(covered, frame.captured_s)
        if not covered:
            self._usual = self._usual + ADAPT * (line - self._usual)
            self._spread = self._spread + ADAPT * (apart - self._spread)

    def _follow(self, covered: bool, at_s: float) -> None:
        if covered and self._covered_s is None:
            self._covered_s = at_s
            self._tracker.lead(at_s, "line")
        elif not covered and self._covered_s is not None:
            self._covered_s = None
            self._tracker.trail(at_s)
        elif self._covered_s is not None and 0 < self._absorb_s < at_s - self._covered_s:
            self._tracker.trail(at_s)
            self._forget()  # dirt on the belt or the lens: it is what the line looks like now

    def _learn(self, line: Line) -> None:
        self._learned.append(line)
        if len(self._learned) < LEARN_FRAMES:
            return
        lines = np.stack(self._learned)
        self._usual = np.median(lines, axis=0)
        self._spread = np.abs(lines - self._usual).mean(axis=0)
        self._learned = []

    def _line_of(self, frame: Frame) -> Line:
        """(H, W, 3) to the means of CELLS along the line."""
        pixels = frame.pixels if self._across == "x" else frame.pixels.transpose(1, 0, 2)
        middle = round(self._line_at * (pixels.shape[1] - 1))
        first = max(0, min(middle - STRIP_PX // 2, pixels.shape[1] - STRIP_PX))
        column = pixels[:, first : first + STRIP_PX].mean(axis=1, dtype=np.float32)  # (H, 3)
        cells = np.array_split(column, min(CELLS, len(column)))
        return np.stack([cell.mean(axis=0) for cell in cells])
