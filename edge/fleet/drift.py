"""Whether a bin's decisions still look like those that its model was measured on.

Three questions about the judged decisions of one model at one bin:
- confidence: do the newest `window` fall into tenths as the bin's first ones did?
- classes: is the mix of the last seven days the one of the bin's first seven? (Whole weeks: a
  canteen's Sunday is no shift.)
- card: is the model less sure here than on the pictures that its card was measured on?

The first two by the population stability index, PSI = sum (p - q) ln(p / q). Where nothing has
changed, PSI / (1/n + 1/m) is about chi-square with cells - 1 degrees of freedom (Yurdakul and
Naranjo 2020, "Statistical properties of the population stability index"), so a shift is told where
it is both large (0.25, the customary bound) and beyond chance (1 in 10,000, since thousands of
bins are looked at). A bin is compared with itself because its site is not the data set: what a
canteen throws away is no fair mix, and that is no fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CELLS = 10  # of confidence
CHANCE_Z = 3.719  # normal quantile of 1 - 1e-4
SMALL = 0.5  # added to every cell: an empty one would make PSI infinite


@dataclass(frozen=True, slots=True)
class Card:
    """What a model's card says of its confidence."""

    mean: float  # expected mean confidence
    confidences: tuple[int, ...] = ()  # counts on the measured pictures, where the card has them


@dataclass(frozen=True, slots=True)
class Weeks:
    """How often each class was best, in a bin's first week and in its last."""

    first: Mapping[str, int]
    last: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """How far the newest decisions are from the reference."""

    n: int
    mean: float
    psi_confidence: float
    psi_classes: float | None
    psi_card: float | None
    card_mean: float | None
    told: tuple[str, ...]  # confidence, classes, card


def tenths(confidences: Sequence[float]) -> tuple[int, ...]:
    """Counts of confidences 0..1 by tenth: (CELLS,)."""
    counts = [0] * CELLS
    for confidence in confidences:
        counts[min(CELLS - 1, int(confidence * CELLS))] += 1
    return tuple(counts)


def psi(counts: Sequence[float], reference: Sequence[float]) -> float:
    """Population stability index of two counts over the same cells, smoothed."""
    total = sum(counts) + SMALL * len(counts)
    base = sum(reference) + SMALL * len(reference)
    index = 0.0
    for count, expected in zip(counts, reference, strict=True):
        p, q = (count + SMALL) / total, (expected + SMALL) / base
        index += (p - q) * math.log(p / q)
    return index


def chance_bound(n: int, m: int, cells: int) -> float:
    """The PSI that chance alone exceeds once in 10,000 looks (Wilson and Hilferty 1931)."""
    degrees = max(1, cells - 1)
    part = 2 / (9 * degrees)
    chi_square = degrees * (1 - part + CHANCE_Z * math.sqrt(part)) ** 3
    return chi_square * (1 / n + 1 / m)


def examine(
    confidences: Sequence[float],
    reference: Sequence[int],
    *,
    weeks: Weeks | None,
    card: Card | None,
    least_psi: float,
    card_drop: float,
) -> Finding:
    """Compare the newest confidences, at least one, with the bin's first (counts by tenth), its
    weeks with each other, and the mean with the card's."""
    now, n = tenths(confidences), len(confidences)
    mean = sum(confidences) / n
    told = []
    psi_confidence = psi(now, reference)
    if psi_confidence > max(least_psi, chance_bound(n, sum(reference), CELLS)):
        told.append("confidence")
    psi_classes = _compare(weeks) if weeks else None
    if weeks and psi_classes is not None:
        sizes = sum(weeks.last.values()), sum(weeks.first.values())
        if psi_classes > max(least_psi, chance_bound(*sizes, len({*weeks.first, *weeks.last}))):
            told.append("classes")
    if card and card.mean - mean > card_drop:
        told.append("card")
    return Finding(
        n=n,
        mean=mean,
        psi_confidence=psi_confidence,
        psi_classes=psi_classes,
        psi_card=psi(now, card.confidences) if card and card.confidences else None,
        card_mean=card.mean if card else None,
        told=tuple(told),
    )


def _compare(weeks: Weeks) -> float:
    names = sorted({*weeks.first, *weeks.last})
    last = [weeks.last.get(name, 0) for name in names]
    return psi(last, [weeks.first.get(name, 0) for name in names])
