"""How far chance alone explains a count: exact tests, for guards that are asked again and again.

A guard that is asked after every item has many tries at a wrong answer. `surely_more` bounds all of
them together: the likelihood ratio of Wald's sequential test (Annals of Mathematical Statistics
16, 1945) exceeds 1/chance at any time with at most that chance while the share is the expected one
or less (Ville's inequality, 1939). `paired` is the exact form of McNemar's test (Psychometrika 12,
1947), `flipped` Fisher's randomization test for pairs (The Design of Experiments, 1935, section
21), `tail` the binomial distribution itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CHANCE = 0.01  # of condemning what is as good as expected, over all items of one test
DRAWS, DRAWN_AT_ONCE = 20_000, 1000
SIGNS_AT_ONCE = 1_000_000  # 5 MB, however many pictures an owner gives
SURE = 0.999  # a share of 1 would take a single miss for impossible


def surely_more(hits: int, n: int, *, expected: float, suspected: float) -> bool:
    """Whether `hits` of `n` come of a higher share than `expected` (0..1), asked at any time.

    Quickest where the share is `suspected`; never true where `expected` reaches SURE.
    """
    if expected >= SURE:
        return False
    expected, suspected = max(expected, 1e-9), min(suspected, SURE)
    ratio = hits * math.log(suspected / expected)
    ratio += (n - hits) * math.log((1 - suspected) / (1 - expected))
    return suspected > expected and ratio >= -math.log(CHANCE)


def paired(losses: int, gains: int) -> float:
    """Chance of so many losses, or more, among the items on which only one of two was right."""
    return tail(losses, losses + gains, 0.5)


def flipped(differences: Sequence[float]) -> float:
    """Chance of so low a sum where each difference might as well have the other sign.

    By 20,000 drawn signs, the same ones each time: bins that see the same say the same.
    """
    moved = np.array([each for each in differences if each], np.float32)
    if not len(moved):
        return 1.0
    dice, seen, total = np.random.default_rng(0), 0, moved.sum() + 1e-6
    rows = min(DRAWN_AT_ONCE, max(1, SIGNS_AT_ONCE // len(moved)))
    for start in range(0, DRAWS, rows):
        size = (min(rows, DRAWS - start), len(moved))
        signs = dice.integers(0, 2, size, dtype=np.int8).astype(np.float32) * 2 - 1
        seen += int((signs @ moved <= total).sum())
    return (seen + 1) / (DRAWS + 1)  # what is there counts as one of the draws


def tail(hits: int, n: int, share: float) -> float:
    """Chance of `hits` or more of `n` where each comes with `share`, which is neither 0 nor 1."""
    if hits <= 0:
        return 1.0
    # In logarithms: of some 1,030 on, the number of ways is too large for a float.
    yes, no, ways = math.log(share), math.log1p(-share), math.lgamma(n + 1)
    return math.fsum(
        math.exp(ways - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * yes + (n - k) * no)
        for k in range(hits, n + 1)
    )


def most_share(hits: int, n: int) -> float:
    """Upper end of the 95 % interval of a share (Wilson, 1927); 1 where n is 0."""
    if n == 0:
        return 1.0
    share, z2 = hits / n, 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return min(1.0, middle + half)
