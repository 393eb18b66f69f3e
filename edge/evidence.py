"""Whether a crop looks like any class at all: one number from a network's answers, and a floor.

A softmax is sure of six classes even where a hand lies on the tray. What is measured here is lower
for things of no class; which measure, and its floor, the trainer chooses and the bundle carries.
All measures take calibrated logits (divided by the bundle's temperature) and are high for items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
Numbers = Mapping[str, npt.NDArray[np.float32]]
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a bundle says of things that are none of its classes; `reject` in its card."""

    kind: str  # one of KINDS
    threshold: float  # evidence below it: none of the classes
    numbers: Numbers = field(default_factory=dict)  # what the kind has learned, if anything

    @property
    def needs_features(self) -> bool:
        return KINDS[self.kind].needs_features

    def evidence(self, logits: Vector, features: Vector | None = None) -> float:
        """Of one crop: calibrated logits (n,), and (k,) features where `needs_features`."""
        return float(KINDS[self.kind].measure(logits, features, self.numbers))

    def reason(self, evidence: float, classes: int) -> str:
        """Why an item below the floor goes the safe way, for a person."""
        name = KINDS[self.kind].words
        return (
            f"looks like none of the {classes} classes: "
            f"{name} {evidence:.2f} under {self.threshold:.2f}"
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to measure."""

    words: str  # as a reason names it
    measure: Callable[[Vector, Any, Numbers], float]
    shapes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of its numbers
    needs_features: bool = False


def softmax_of(logits: Vector) -> Vector:
    """Probabilities of (n,) logits."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def _confidence(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Greatest probability (Hendrycks and Gimpel, ICLR 2017)."""
    return float(softmax_of(logits).max())


def _energy(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Negative free energy, log of the sum of exp(logit) (Liu et al., NeurIPS 2020)."""
    top = float(logits.max())
    return top + float(np.log(np.exp(logits - top).sum()))


def _max_logit(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Greatest logit (Hendrycks et al., ICML 2022)."""
    return float(logits.max())


def _margin(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Distance of the greatest two logits."""
    second, first = np.sort(logits)[-2:]
    return float(first - second)


def _certainty(logits: Vector, features: Any, numbers: Numbers) -> float:
    """1 minus the entropy as a share of the greatest there can be: 0 for all classes alike."""
    probs = softmax_of(logits)
    entropy = -float((probs * np.log(probs + TINY)).sum())
    return 1 - entropy / float(np.log(len(probs)))


def _profile(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Log-odds of being an item, linear in the sorted logits."""
    return float(np.sort(logits)[::-1] @ numbers["weights"] + numbers["bias"][0])


def _distance(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Minus the Mahalanobis distance to the nearest class mean (Lee et al., NeurIPS 2018).

    With a diagonal precision, and divided by the number of features: about -1 for an item.
    """
    squares = (features - numbers["means"]) ** 2 * numbers["precision"]
    return -float(squares.mean(1).min())


def _cosine(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Greatest cosine with a class mean, both seen from the centre of all items."""
    return float(_cosines(features - numbers["centre"], numbers["means"]).max())


def _neighbours(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Mean cosine with the three nearest prototypes (after Sun et al., ICML 2022)."""
    return float(np.sort(_cosines(features, numbers["prototypes"]))[-3:].mean())


def _learned(logits: Vector, features: Any, numbers: Numbers) -> float:
    """Log-odds of being an item, linear in the features."""
    return float(features @ numbers["weights"] + numbers["bias"][0])


def _cosines(vector: Vector, rows: Vector) -> Vector:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    return np.asarray(rows @ vector / np.maximum(lengths, TINY), np.float32)


# Shapes: n classes, k features, m prototypes.
KINDS: Mapping[str, Kind] = {
    "confidence": Kind("confidence", _confidence),
    "energy": Kind("energy", _energy),
    "max_logit": Kind("greatest logit", _max_logit),
    "margin": Kind("distance to the second class", _margin),
    "certainty": Kind("certainty", _certainty),
    "profile": Kind("log-odds", _profile, {"weights": ("n",), "bias": ("1",)}),
    "distance": Kind(
        "nearness to a class", _distance, {"means": ("n", "k"), "precision": ("k",)}, True
    ),
    "cosine": Kind("likeness", _cosine, {"means": ("n", "k"), "centre": ("k",)}, True),
    "neighbours": Kind("likeness", _neighbours, {"prototypes": ("m", "k")}, True),
    "learned": Kind("log-odds", _learned, {"weights": ("k",), "bias": ("1",)}, True),
}


def parse_rejection(card: Any, classes: int) -> Rejection | None:
    """The `reject` object of a bundle's card; None where there is none.

    Raises ValueError with a sentence that says which part is wrong.
    """
    if card is None:
        return None
    if not isinstance(card, dict):
        raise ValueError("reject: must be an object with kind and threshold")
    kind = card.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"reject.kind = {kind!r}: must be one of {', '.join(KINDS)}")
    threshold = card.get("threshold")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise ValueError(f"reject.threshold = {threshold!r}: must be a number")
    if not np.isfinite(threshold):
        raise ValueError(f"reject.threshold = {threshold!r}: must be finite")
    return Rejection(kind, float(threshold), _numbers(card.get("numbers", {}), kind, classes))


def _numbers(given: Any, kind: str, classes: int) -> Numbers:
    """Every array that the kind needs, of shapes that agree with each other."""
    if not isinstance(given, dict):
        raise ValueError("reject.numbers: must be an object of lists")
    sizes = {"n": classes, "1": 1}
    found: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in KINDS[kind].shapes.items():
        try:
            array = np.array(given[name], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"reject.numbers.{name}: missing or no list of numbers, {kind} needs it"
            ) from error
        wanted = tuple(sizes.setdefault(letter, length) for letter, length in _pairs(shape, array))
        if array.shape != wanted or not np.isfinite(array).all():
            raise ValueError(
                f"reject.numbers.{name}: shape {array.shape}, {kind} needs finite {wanted}"
            )
        found[name] = array
    return found


def _pairs(shape: tuple[str, ...], array: npt.NDArray[np.float32]) -> list[tuple[str, int]]:
    """Each dimension's letter with the length it has; 0 where the array has fewer dimensions."""
    lengths = [*array.shape, *[0] * len(shape)]
    return list(zip(shape, lengths, strict=False))


def features_of(rejection: Rejection) -> int | None:
    """How many features the numbers are for; None where none are needed."""
    for name, shape in KINDS[rejection.kind].shapes.items():
        if "k" in shape:
            return int(rejection.numbers[name].shape[shape.index("k")])
    return None
