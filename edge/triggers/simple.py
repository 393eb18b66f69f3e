"""Triggers that do not look at the picture: by command, by the clock, by every frame."""

from __future__ import annotations

from edge.triggers.base import MAX_WAIT_S, Commanded, given_up
from edge.values import Frame, Item


class CommandTrigger(Commanded):
    """Makes an item only when told to."""

    def see(self, frame: Frame) -> Item | None:
        """Return the commanded item that this frame completes."""
        return self._commands.add(frame)


class IntervalTrigger(Commanded):
    """Makes an item of the next frames every `interval_s`, the first at once."""

    def __init__(self, *, votes: int, interval_s: float) -> None:
        super().__init__(votes=votes)
        self._votes = votes
        self._interval_s = interval_s
        self._frames: list[Frame] = []
        self._due_s: float | None = None

    def see(self, frame: Frame) -> Item | None:
        """Return the item that this frame completes; a commanded one comes first."""
        timed = self._see_timed(frame)
        # Complete at the same frame, both show the same: the command is answered, once.
        return self._commands.add(frame) or timed

    @property
    def open_items(self) -> int:
        """Items whose frames are still being gathered."""
        return super().open_items + bool(self._frames)

    def give_up(self, why: str) -> list[Item]:
        """Return the open items, each barred by `why`, and begin anew."""
        begun: list[Item] = []
        if self._frames:
            begun = [given_up(self._frames, self._frames[0].captured_s, "interval", why)]
        return begun + super().give_up(why)

    def reset(self) -> None:
        """Drop open items and start the interval anew."""
        super().reset()
        self._frames.clear()
        self._due_s = None

    def _see_timed(self, frame: Frame) -> Item | None:
        now_s = frame.captured_s
        if self._due_s is None:
            self._due_s = now_s
        if self._frames and now_s - self._frames[0].captured_s > MAX_WAIT_S:
            self._frames.clear()  # frames from before a gap show something else
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


class FrameTrigger(Commanded):
    """Makes an item of each frame: for a folder of stills."""

    def __init__(self, *, votes: int = 1) -> None:
        super().__init__(votes=votes)

    def see(self, frame: Frame) -> Item | None:
        """Return this frame as an item, or the commanded item that it completes."""
        commanded = self._commands.add(frame)
        return commanded or Item((frame,), trigger_s=frame.captured_s, cause="frame")
