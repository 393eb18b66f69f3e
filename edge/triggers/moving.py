"""What the triggers of a belt share: items move, several are on their way at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.belt.tracker import Tracker
from edge.values import Frame, Item


class MovingTrigger:
    """Items of a belt, in order; alone it is the trigger that only a command fires."""

    def __init__(self, tracker: Tracker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracker = tracker
        self._clock = clock

    def see(self, frame: Frame) -> Item | None:
        """Take in a frame; returns the oldest item that is complete. `due` gives the others."""
        self._notice(frame)
        self._tracker.frame(frame)
        return self.due(self._clock())

    def due(self, now_s: float) -> Item | None:
        """An item that became complete as time went on, without a frame."""
        self._take_edges(now_s)
        return self._tracker.ready(now_s, edges_until_s=self._edges_until_s(now_s))

    @property
    def trouble(self) -> str:
        """What is wrong with the sensor, in words; empty while it is well."""
        return self._tracker.trouble

    @property
    def open_items(self) -> int:
        """Items on the belt that are not decided yet."""
        return len(self._tracker)

    def fire(self, now_s: float) -> bool:
        """A command: an item is at the trigger at `now_s`; its length is not known."""
        return self._tracker.point(now_s, "command")

    def follow(self, *, votes: int, absorb_s: float) -> None:
        """Go on by other rules, with the items that are on the belt."""
        self._tracker.look_for(votes)

    def give_up(self, why: str) -> list[Item]:
        """Return the items on the belt, each barred by `why`, and begin anew."""
        self._take_edges(self._clock())
        gone = self._tracker.give_up(why)
        self.reset()
        return gone

    def reset(self) -> None:
        """Forget the items on the belt: they run off its end."""
        self._tracker.clear(self._clock(), covered=self._covered())

    def _covered(self) -> bool:
        """Whether something is at the trigger now, whose end is still to come."""
        return False

    def _notice(self, frame: Frame) -> None:
        """Look at the picture, where the picture is what fires."""

    def _take_edges(self, now_s: float) -> None:
        """Take in what the sensors said up to now."""

    def _edges_until_s(self, now_s: float) -> float:
        """Up to when every edge has been told: the gap behind an item is known so far."""
        return now_s
