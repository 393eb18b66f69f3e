"""Scores a bundle through the code that runs in the bin: reader, preprocessing, classifier."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.errors import SmartbinError, UsageError
from edge.pictures import read_picture
from trainer.data import PhotoSet
from trainer.scoring import Labels, Probs, Report, report, wilson


def truth_of(photos: PhotoSet, labels: tuple[str, ...]) -> Labels:
    """Each photo's class as an index into the bundle's labels."""
    strange = sorted({photos.classes[i] for i in photos.targets} - set(labels))
    if strange:
        raise UsageError(
            f"{photos.root}: class {strange[0]} is none of the bundle's labels, "
            f"which are {', '.join(labels)}"
        )
    order = np.array([labels.index(name) if name in labels else -1 for name in photos.classes])
    return np.asarray(order[photos.targets], np.int64)


def predict(bundle: Bundle, photos: PhotoSet, tick: Callable[[], object] = lambda: None) -> Probs:
    """(n, classes) calibrated probabilities, one view each, as `smartbin classify` has them."""
    classifier = Classifier(bundle)
    rows = []
    for path in photos.paths:
        rows.append(classifier.classify(read_picture(path)).probs)
        tick()
    return np.stack(rows)


def evaluate(
    bundle_path: Path,
    photos: PhotoSet,
    csv_path: Path | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Report:
    """Accuracy, macro F1 and confusion of a bundle on labelled photos."""
    truth, found, labels = answers(bundle_path, photos, csv_path, tick)
    return report(truth, found, labels)


def answers(
    bundle_path: Path,
    photos: PhotoSet,
    csv_path: Path | None = None,
    tick: Callable[[], object] = lambda: None,
) -> tuple[Labels, Labels, tuple[str, ...]]:
    """(n,) what each photo shows, (n,) what the bundle says, and the labels of both."""
    bundle = load_bundle(bundle_path)
    truth = truth_of(photos, bundle.labels)
    probs = predict(bundle, photos, tick)
    if csv_path is not None:
        write_csv(csv_path, photos, truth, probs, bundle.labels)
    return truth, np.asarray(probs.argmax(1), np.int64), bundle.labels


def write_csv(
    path: Path, photos: PhotoSet, truth: Labels, probs: Probs, labels: tuple[str, ...]
) -> None:
    """One line per picture: file, truth, what was said, and the probability of each label."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "truth", "found", *(f"p_{label}" for label in labels)])
            for photo, wanted, row in zip(photos.paths, truth, probs, strict=True):
                name = f"{photo.parent.name}/{photo.name}"
                shares = [f"{share:.6f}" for share in row]
                writer.writerow([name, labels[wanted], labels[int(row.argmax())], *shares])
    except OSError as error:
        raise SmartbinError(f"{path}: cannot be written ({error.strerror})") from error


def as_text(result: Report) -> str:
    """For a person: one line per class, then the whole, with 95 % intervals (Wilson)."""
    lines = [_class_line(label, scores) for label, scores in result.per_class.items()]
    low, high = result.wilson_95
    lines.append(
        f"{result.accuracy:.2%} of {result.n} right (95 % interval {low:.1%} to {high:.1%}), "
        f"macro F1 {result.macro_f1:.3f}"
    )
    return "\n".join(lines)


def _class_line(label: str, scores: dict[str, float]) -> str:
    """A recall is a share of the class's pictures, often few: its interval stands with it."""
    n, recall = int(scores["n"]), scores["recall"]
    low, high = wilson(round(recall * n), n)
    told = f"{recall:.3f} ({low:.3f} to {high:.3f})"
    return f"{label:>12}  precision {scores['precision']:.3f}  recall {told}  n {n}"


def logits_of(
    onnx: bytes, inputs: npt.NDArray[np.float32], tick: Callable[[], object] = lambda: None
) -> npt.NDArray[np.float32]:
    """(n, classes) raw logits of prepared inputs (n, 3, S, S), before a bundle exists."""
    from edge.runtime import Runtime

    runtime = Runtime(onnx, name="network")
    rows = []
    for i in range(len(inputs)):
        rows.append(runtime.run(inputs[i : i + 1])[0])
        tick()
    return np.stack(rows)
