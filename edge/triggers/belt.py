"""Which trigger a belt has."""

from __future__ import annotations

from edge.belt.belt import Belt
from edge.belt.options import BeltOptions
from edge.triggers.encoder import EncoderTrigger
from edge.triggers.gate import GateTrigger
from edge.triggers.line import LineTrigger
from edge.triggers.moving import MovingTrigger


def moving_trigger(
    kind: str, *, belt: Belt, options: BeltOptions, votes: int, absorb_s: float
) -> MovingTrigger:
    """Make a trigger for items that move; `command` is what is left where no sensor fires."""
    tracker = belt.tracker(votes=votes)
    if kind == "gate":
        gate = GateTrigger(tracker, hold_s=options.debounce_ms / 1000)
        belt.hear_gate(gate.edge)
        return gate
    if kind == "encoder":
        return EncoderTrigger(tracker, belt=belt.clock, pitch_mm=options.pitch_mm)
    if kind == "line":
        return LineTrigger(
            tracker,
            line_at=options.line_at,
            across=options.line_across,
            min_share=options.line_share,
            absorb_s=absorb_s,
        )
    return MovingTrigger(tracker)
