"""Intervals and curves that say how sure a figure of merit is; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.scoring import Labels, Probs, wilson

Interval = tuple[float, float]  # shares, 0..1
DRAWS, SEED = 2000, 2026
BINS = 15  # as trainer.scoring.calibration_error counts


def f1_scores(tables: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(..., classes, classes) counts to (..., classes) F1; NaN where a class is nowhere."""
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    around = tables.sum(-1) + tables.sum(-2)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * hits / around, np.float64)


@dataclass(frozen=True, slots=True)
class F1Intervals:
    """95 % percentile intervals (Efron 1979)."""

    macro: Interval
    per_class: tuple[Interval, ...]


def bootstrap_f1(table: npt.NDArray[np.int64], draws: int = DRAWS, seed: int = SEED) -> F1Intervals:
    """Redraw the pictures of a confusion matrix (classes, classes) with replacement.

    Drawing n pictures with replacement is one multinomial draw of the matrix's cells, which needs
    no list of pictures. Classes that the data has not are left out of the mean, as in `report`.
    """
    n, present = int(table.sum()), table.sum(1) > 0
    shares = table.ravel() / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=draws)
    scores = f1_scores(drawn.reshape(draws, *table.shape))
    macro = np.nanmean(scores[:, present], axis=1)
    # A class that no draw had and no draw named tells nothing: 0..1.
    per_class = tuple(
        _percentiles(column[~np.isnan(column)]) if not np.isnan(column).all() else (0.0, 1.0)
        for column in scores.T
    )
    return F1Intervals(_percentiles(macro), per_class)


def _percentiles(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures of about one confidence; shares 0..1."""

    low: float  # of the confidence
    high: float
    n: int
    confidence: float  # mean
    accuracy: float
    wilson_95: Interval


def reliability(probs: Probs, truth: Labels, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal width over the best class's confidence; empty ones are left out."""
    confidence, right = probs.max(1), probs.argmax(1) == truth
    slot = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for i in range(bins):
        inside = slot == i
        n = int(inside.sum())
        if n:
            hits = int(right[inside].sum())
            mean = float(confidence[inside].mean())
            found.append(Bin(i / bins, (i + 1) / bins, n, mean, hits / n, wilson(hits, n)))
    return tuple(found)


def risk_coverage(
    probs: Probs, truth: Labels
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coverage (m,) and risk (m,) as the confidence demanded falls (El-Yaniv and Wiener 2010).

    One point per confidence that occurs, so that the order of equal ones does not matter.
    """
    confidence = probs.max(1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probs.argmax(1) != truth)[order]
    kept = np.arange(1, len(truth) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)
    return (kept / len(truth))[last], (np.cumsum(wrong) / kept)[last]


def mean_risk(coverage: npt.NDArray[np.float64], risk: npt.NDArray[np.float64]) -> float:
    """Area under the risk-coverage curve (Geifman and El-Yaniv 2017), as steps."""
    return float((np.diff(coverage, prepend=0.0) * risk).sum())
