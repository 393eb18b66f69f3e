"""The new model beside the old one on real items, without a say: is it as sure, does it agree?

Nobody knows what the items were, so all that shows is whether the two differ. Different is not
worse: how far they may differ follows from the pictures of known classes (edge.update.checks), and
a class that the last good model gives as well speaks for the new one. The bounds are sequential
tests (edge.update.chance), valid though they are asked after every item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.update.chance import most_share, surely_more

LEAST_ITEMS = 20  # the tests take items for independent, and odd things come several in a row
USUAL_DISAGREEMENT = 0.08  # of items that both sort; two good students here differ on 3 to 5 %
SUSPECTED_ABOVE = 0.12  # a share that is higher by so much is found quickest
MOST_MORE_ABSTAINED = 0.10  # share of items, above that of the model before


@dataclass(frozen=True, slots=True)
class Beside:
    """Items that both models judged."""

    items: int = 0
    both_sorted: int = 0
    disagreed: int = 0  # of those; classes that no proved model gives
    backed: int = 0  # of those; another class than the running model, that of the last good one
    abstained: int = 0  # by the new model
    abstained_before: int = 0  # by the running one
    newly: int = 0  # by the new model alone

    @property
    def regained(self) -> int:
        """Abstained by the running model alone."""
        return self.abstained_before - (self.abstained - self.newly)

    def with_item(self, mine: str | None, other: str | None, *, backed: bool = False) -> Beside:
        """One more item: a label where it was sorted, None where not."""
        both = mine is not None and other is not None
        apart = both and mine != other
        return Beside(
            items=self.items + 1,
            both_sorted=self.both_sorted + both,
            disagreed=self.disagreed + (apart and not backed),
            backed=self.backed + (apart and backed),
            abstained=self.abstained + (mine is None),
            abstained_before=self.abstained_before + (other is None),
            newly=self.newly + (mine is None and other is not None),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """Items of the model that runs now, against what the one before abstained on in shadow."""

    items: int = 0
    abstained: int = 0
    items_before: int = 0
    abstained_before: int = 0

    def with_item(self, *, sorted_: bool) -> Trial:
        """One more item."""
        return replace(self, items=self.items + 1, abstained=self.abstained + (not sorted_))


def worse_beside(tally: Beside, expected: float = USUAL_DISAGREEMENT) -> str:
    """Why the new model is worse, in words; empty where nothing shows it.

    `expected` is the share of items on which the two may well differ (0..1).
    """
    if tally.items < LEAST_ITEMS:
        return ""
    if surely_more(
        tally.disagreed,
        tally.both_sorted,
        expected=expected,
        suspected=expected + SUSPECTED_ABOVE,
    ):
        return (
            f"gives another class on {tally.disagreed} of {tally.both_sorted} items that both "
            f"sort; up to {expected:.0%} are expected"
        )
    # Much more, and surely more: of the items that one of the two alone was not sure of.
    if tally.newly - tally.regained > MOST_MORE_ABSTAINED * tally.items and surely_more(
        tally.newly, tally.newly + tally.regained, expected=0.5, suspected=0.8
    ):
        return (
            f"is not sure of {tally.abstained} of {tally.items} items; the running model is not "
            f"of {tally.abstained_before} of them"
        )
    return ""


def worse_on_trial(tally: Trial) -> str:
    """Why the model that runs is worse than the one before; empty where nothing shows it."""
    if tally.items < LEAST_ITEMS or not tally.items_before:  # without shadow: nothing to compare
        return ""
    before = tally.abstained_before / tally.items_before
    usual = max(
        most_share(tally.abstained_before, tally.items_before), before + MOST_MORE_ABSTAINED
    )
    if surely_more(tally.abstained, tally.items, expected=usual, suspected=usual + 0.15):
        return (
            f"is not sure of {tally.abstained} of {tally.items} items; the model before was "
            f"not of {before:.0%}"
        )
    return ""
