"""Whether a bin's decisions still look like those that its model was measured on.

Three questions, each over the newest `window` judged decisions of one model:
- confidence: do they fall into tenths as the bin's own first `window` decisions did?
- classes: is the mix of best classes the one of those first decisions?
- card: is the model less sure here than on the pictures its card was measured on?

The first two by the population stability index, PSI = sum (p - q) ln(p / q). Where nothing has
changed, PSI / (1/n + 1/m) is about chi-square with cells - 1 degrees of freedom (Yurdakul, Naranjo,
"Statistical properties of the population stability index", 2020), so that a shift is told where it
is both large (0.25, the customary bound) and beyond chance (1 in 10,000, since thousands of bins are
looked at). A bin is compared with itself because its site is not the data set: items of a canteen
are no fair mix, and that is no fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CELLS = 10  # of confidence
CHANCE_Z = 3.719  # normal quantile of 1 - 1e-4
SMALL = 0.5  # added to every cell: an empty one would make PSI infinite


@dataclass(frozen=True, slots=True)
class Reference:
    """What decisions looked like when all was well."""

    confidences: tuple[int, ...]  # (CELLS,) counts
    classes: Mapping[str, int]

    @property
    def n(self) -> int:
        return sum(self.confidences)


@dataclass(frozen=True, slots=True)
class Card:
    """What a model's card says of its confidence."""

    mean: float  # expected mean confidence
    confidences: tuple[int, ...] = ()  # counts on the measured pictures, where the card has them


@dataclass(frozen=True, slots=True)
class Finding:
    """How far the newest decisions are from the reference."""

    n: int
    mean: float
    psi_confidence: float
    psi_classes: float
    psi_card: float | None
    card_mean: float | None
    told: tuple[str, ...]  # confidence, classes, card


def reference_of(decisions: Sequence[tuple[float, str]]) -> Reference:
    """Counts of (confidence, best class) pairs."""
    confidences = [0] * CELLS
    classes: dict[str, int] = {}
    for confidence, label in decisions:
        confidences[min(CELLS - 1, int(confidence * CELLS))] += 1
        classes[label] = classes.get(label, 0) + 1
    return Reference(tuple(confidences), classes)


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
    decisions: Sequence[tuple[float, str]],
    reference: Reference,
    *,
    card: Card | None,
    least_psi: float,
    card_drop: float,
) -> Finding:
    """Compare (confidence, best class) pairs, at least one, with the reference and the card."""
    now = reference_of(decisions)
    n = len(decisions)
    mean = sum(confidence for confidence, _ in decisions) / n
    names = sorted({*now.classes, *reference.classes})
    psi_confidence = psi(now.confidences, reference.confidences)
    psi_classes = psi(
        [now.classes.get(name, 0) for name in names],
        [reference.classes.get(name, 0) for name in names],
    )
    told = []
    if psi_confidence > max(least_psi, chance_bound(n, reference.n, CELLS)):
        told.append("confidence")
    if psi_classes > max(least_psi, chance_bound(n, reference.n, len(names))):
        told.append("classes")
    psi_card = psi(now.confidences, card.confidences) if card and card.confidences else None
    if card and card.mean - mean > card_drop:
        told.append("card")
    return Finding(
        n=n,
        mean=mean,
        psi_confidence=psi_confidence,
        psi_classes=psi_classes,
        psi_card=psi_card,
        card_mean=card.mean if card else None,
        told=tuple(told),
    )
