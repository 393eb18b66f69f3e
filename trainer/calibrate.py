"""Turns logits into honest confidences, and says below which of them a bin must abstain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.classifier import softmax
from trainer.scoring import Labels, Probs, calibration_error

LEAST_ACCURACY = 0.95  # of what is sorted, on validation
THRESHOLDS = np.round(np.arange(0.40, 0.901, 0.02), 2)
MARGINS = np.round(np.arange(0.0, 0.301, 0.05), 2)
FLAT_NATS = 0.0005  # cross entropies of a few hundred pictures that differ by less are equal
# One threshold for all labels: of some classes validation has a dozen pictures, and a threshold of
# their own would follow the noise (trash asked for 0.90 where its pictures were right).
RULE = (
    "on validation: the threshold in 0.40..0.90, the same for every label, and the min_margin in "
    "0..0.30 that sort most pictures while at least 95 % of the sorted are right (0.90 where none)"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a bundle says of its confidences; shares are 0..1."""

    temperature: float
    thresholds: tuple[float, ...]  # per label
    min_margin: float
    ece_before: float
    ece_after: float
    coverage: float  # share of the validation pictures that are sorted
    selective_accuracy: float  # of those


def calibrate(logits: npt.NDArray[np.float32], truth: Labels) -> Calibration:
    """Temperature (Guo et al., ICML 2017), thresholds and margin from validation logits (n, c)."""
    temperature = fit_temperature(logits, truth)
    probs = softmax(logits / np.float32(temperature))
    thresholds, margin = choose_thresholds(probs, truth)
    sorted_ = accepted(probs, thresholds, margin)
    right = probs.argmax(1) == truth
    return Calibration(
        temperature=temperature,
        thresholds=thresholds,
        min_margin=margin,
        ece_before=calibration_error(softmax(logits), truth),
        ece_after=calibration_error(probs, truth),
        coverage=float(sorted_.mean()),
        selective_accuracy=float(right[sorted_].mean()) if sorted_.any() else 0.0,
    )


def fit_temperature(logits: npt.NDArray[np.float32], truth: Labels) -> float:
    """The divisor of the logits, in 0.2..5, to 0.5 %, with the least cross entropy.

    Its valley is flat: among those as good to `FLAT_NATS` the one with the least calibration error.
    """
    candidates = np.exp(np.linspace(np.log(0.2), np.log(5), 640))
    rows = np.arange(len(truth))
    losses = []
    for temperature in candidates:
        scaled = logits / temperature
        scaled = scaled - scaled.max(1, keepdims=True)
        losses.append(float((np.log(np.exp(scaled).sum(1)) - scaled[rows, truth]).mean()))
    good = candidates[np.array(losses) <= min(losses) + FLAT_NATS]
    errors = [calibration_error(softmax(logits / np.float32(t)), truth) for t in good]
    return round(float(good[int(np.argmin(errors))]), 4)


def choose_thresholds(probs: Probs, truth: Labels) -> tuple[tuple[float, ...], float]:
    """By the rule above: the threshold of every label, and the margin."""
    right = probs.argmax(1) == truth
    labels = probs.shape[1]
    best_coverage, best = 0.0, (float(THRESHOLDS[-1]), 0.0)
    for margin in MARGINS:
        for threshold in THRESHOLDS:
            chosen = accepted(probs, (float(threshold),) * labels, float(margin))
            good_enough = chosen.any() and right[chosen].mean() >= LEAST_ACCURACY
            if good_enough and chosen.mean() > best_coverage:
                best_coverage, best = float(chosen.mean()), (float(threshold), float(margin))
    return (best[0],) * labels, best[1]


def margins(probs: Probs) -> npt.NDArray[np.float32]:
    """(n,) distance between the best two classes."""
    two = np.sort(probs, 1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def accepted(
    probs: Probs, thresholds: tuple[float, ...], min_margin: float
) -> npt.NDArray[np.bool_]:
    """(n,) which pictures edge.decide would sort, judged from one frame."""
    needed = np.array(thresholds, np.float32)[probs.argmax(1)]
    return np.asarray((probs.max(1) >= needed) & (margins(probs) >= min_margin))
