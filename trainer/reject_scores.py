"""How well evidence parts items from strange things; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.calibrate import margins
from trainer.scoring import Probs

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# Least confidence, the same for every label, to try beside the floor of the evidence.
FLOORS = np.round(np.arange(0.0, 0.901, 0.05), 2)


def auroc(known: Doubles, unknown: Doubles) -> float:
    """Chance that an item has more evidence than a strange thing; equal ones count half."""
    _, place, counts = np.unique(
        np.concatenate([known, unknown]), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    own = float(ranks[: len(known)].sum()) - len(known) * (len(known) + 1) / 2
    return own / (len(known) * len(unknown))


def floor_for(known: Doubles, share: float) -> float:
    """The highest floor at which at least `share` of the items have enough evidence."""
    kept = int(np.ceil(round(share * len(known), 6)))
    return float(np.sort(known)[len(known) - kept])


def passed(evidence: Doubles, floor: float) -> float:
    """Share of pictures with enough evidence, as edge.decide compares."""
    return float((evidence >= floor).mean()) if len(evidence) else float("nan")


@dataclass(frozen=True, slots=True)
class Point:
    """One way to set a bundle; shares are 0..1."""

    floor: float  # of the evidence
    confidence: float  # least, the same for every label
    min_margin: float
    known_sorted: float
    unknown_sorted: float  # mean over the kinds of strange things


def sure(probs: Probs, confidence: float, min_margin: float) -> Flags:
    """(m,) what edge.decide would sort by its probabilities alone, from one frame."""
    return np.asarray((probs.max(1) >= confidence) & (margins(probs) >= min_margin))


@dataclass(frozen=True, slots=True)
class Demand:
    """A share of some of the items that must be sorted."""

    items: Flags  # (m,) which
    share: float

    def met(self, able: Flags) -> bool:
        """Whether so many are, or could be."""
        return bool(able[self.items].sum() >= self.share * self.items.sum() - 1e-9)

    def floor(self, evidence: Doubles) -> float:
        """The highest that meets it; infinite where nothing is asked."""
        mine = evidence[self.items]
        return floor_for(mine, self.share) if len(mine) else np.inf


def best_point(
    known: tuple[Probs, Doubles],
    unknown: dict[str, tuple[Probs, Doubles]],
    *,
    demands: Sequence[Demand],
    min_margin: float,
) -> Point:
    """Floor and least confidence that together meet the demands and sort fewest strange things.

    Both sides are (probabilities, evidence). Where several do alike, the one that demands most
    confidence; where the margin alone keeps too many items back, it is given up.
    """
    probs, evidence = known
    best: Point | None = None
    for margin in dict.fromkeys((min_margin, 0.0)):
        for confidence in FLOORS[::-1]:
            able = sure(probs, float(confidence), margin)
            if not all(demand.met(able) for demand in demands):
                continue
            shown = np.where(able, evidence, -np.inf)
            floor = min(demand.floor(shown) for demand in demands)
            wrong = [
                float((sure(p, float(confidence), margin) & (e >= floor)).mean())
                for p, e in unknown.values()
            ]
            point = Point(
                floor,
                float(confidence),
                margin,
                float((able & (evidence >= floor)).mean()),
                float(np.mean(wrong)),
            )
            if best is None or point.unknown_sorted < best.unknown_sorted - 1e-9:
                best = point
        if best is not None:
            break
    assert best is not None  # confidence 0 and margin 0 sort everything
    return best
