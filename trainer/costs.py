"""Sets each class's threshold so that the bin costs least by a table of what mistakes cost.

With a threshold per class the expected cost is a sum over what was said, so each class is searched
alone; two prices tie them together: one on every item that is not sorted (until enough are), one
on every item sorted wrongly (until enough of the sorted are right). A threshold is the median over
bootstrap draws of the photos, and a photo's label counts for a part beside its probabilities: of
some classes validation has a dozen, and one lucky photo must not move a flap for years.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, load_bundle
from trainer import bundles
from trainer.calibrate import margins
from trainer.cost_table import Costs, CostTable
from trainer.reject_fit import evidence_of
from trainer.scoring import Labels, Probs
from trainer.views import Seen

GRID = np.round(np.arange(0.0, 0.991, 0.01), 2)  # thresholds that are tried
DRAWS, FOLDS, SEED = 300, 5, 2026
PRICES = (0.0, *np.round(2.0 ** np.arange(-3, 7.01, 0.5), 4))  # per item, in the table's unit
RULE = (
    "per label, the median over bootstrap draws of the threshold that costs least by the table, "
    "with `least_accuracy` of the sorted right and `sorts` of the items sorted, or else `first`"
)
# How much a photo's own label counts beside its calibrated probabilities. By labels alone the
# thresholds follow single photos: out of fold an item then cost 0.349, by probabilities alone
# 0.327, so mixed 0.309; with one threshold for all 0.335 (872 views of 328 photos, shipped table).
TRUTH_SHARE = 0.25
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Items:
    """Views of validation photos as a bundle answers them."""

    probs: Probs  # (m, n), calibrated
    truth: Labels  # (m,)
    photos: Labels  # (m,) which photo each is a view of
    able: Flags  # (m,) whether evidence and margin would let it be sorted

    def subset(self, which: Flags) -> Items:
        return Items(self.probs[which], self.truth[which], self.photos[which], self.able[which])


@dataclass(frozen=True, slots=True)
class Prices:
    """What the search pays beside the table, per item."""

    unsorted: float = 0.0
    wrong: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a set of thresholds does; shares 0..1, cost per item in the table's unit."""

    cost: float
    sorted_: float
    right: float  # of the sorted; NaN where none is

    def as_dict(self) -> dict[str, float]:
        """Plain values."""
        names = ("cost_per_item", "sorted", "right_of_sorted")
        return dict(
            zip(names, (round(v, 4) for v in (self.cost, self.sorted_, self.right)), strict=True)
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The thresholds found, and how sure they are."""

    thresholds: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]  # 95 %, over the draws
    prices: Prices
    reached: bool  # whether the asked share of items is sorted
    accurate: bool  # whether the asked share of the sorted is right
    before: Outcome
    after: Outcome  # on the photos they were chosen on
    held_out: Outcome  # each photo by thresholds that it had no part in
    saved_95: tuple[float, float]  # before less held_out, per item


def items_of(bundle: Bundle, seen: Seen, truth: Labels) -> Items:
    """What the evidence and the margin of a bundle let through to the thresholds."""
    probs, rule = seen.answers.probs, bundle.rejection
    able = margins(probs) >= bundle.min_margin
    if rule is not None:
        able &= evidence_of(rule, seen.answers) >= rule.threshold
    return Items(probs, truth[seen.rows], seen.rows, able)


def done(items: Items, thresholds: npt.ArrayLike) -> Flags:
    """(m,) which are sorted, as edge.decide does from one frame."""
    needed = np.asarray(thresholds)[items.probs.argmax(1)]
    return np.asarray(items.able & (items.probs.max(1) >= needed))


def costs_of(items: Items, sorted_: Flags, table: CostTable) -> Costs:
    """(m,) by the table."""
    said = items.probs.argmax(1)
    return np.where(sorted_, table.wrong[items.truth, said], table.safe[items.truth])


def outcome(items: Items, sorted_: Flags, table: CostTable) -> Outcome:
    """The mean over the items."""
    right = items.probs.argmax(1)[sorted_] == items.truth[sorted_]
    cost = float(costs_of(items, sorted_, table).mean())
    return Outcome(cost, float(sorted_.mean()), float(right.mean()) if len(right) else float("nan"))


def view_outcome(
    items: Items, seen: Seen, view: str, thresholds: npt.ArrayLike, table: CostTable
) -> Outcome:
    """Of one kind of view alone."""
    mine = items.subset(np.array([kind == view for kind in seen.views]))
    return outcome(mine, done(mine, thresholds), table)


def search(items: Items, table: CostTable, prices: Prices) -> npt.NDArray[np.float64]:
    """(DRAWS, n): for each draw of the photos, the cheapest threshold of each class."""
    names, place = np.unique(items.photos, return_inverse=True)
    weigh = _draws(len(names), DRAWS)
    said, confidence = items.probs.argmax(1), items.probs.max(1).astype(np.float64)
    labels = np.arange(items.probs.shape[1])
    found = np.zeros((DRAWS, len(labels)))
    for label in labels:
        mine = said == label
        beliefs = _beliefs(items, mine)
        if_sorted = beliefs @ (table.wrong[:, label] + prices.wrong * (labels != label))
        if_safe = beliefs @ table.safe + prices.unsorted
        gain = np.where(items.able[mine], if_sorted - if_safe, 0.0)
        # Above a threshold lie the last of the sorted items: sums from the end, and no BLAS,
        # whose threads wait for each other on a busy machine.
        order = np.argsort(confidence[mine])
        weighted = weigh[:, place[mine][order]] * gain[order]
        sums = np.cumsum(weighted[:, ::-1], axis=1)[:, ::-1]
        sums = np.concatenate([sums, np.zeros((len(sums), 1))], axis=1)
        found[:, label] = _middles(sums[:, np.searchsorted(confidence[mine][order], GRID)])
    return found


@lru_cache(maxsize=16)
def _draws(photos: int, count: int) -> npt.NDArray[np.int64]:
    """(count, photos) how often each photo is in each bootstrap draw."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(photos, np.full(photos, 1 / photos), size=count)


def _beliefs(items: Items, which: Flags) -> npt.NDArray[np.float64]:
    """(m, n) what each item is: its label's word and its calibrated probabilities, mixed."""
    probs = items.probs[which].astype(np.float64)
    told = np.eye(probs.shape[1])[items.truth[which]]
    return np.asarray(TRUTH_SHARE * told + (1 - TRUTH_SHARE) * probs)


def _middles(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of each row, the middle of the first run of least cost: between two photos all are alike."""
    least = totals <= totals.min(1, keepdims=True) + 1e-9
    first = least.argmax(1)
    after = np.arange(totals.shape[1])[None] >= first[:, None]
    ended = after & ~least
    last = np.where(ended.any(1), ended.argmax(1), totals.shape[1]) - 1
    return np.asarray((GRID[first] + GRID[last]) / 2)


def choose(
    items: Items,
    table: CostTable,
    bundle: Bundle,
    *,
    sorts: float,
    least_accuracy: float,
    sorted_first: bool = False,
) -> Choice:
    """Thresholds by the rule above, with what they cost before, after, and out of fold.

    Where not both wishes can be had, being right wins, or with `sorted_first` sorting enough.
    """
    prices, reached = _prices(items, table, sorts, least_accuracy, sorted_first)
    draws = search(items, table, prices)
    thresholds = _medians(draws)
    before, fresh = done(items, bundle.thresholds), _out_of_fold(items, table, prices)
    saved = costs_of(items, before, table) - costs_of(items, fresh, table)
    intervals = [np.percentile(column, (2.5, 97.5)) for column in draws.T]
    return Choice(
        thresholds=tuple(thresholds.tolist()),
        intervals=tuple((round(float(a), 2), round(float(b), 2)) for a, b in intervals),
        prices=prices,
        reached=reached,
        accurate=not outcome(items, fresh, table).right < least_accuracy,
        before=outcome(items, before, table),
        after=outcome(items, done(items, thresholds), table),
        held_out=outcome(items, fresh, table),
        saved_95=_bootstrap(saved, items.photos),
    )


def _out_of_fold(items: Items, table: CostTable, prices: Prices) -> Flags:
    """(m,) which are sorted by thresholds that their photo had no part in."""
    fresh = np.zeros(len(items.truth), bool)
    folds = items.photos % FOLDS
    for fold in range(FOLDS):
        mine = folds == fold
        if mine.any() and not mine.all():
            others = _medians(search(items.subset(~mine), table, prices))
            fresh[mine] = done(items.subset(mine), others)
    return fresh


def _medians(draws: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.round(np.median(draws, axis=0), 2)


def _prices(
    items: Items, table: CostTable, sorts: float, least_accuracy: float, sorted_first: bool
) -> tuple[Prices, bool]:
    """The least price with which the first wish is had, and the least for the second, if it can be.

    Both are judged out of fold, for a floor that holds only where it was set is none. Both
    searches are monotone: a dearer mistake raises thresholds, a dearer abstention lowers them.
    """

    def at(prices: Prices) -> Outcome:
        return outcome(items, _out_of_fold(items, table, prices), table)

    def right_enough(found: Outcome) -> bool:
        return not found.right < least_accuracy  # NaN: nothing is sorted, so nothing is wrong

    def sorted_enough(found: Outcome) -> bool:
        return found.sorted_ >= sorts

    if sorted_first:
        unsorted, wrong = _pair(lambda a, b: at(Prices(a, b)), sorted_enough, right_enough)
    else:
        wrong, unsorted = _pair(lambda a, b: at(Prices(b, a)), right_enough, sorted_enough)
    prices = Prices(unsorted, wrong)
    return prices, sorted_enough(at(prices))


def _pair(
    at: Callable[[float, float], Outcome],
    first: Callable[[Outcome], bool],
    second: Callable[[Outcome], bool],
) -> tuple[float, float]:
    """The price of each wish, the first one's so that it is had, the second's while it still is."""
    last = len(PRICES) - 1
    own = PRICES[_first(lambda i: first(at(PRICES[i], 0.0)), last)]
    enough = _first(lambda i: second(at(own, PRICES[i])), last)
    lost = _first(lambda i: not first(at(own, PRICES[i])), enough + 1)
    return own, PRICES[min(enough, max(0, lost - 1))]


def _first(holds: Callable[[int], bool], last: int) -> int:
    """The first of 0..last from which on something holds; `last` where it never does."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _bootstrap(values: Costs, photos: Labels) -> tuple[float, float]:
    """95 % interval of the mean per item, drawing whole photos (Efron 1979)."""
    names, place = np.unique(photos, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    weigh = _draws(len(names), 2000)
    low, high = np.percentile((weigh @ sums) / (weigh @ counts), (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)


def write(
    bundle_path: Path, choice: Choice, table: CostTable, wishes: dict[str, Any], original: Outcome
) -> Bundle:
    """Put thresholds, table and costs into the bundle, one version up."""
    bundle = load_bundle(bundle_path)
    card = {
        "rule": RULE,
        **wishes,
        "table": table.as_dict(bundle.labels),
        **figures_of(choice, bundle.labels),
    }
    calibration = {
        **bundle.card.get("calibration", {}),
        "rule": RULE,
        "coverage": round(original.sorted_, 5),
        "selective_accuracy": round(original.right, 5),
    }
    thresholds = dict(zip(bundle.labels, choice.thresholds, strict=True))
    changes = {"thresholds": thresholds, "costs": card, "calibration": calibration}
    return bundles.amend(bundle_path, changes)


def figures_of(choice: Choice, labels: tuple[str, ...]) -> dict[str, Any]:
    """Plain values, for a card and for `--json`."""
    return {
        "sorts_reached": choice.reached,
        "least_accuracy_reached": choice.accurate,
        "thresholds": dict(zip(labels, choice.thresholds, strict=True)),
        "thresholds_95": {
            label: list(pair) for label, pair in zip(labels, choice.intervals, strict=True)
        },
        "before": choice.before.as_dict(),
        "after": choice.after.as_dict(),
        "after_out_of_fold": choice.held_out.as_dict(),
        "saved_per_item_95": list(choice.saved_95),
    }
