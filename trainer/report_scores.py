"""What a report knows of each picture, and the figures that follow from it; no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle
from edge.classifier import Classifier, softmax
from edge.decide import Routes, Rules, decide
from edge.pictures import read_picture
from edge.values import Decision, Prediction
from trainer.data import PhotoSet
from trainer.evaluate import truth_of
from trainer.intervals import F1Intervals, bootstrap_f1
from trainer.scoring import Labels, Probs, Report, calibration_error, confusion, report, wilson

LEAST_PROB = 1e-38  # the smallest float32; the logarithm of 0 has no place in a table


def rules_of(bundle: Bundle) -> Rules:
    """The bundle's own rules, for one frame alone."""
    return Rules(
        bundle.labels,
        bundle.thresholds,
        bundle.min_margin,
        min_agreement=0.0,
        rejection=bundle.rejection,
    )


def decide_one(bundle: Bundle, prediction: Prediction) -> Decision:
    """What a bin would do on this one view; where things go is the site's business."""
    return decide([prediction], rules=rules_of(bundle), routes=Routes("-", {}))


@dataclass(frozen=True, slots=True)
class Scored:
    """A bundle's answers to n labelled pictures."""

    bundle: Bundle
    photos: PhotoSet
    truth: Labels  # (n,) index into the bundle's labels
    probs: Probs  # (n, classes), calibrated
    outcomes: tuple[str, ...]  # of edge.decide, one view each

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.labels

    @property
    def found(self) -> Labels:
        """(n,) the best class."""
        return np.asarray(self.probs.argmax(1), np.int64)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.found == self.truth)

    @property
    def sorted_(self) -> npt.NDArray[np.bool_]:
        """(n,) which pictures a bin would sort."""
        return np.array([outcome == "sorted" for outcome in self.outcomes])

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """(n,) cross entropy of the label that stands on the folder, in nats."""
        own = self.probs[np.arange(len(self.truth)), self.truth]
        return -np.log(np.maximum(own.astype(np.float64), LEAST_PROB))

    @property
    def uncalibrated(self) -> Probs:
        """(n, classes) with temperature 1: the logits are known up to a constant each."""
        logits = np.log(np.maximum(self.probs, LEAST_PROB)) * np.float32(self.bundle.temperature)
        return softmax(logits)

    def name(self, row: int) -> str:
        """CLASS/FILE, which tells nothing of the machine."""
        path = self.photos.paths[row]
        return f"{path.parent.name}/{path.name}"


def score(bundle: Bundle, photos: PhotoSet, tick: Callable[[], object] = lambda: None) -> Scored:
    """Every picture once through the code that runs in the bin."""
    truth = truth_of(photos, bundle.labels)
    classifier = Classifier(bundle)
    rows, outcomes = [], []
    for path in photos.paths:
        prediction = classifier.classify(read_picture(path))
        rows.append(prediction.probs)
        outcomes.append(decide_one(bundle, prediction).outcome)
        tick()
    return Scored(bundle, photos, truth, np.stack(rows), tuple(outcomes))


@dataclass(frozen=True, slots=True)
class Share:
    """A count among others, with its 95 % interval (Wilson 1927)."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.n)


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers at the head of a report; shares are 0..1."""

    summary: Report
    accuracy: Share
    coverage: Share  # sorted, of all
    selective: Share  # right, of the sorted
    f1: F1Intervals
    ece_before: float
    ece_after: float

    def as_dict(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {
            "n": self.summary.n,
            "accuracy": self.summary.accuracy,
            "accuracy_wilson_95": list(self.accuracy.interval),
            "macro_f1": self.summary.macro_f1,
            "macro_f1_bootstrap_95": list(self.f1.macro),
            "ece_before": self.ece_before,
            "ece_after": self.ece_after,
            "coverage": self.coverage.value,
            "selective_accuracy": self.selective.value if self.selective.n else None,
            "selective_wilson_95": list(self.selective.interval),
        }


def figures_of(scored: Scored) -> Figures:
    """Everything that is one number, with its interval."""
    table = confusion(scored.truth, scored.found, len(scored.labels))
    chosen, n = scored.sorted_, len(scored.truth)
    return Figures(
        summary=report(scored.truth, scored.found, scored.labels),
        accuracy=Share(int(scored.right.sum()), n),
        coverage=Share(int(chosen.sum()), n),
        selective=Share(int(scored.right[chosen].sum()), int(chosen.sum())),
        f1=bootstrap_f1(table),
        ece_before=calibration_error(scored.uncalibrated, scored.truth),
        ece_after=calibration_error(scored.probs, scored.truth),
    )


def suspects(probs: Probs, truth: Labels) -> npt.NDArray[np.bool_]:
    """(n,) pictures whose label is probably wrong, by confident learning.

    Another class is the best one and at least as probable as it is on average where it is the
    label (Northcutt, Jiang and Chuang, JAIR 2021).
    """
    classes = probs.shape[1]
    usual = np.full(classes, np.inf)  # a class that the data has not is never suspected
    for label in range(classes):
        if (truth == label).any():
            usual[label] = probs[truth == label, label].mean()
    found = probs.argmax(1)
    return np.asarray((found != truth) & (probs.max(1) >= usual[found]))


def by_harm(scored: Scored, most: int) -> list[int]:
    """Rows of the pictures with the greatest loss, worst first."""
    order = np.argsort(-scored.losses, kind="stable")
    return [int(row) for row in order[:most]]


def seen_before(bundle: Bundle, photos: PhotoSet) -> str:
    """What the card says of these very pictures; a report must not flatter in silence."""
    splits = bundle.card.get("data", {}).get("splits", {})
    mine = photos.sha256()
    if splits.get("train", {}).get("pictures_sha256") == mine:
        return (
            "These are the pictures that the network was trained on: no figure here says "
            "anything about others."
        )
    if splits.get("val", {}).get("pictures_sha256") == mine:
        return (
            "These are the pictures that the epoch, the temperature and the thresholds were "
            "chosen on: every figure here is somewhat better than on pictures never used."
        )
    return ""
