"""Triggers: which frames hold an item that is worth a decision."""

from __future__ import annotations

from edge.errors import UsageError
from edge.tray import TrayMemory
from edge.triggers.base import Trigger
from edge.triggers.presence import PresenceSettings, PresenceTrigger
from edge.triggers.simple import CommandTrigger, FrameTrigger, IntervalTrigger

__all__ = ["KINDS", "Trigger", "build_trigger"]

KINDS = ("presence", "interval", "frame", "command")


def build_trigger(
    kind: str,
    *,
    votes: int,
    interval_s: float = 5.0,
    min_area_frac: float = 0.01,
    settle_s: float = 0.4,
    border_settle_s: float | None = None,
    absorb_s: float = 600.0,
    tray: TrayMemory | None = None,
) -> Trigger:
    """Make a trigger; what a kind does not use is passed over.

    `border_settle_s` is the rest asked of a change that reaches the picture's edge, which may be
    an arm; left out, it is 3 s or four times `settle_s`, whichever is longer. `tray` holds the
    stored empty tray, and is told of the learned one.
    """
    if votes < 1:
        raise UsageError(f"trigger votes = {votes}: must be 1 or more")
    if kind == "presence":
        if border_settle_s is None:
            border_settle_s = max(3.0, 4 * settle_s)
        settings = PresenceSettings(
            min_area_frac=min_area_frac,
            settle_s=settle_s,
            border_settle_s=border_settle_s,
            absorb_s=absorb_s,
        )
        return PresenceTrigger(settings, votes=votes, tray=tray)
    if kind == "interval":
        if interval_s <= 0:
            raise UsageError(f"trigger interval_s = {interval_s}: must be more than 0")
        return IntervalTrigger(votes=votes, interval_s=interval_s)
    if kind == "frame":
        return FrameTrigger(votes=votes)
    if kind == "command":
        return CommandTrigger(votes=votes)
    raise UsageError(f"trigger kind {kind!r}: allowed are {', '.join(KINDS)}")
