"""Figures of merit, from labels and probabilities; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]  # (n,) index into the bundle's labels
Probs = npt.NDArray[np.float32]  # (n, classes)
Z_95 = 1.959964


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), in 0..1."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def share_text(share: float, n: int) -> str:
    """A share of n with its 95 % interval, for people: 93.90% of 328 (90.8 to 96.0)."""
    low, high = wilson(round(share * n), n)
    return f"{share:.2%} of {n} ({100 * low:.1f} to {100 * high:.1f})"


def confusion(truth: Labels, found: Labels, classes: int) -> npt.NDArray[np.int64]:
    """(classes, classes) counts; rows are the truth, columns what was said."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, found), 1)
    return table


@dataclass(frozen=True, slots=True)
class Report:
    """What `evaluate --json` prints; shares are 0..1."""

    n: int
    accuracy: float
    macro_f1: float  # mean over the classes that the data has
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    labels: tuple[str, ...]

    @property
    def wilson_95(self) -> tuple[float, float]:
        """The interval of the accuracy."""
        return wilson(round(self.accuracy * self.n), self.n)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "wilson_95": list(self.wilson_95),
            "macro_f1": self.macro_f1,
            "per_class": self.per_class,
            "confusion": self.confusion,
            "labels": list(self.labels),
        }


def report(truth: Labels, found: Labels, labels: tuple[str, ...]) -> Report:
    """Accuracy, precision, recall and F1 of each class."""
    table = confusion(truth, found, len(labels))
    per_class = {label: _class_scores(table, i) for i, label in enumerate(labels)}
    present = [scores["f1"] for scores in per_class.values() if scores["n"]]
    return Report(
        n=len(truth),
        accuracy=float((truth == found).mean()),
        macro_f1=float(np.mean(present)),
        per_class=per_class,
        confusion=table.tolist(),
        labels=labels,
    )


def _class_scores(table: npt.NDArray[np.int64], i: int) -> dict[str, float]:
    hits, said, there = int(table[i, i]), int(table[:, i].sum()), int(table[i].sum())
    precision = hits / said if said else 0.0
    recall = hits / there if there else 0.0
    f1 = 2 * hits / (said + there) if said + there else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "n": there}


def calibration_error(probs: Probs, truth: Labels, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., ICML 2017) of the best class, 0..1."""
    confidence, right = probs.max(1), probs.argmax(1) == truth
    slot = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for i in range(bins):
        inside = slot == i
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)


def accuracy_entry(hits: int, n: int, *, metric: str, data: str, split: str) -> dict[str, Any]:
    """One line of a model card: a share, its interval, and what it was measured on."""
    low, high = wilson(hits, n)
    return {
        "metric": metric,
        "value": round(hits / n, 5) if n else 0.0,
        "data": data,
        "split": split,
        "n": n,
        "wilson_95": [round(low, 5), round(high, 5)],
    }
