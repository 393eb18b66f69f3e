"""One search for thresholds by a table of costs, from what a bundle saw to a row of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from trainer import costs
from trainer.cost_table import SHIPPED, CostTable, read_table
from trainer.scoring import Labels
from trainer.views import Seen


@dataclass(frozen=True, slots=True)
class Wishes:
    """What thresholds must hold to; shares are 0..1."""

    sorts: float  # of the items
    least_accuracy: float  # of what is sorted
    sorted_first: bool = False  # where both cannot be had: enough sorted, else enough right

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a card; `first` is what wins where both cannot be had."""
        first = "sorts" if self.sorted_first else "least_accuracy"
        return {
            "sorts": round(self.sorts, 4),
            "least_accuracy": self.least_accuracy,
            "first": first,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """Thresholds for one bundle, and how each kind of view fares by them."""

    bundle: Bundle
    table: CostTable
    wishes: Wishes
    choice: costs.Choice
    views: dict[str, costs.Outcome]

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and for the tables of trainer.costs_text."""
        labels = self.bundle.labels
        return {
            **self.wishes.as_dict(),
            **costs.figures_of(self.choice, labels),
            "thresholds_before": dict(zip(labels, self.bundle.thresholds, strict=True)),
            "views": {view: found.as_dict() for view, found in self.views.items()},
        }

    def write(self, path: Path) -> str:
        """Put thresholds, table and costs into the bundle there; its new id."""
        wishes, original = self.wishes.as_dict(), self.views["original"]
        return costs.write(path, self.choice, self.table, wishes, original).model_id


def search(bundle: Bundle, seen: Seen, truth: Labels, table: Path | None, wishes: Wishes) -> Found:
    """By what the bundle's own evidence and margin let through; `truth` is of the photos."""
    prices = read_table(table or SHIPPED, bundle.labels)
    items = costs.items_of(bundle, seen, truth)
    choice = costs.choose(
        items,
        prices,
        bundle,
        sorts=wishes.sorts,
        least_accuracy=wishes.least_accuracy,
        sorted_first=wishes.sorted_first,
    )
    views = {
        view: costs.view_outcome(items, seen, view, choice.thresholds, prices)
        for view in dict.fromkeys(seen.views)
    }
    return Found(bundle, prices, wishes, choice, views)


def sorted_share(bundle: Bundle, seen: Seen, truth: Labels) -> float:
    """What the bundle sorts of the views with the thresholds it has."""
    items = costs.items_of(bundle, seen, truth)
    return float(costs.done(items, bundle.thresholds).mean())
