"""What every trigger shares: its contract, and collecting the frames of an item."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge.values import Box, Frame, Item

log = logging.getLogger(__name__)

# A storm of commands must not grow memory; items of an operator or a light gate never queue so.
MAX_COLLECTIONS = 32
MAX_WAIT_S = 10.0  # from a trigger to the last of its frames


class Trigger(Protocol):
    """Looks at every frame and says which are an item. Time is Frame.captured_s, nothing else."""

    def see(self, frame: Frame) -> Item | None:
        """Take in the next frame; return the item that it completes, if it completes one."""

    def due(self, now_s: float) -> Item | None:
        """Return an item that time completed, without a frame; call it until it returns None."""

    @property
    def trouble(self) -> str:
        """What is wrong with a sensor, in words; empty while all is well."""

    @property
    def open_items(self) -> int:
        """Items whose frames are still being gathered."""

    def fire(self, now_s: float) -> bool:
        """Make the next frames captured after `now_s` an item; False where too many wait."""

    def give_up(self, why: str) -> list[Item]:
        """The open items, each barred by `why`: told, not judged. Then as after `reset`."""

    def reset(self) -> None:
        """Forget everything seen; as new."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of the tray when an item is complete."""

    present: bool = True  # False only where the tray is known to be empty
    box_xyxy: Box | None = None


@dataclass(slots=True)
class _Collection:
    trigger_s: float
    cause: str
    frames: list[Frame] = field(default_factory=list)


class Collector:
    """Gathers the next `votes` frames for each of several items, oldest first."""

    def __init__(self, *, votes: int) -> None:
        self._votes = votes
        self._open: list[_Collection] = []

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, trigger_s: float, cause: str) -> bool:
        """Open an item for the frames captured after `trigger_s`; False where too many wait."""
        if len(self._open) >= MAX_COLLECTIONS:
            log.warning(
                "trigger: %d items wait for frames already; one more %s is refused; is the "
                "camera delivering?",
                MAX_COLLECTIONS,
                cause,
            )
            return False
        self._open.append(_Collection(trigger_s, cause))
        return True

    def add(self, frame: Frame, look: Look | None = None) -> Item | None:
        """Give a frame to all open items; return the oldest that is complete."""
        self._drop_stale(frame.captured_s)
        for collection in self._open:
            if len(collection.frames) < self._votes and frame.captured_s > collection.trigger_s:
                collection.frames.append(frame)
        for index, collection in enumerate(self._open):
            if len(collection.frames) == self._votes:
                del self._open[index]
                return _item(collection, look or Look())
        return None

    def _drop_stale(self, now_s: float) -> None:
        """An item that was asked for long ago is not there any more when frames come again."""
        fresh = [
            c
            for c in self._open
            if len(c.frames) == self._votes or now_s - c.trigger_s <= MAX_WAIT_S
        ]
        if len(fresh) < len(self._open):
            gone = len(self._open) - len(fresh)
            log.warning("trigger: %d items dropped, no frames for %g s", gone, MAX_WAIT_S)
        self._open = fresh

    def give_up(self, why: str) -> list[Item]:
        """All open items, barred: they are told, but not judged."""
        gone = [given_up(c.frames, c.trigger_s, c.cause, why) for c in self._open]
        self._open.clear()
        return gone

    def clear(self) -> None:
        """Drop all open items."""
        self._open.clear()


class Commanded:
    """What all triggers share: an operator may ask for an item at any time."""

    def __init__(self, *, votes: int) -> None:
        self._commands = Collector(votes=votes)

    def due(self, now_s: float) -> Item | None:
        """None: an item at rest has time until its frames are there."""
        return None

    @property
    def trouble(self) -> str:
        """Nothing: the camera is watched elsewhere."""
        return ""

    @property
    def open_items(self) -> int:
        """Items whose frames are still being gathered."""
        return len(self._commands)

    def fire(self, now_s: float) -> bool:
        """Open an item for the frames captured after `now_s`; False where too many wait."""
        return self._commands.begin(now_s, "command")

    def give_up(self, why: str) -> list[Item]:
        """Return the open items, each barred by `why`, and begin anew."""
        gone = self._commands.give_up(why)
        self.reset()
        return gone

    def reset(self) -> None:
        """Drop open items."""
        self._commands.clear()


def given_up(frames: Sequence[Frame], trigger_s: float, cause: str, why: str) -> Item:
    """An item that is told but not judged."""
    return Item(tuple(frames), trigger_s=trigger_s, cause=cause, barred=("fault", why))


def _item(collection: _Collection, look: Look) -> Item:
    return Item(
        frames=tuple(collection.frames),
        trigger_s=collection.trigger_s,
        cause=collection.cause,
        box_xyxy=look.box_xyxy,
        present=look.present,
    )
