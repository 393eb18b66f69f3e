"""Whether a signed bundle may replace the one that runs: its version, labels, and a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.errors import BundleError
from edge.pictures import read_picture
from edge.update.errors import UpdateError

# Of the 30 canary pictures; an equally good model may fall on other ones of them.
MOST_LOST = 4


@dataclass(frozen=True, slots=True)
class Canary:
    """A picture whose class is known."""

    path: Path
    label: str


def canaries_of(folder: Path, labels: tuple[str, ...]) -> list[Canary]:
    """The sample stills of the classes that a model knows; none for a model of other classes."""
    content = json.loads((folder / "samples.json").read_text("utf-8"))
    found = [Canary(folder / entry["file"], entry["label"]) for entry in content["stills"]]
    return [canary for canary in found if canary.label in labels]


def check_step(version: int, running: Bundle, refused: dict[int, str]) -> None:
    """Refuse a version that was refused before or is not newer; raises UpdateError."""
    if version in refused:
        raise UpdateError(
            f"version {version}: refused before on this bin ({refused[version]}); "
            "release a repaired model under a higher version",
            lasting=True,
        )
    if version <= running.version:
        raise UpdateError(
            f"version {version}: not newer than {running.model_id}, which runs; a downgrade is "
            "refused: release the old model under a higher version, or use "
            "`smartbin model rollback` on the bin",
            lasting=True,
        )


def check_bundle(candidate: Bundle, version: int, running: Bundle) -> None:
    """Refuse a bundle that is not what was announced or sorts other things; raises UpdateError."""
    if candidate.version != version:
        raise UpdateError(
            f"{candidate.model_id}: the release says version {version}; files were swapped",
            lasting=True,
        )
    if candidate.labels != running.labels:
        raise UpdateError(
            f"{candidate.model_id}: labels are {', '.join(candidate.labels)}, this bin sorts "
            f"{', '.join(running.labels)}; other classes are a change of the site: install it by "
            "hand and adapt [routes]",
            lasting=True,
        )


def open_candidate(candidate: Bundle, threads: int) -> Classifier:
    """The network opened and warmed up; raises UpdateError where it cannot be."""
    try:
        return Classifier(candidate, threads=threads)
    except BundleError as error:
        raise UpdateError(str(error), lasting=True) from error


def check_canaries(
    candidate: Classifier, running: Classifier, canaries: list[Canary]
) -> tuple[int, int]:
    """Right answers of both, candidate first; raises UpdateError where it lost too many."""
    right = [0, 0]
    for canary in canaries:
        pixels = read_picture(canary.path)
        for i, classifier in enumerate((candidate, running)):
            best = int(classifier.classify(pixels).probs.argmax())
            right[i] += classifier.labels[best] == canary.label
    if right[0] < right[1] - MOST_LOST:
        raise UpdateError(
            f"canary pictures: {right[0]} of {len(canaries)} right, the running model has "
            f"{right[1]}; at most {MOST_LOST} fewer are allowed",
            lasting=True,
        )
    return right[0], right[1]
