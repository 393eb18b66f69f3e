"""Learns the numbers of each measure of `edge.evidence` from items and from strange things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edge.evidence import KINDS, Numbers, Rejection
from trainer.scoring import Labels
from trainer.witness import Answers, Floats

Doubles = npt.NDArray[np.float64]
RIDGE = 0.05  # of the standardised features: 256 of them and some hundred pictures
ROUNDS = 25  # of Newton's method; it has converged after about ten
PROTOTYPES = 6  # per class
SHRINKAGE = 0.05  # of the variances towards their mean: some channels never fire


def usable(answers: Answers) -> tuple[str, ...]:
    """The kinds that can be measured: those of features only where there are any."""
    shown = answers.features is not None
    return tuple(name for name, kind in KINDS.items() if shown or not kind.needs_features)


def fit(kind: str, known: Answers, truth: Labels, unknown: Mapping[str, Answers]) -> Rejection:
    """The measure with its numbers; the floor is not set here (it is minus infinity).

    `unknown` is by kind of strange thing, and each kind weighs the same, however many there are.
    """
    numbers: Numbers = {}
    if kind == "profile":
        strange = [_descending(answers.logits) for answers in unknown.values()]
        numbers = _odds(_descending(known.logits), strange)
    elif kind == "learned":
        strange = [_features(answers) for answers in unknown.values()]
        numbers = _odds(_features(known), strange)
    elif kind == "distance":
        numbers = _distances(_features(known), truth, known.logits.shape[1])
    elif kind == "cosine":
        numbers = _directions(_features(known), truth, known.logits.shape[1])
    elif kind == "neighbours":
        numbers = {"prototypes": _prototypes(_features(known), truth)}
    return Rejection(kind, -np.inf, {name: _rounded(value) for name, value in numbers.items()})


def evidence_of(rejection: Rejection, answers: Answers) -> Doubles:
    """(m,) by the code that runs in the bin."""
    features = answers.features
    return np.array(
        [
            rejection.evidence(row, None if features is None else features[i])
            for i, row in enumerate(answers.logits)
        ]
    )


def _features(answers: Answers) -> Floats:
    assert answers.features is not None  # `usable` has left the kind out otherwise
    return answers.features


def _descending(logits: Floats) -> Floats:
    return np.asarray(-np.sort(-logits, axis=1), np.float32)


def _odds(known: Floats, unknown: Sequence[Floats]) -> Numbers:
    """Ridge logistic regression, both sides weighing the same, in the units of its input."""
    raw = np.concatenate([known, *unknown]).astype(np.float64)
    centre, spread = raw.mean(0), raw.std(0) + 1e-3
    rows = np.concatenate([(raw - centre) / spread, np.ones((len(raw), 1))], axis=1)
    target = np.repeat([1.0, 0.0], [len(known), len(raw) - len(known)])
    shares = [np.full(len(kind), 0.5 / len(unknown) / len(kind)) for kind in unknown]
    weigh = np.concatenate([np.full(len(known), 0.5 / len(known)), *shares])
    solution = _newton(rows, target, weigh)
    weights = solution[:-1] / spread
    return {
        "weights": weights.astype(np.float32),
        "bias": np.array([solution[-1] - weights @ centre], np.float32),
    }


def _newton(rows: Doubles, target: Doubles, weigh: Doubles) -> Doubles:
    """Least weighted logistic loss of (m, k) rows with a ridge on all but the last column."""
    ridge = np.full(rows.shape[1], RIDGE / rows.shape[1])
    ridge[-1] = 1e-9
    solution = np.zeros(rows.shape[1])
    for _ in range(ROUNDS):
        share = 1 / (1 + np.exp(-np.clip(rows @ solution, -30, 30)))
        slope = rows.T @ (weigh * (share - target)) + ridge * solution
        curve = (rows * (weigh * share * (1 - share))[:, None]).T @ rows + np.diag(ridge)
        solution = solution - np.linalg.solve(curve, slope)
    return solution


def _means(features: Floats, truth: Labels, classes: int) -> Floats:
    """(classes, k); a class that the data has not takes the mean of all."""
    everything = features.mean(0)
    return np.stack(
        [features[truth == c].mean(0) if (truth == c).any() else everything for c in range(classes)]
    )


def _distances(features: Floats, truth: Labels, classes: int) -> Numbers:
    means = _means(features, truth, classes)
    variance = ((features - means[truth]) ** 2).mean(0)
    variance = variance + SHRINKAGE * variance.mean()
    return {"means": means, "precision": 1 / variance}


def _directions(features: Floats, truth: Labels, classes: int) -> Numbers:
    means = _means(features, truth, classes)
    centre = means.mean(0)
    return {"means": means - centre, "centre": centre}


def _prototypes(features: Floats, truth: Labels) -> Floats:
    """(m, k) centres of k-means on the unit sphere, within each class."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    rng = np.random.default_rng(0)
    found = []
    for label in np.unique(truth):
        mine = unit[truth == label]
        centres = mine[rng.permutation(len(mine))[:PROTOTYPES]]
        for _ in range(10):
            nearest = (mine @ centres.T).argmax(1)
            groups = [mine[nearest == i] for i in range(len(centres))]
            centres = np.stack([g.mean(0) for g in groups if len(g)])
            centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
        found.append(centres)
    return np.concatenate(found)


def _rounded(values: Floats) -> Floats:
    """Five significant digits, as they are written into the card: what is measured is shipped."""
    flat = [float(f"{value:.5g}") for value in np.asarray(values).ravel()]
    return np.array(flat, np.float32).reshape(np.shape(values))
