"""Which items are worth a person's look: pure, a decision in, the reason out."""

from __future__ import annotations

from edge.values import Decision

DISPUTED = frozenset({"jammed", "refused"})


def uncertain(decision: Decision, *, margin: float) -> str:
    """Why a decision is uncertain, in a word; empty where it is not, or shows no item."""
    if decision.outcome in ("unknown", "ambiguous"):
        return decision.outcome
    if decision.outcome != "sorted" or len(decision.top) < 2:
        return ""
    lead = decision.top[0][1] - decision.top[1][1]
    return "low margin" if lead < margin else ""
