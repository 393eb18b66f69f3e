"""The new model beside the old one on real items, without a say: is it as sure, does it agree?

The bounds are tests, not thresholds on a share: with few items a bad draw must not condemn a good
model, with many a bad one must not pass. They are asked after every item, which gives chance many
tries; so they begin late and are stricter than a single test (tests/test_update.py simulates both
kinds of error).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.96
Z_OFTEN = 2.6  # of a test that is asked after every item
LEAST_ITEMS = 20  # before that nothing is said
MOST_DISAGREEMENT = 0.08  # of items that both sort; two good students here differ on 3 to 5 %
MOST_MORE_ABSTAINED = 0.10  # share of items, above that of the model before


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one model against the one before it."""

    items: int = 0
    abstained: int = 0
    abstained_before: int = 0  # of the other model, on its items
    items_before: int = 0
    both_sorted: int = 0
    disagreed: int = 0  # of those

    def with_item(self, mine: str | None, other: str | None) -> Tally:
        """One more item that both judged; a label where it was sorted, None where not."""
        both = mine is not None and other is not None
        return Tally(
            items=self.items + 1,
            abstained=self.abstained + (mine is None),
            abstained_before=self.abstained_before + (other is None),
            items_before=self.items_before + 1,
            both_sorted=self.both_sorted + both,
            disagreed=self.disagreed + (both and mine != other),
        )

    def with_own_item(self, sorted_: bool) -> Tally:
        """One more item that only this model judged: it runs now."""
        return Tally(
            items=self.items + 1,
            abstained=self.abstained + (not sorted_),
            abstained_before=self.abstained_before,
            items_before=self.items_before,
            both_sorted=self.both_sorted,
            disagreed=self.disagreed,
        )


def worse(tally: Tally) -> str:
    """Why the model is worse than the one before, in words; empty where nothing shows it."""
    if tally.items < LEAST_ITEMS:
        return ""
    apart = least_share(tally.disagreed, tally.both_sorted, Z_OFTEN)
    if apart > MOST_DISAGREEMENT:
        return (
            f"gives another class on {tally.disagreed} of {tally.both_sorted} items that both "
            f"sort; up to {MOST_DISAGREEMENT:.0%} are expected"
        )
    before = tally.abstained_before / tally.items_before if tally.items_before else 0.0
    if least_share(tally.abstained, tally.items, Z_OFTEN) > before + MOST_MORE_ABSTAINED:
        return (
            f"is not sure of {tally.abstained} of {tally.items} items; the model before was "
            f"not of {before:.0%}"
        )
    return ""


def least_share(hits: int, n: int, z: float = Z) -> float:
    """Lower end of the interval of a share (Wilson 1927), 95 % for Z; 0..1, 0 where n is 0."""
    if n == 0:
        return 0.0
    share, z2 = hits / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half)


def most_share(hits: int, n: int) -> float:
    """Upper end of that interval; 1 where n is 0."""
    return 1.0 - least_share(n - hits, n) if n else 1.0
