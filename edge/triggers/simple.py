"""Triggers that do not look at the picture: by command, by the clock, by every frame."""

from __future__ import annotations

from edge.triggers.base import Collector
from edge.values import Frame, Item


class CommandTrigger:
    """Makes an item only when told to."""

    def __init__(self, *, votes: int) -> None:
        self._commands = Collector(votes=votes)

    def see(self, frame: Frame) -> Item | None:
        """Return the commanded item that this frame completes."""
        return self._commands.add(frame)

    def fire(self, now_s: float) -> None:
        """Open an item for the frames captured after `now_s`."""
        self._commands.begin(now_s, "command")

    def reset(self) -> None:
        """Drop open items."""
        self._commands.clear()


class IntervalTrigger:
    """Makes an item of the next frames every `interval_s`, the first at once."""

    def __init__(self, *, votes: int, interval_s: float) -> None:
        self._votes = votes
        self._interval_s = interval_s
        self._commands = Collector(votes=votes)
        self._frames: list[Frame] = []
        self._due_s: float | None = None

    def see(self, frame: Frame) -> Item | None:
        """Return the item that this frame completes; a commanded one comes first."""
        timed = self._see_timed(frame)
        # Complete at the same frame, both show the same: the command is answered, once.
        return self._commands.add(frame) or timed

    def fire(self, now_s: float) -> None:
        """Open an item for the frames captured after `now_s`."""
        self._commands.begin(now_s, "command")

    def reset(self) -> None:
        """Drop open items and start the interval anew."""
        self._commands.clear()
        self._frames.clear()
        self._due_s = None

    def _see_timed(self, frame: Frame) -> Item | None:
        now_s = frame.captured_s
        if self._due_s is None:
            self._due_s = now_s
        if not self._frames and now_s < self._due_s:
            return None
        self._frames.append(frame)
        if len(self._frames) < self._votes:
            return None
        frames, self._frames = tuple(self._frames), []
        # After a gap in the frames the missed turns are left out, not made up for.
        missed = max(0, int((now_s - self._due_s) // self._interval_s))
        self._due_s += (missed + 1) * self._interval_s
        return Item(frames, trigger_s=frames[0].captured_s, cause="interval")


class FrameTrigger:
    """Makes an item of each frame: for a folder of stills."""

    def __init__(self, *, votes: int = 1) -> None:
        self._commands = Collector(votes=votes)

    def see(self, frame: Frame) -> Item | None:
        """Return this frame as an item, or the commanded item that it completes."""
        commanded = self._commands.add(frame)
        return commanded or Item((frame,), trigger_s=frame.captured_s, cause="frame")

    def fire(self, now_s: float) -> None:
        """Open an item for the frames captured after `now_s`."""
        self._commands.begin(now_s, "command")

    def reset(self) -> None:
        """Drop open items."""
        self._commands.clear()
