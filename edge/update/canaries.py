"""Pictures whose class is known: those that come with smartbin, and the owner's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SmartbinError
from edge.pictures import list_pictures, read_picture
from edge.shipped import samples
from edge.update.errors import UpdateError
from edge.values import Pixels

INDEX = "samples.json"
WANTED = "a folder that holds one folder of pictures for each class"


@dataclass(frozen=True, slots=True)
class Canary:
    """A picture whose class is known."""

    path: Path
    label: str


def folders(own: str = "") -> tuple[Path, ...]:
    """Where canaries lie: the sample stills, those beside this file, the owner's if any."""
    built_in = (samples(), Path(__file__).parent / "known")
    return (*built_in, Path(own)) if own else built_in


def canaries_of(places: Sequence[Path], labels: Sequence[str]) -> list[Canary]:
    """Those of the classes that a model knows; none for a model of other classes.

    A folder lists them in samples.json, or has one folder for each class. Raises UpdateError where
    one cannot be read.
    """
    found = [canary for place in places for canary in _listed(place)]
    return [canary for canary in found if canary.label in labels]


def faults_of(own: str, labels: Sequence[str]) -> list[str]:
    """What is wrong with the owner's folder, a sentence each; `labels` may be empty: unknown yet.

    At an update the first of these would end it, or the pictures would be passed over in silence.
    """
    if not own:
        return []
    place = Path(own)
    if not place.is_dir():
        what = "is a file" if place.exists() else "is not there"
        return [f"update.canaries: {own}: {what}; name {WANTED}, or leave it empty"]
    try:
        found = _listed(place)
    except UpdateError as error:
        return [f"update.canaries: {error}"]
    strange = sorted({canary.label for canary in found} - set(labels)) if labels else []
    faults = [
        f"update.canaries: {own}: {name} is no class of the model, which knows "
        f"{', '.join(labels)}; rename that folder, or take it out"
        for name in strange
    ]
    if not found:
        faults.append(f"update.canaries: {own}: no picture is in it; name {WANTED}")
    for canary in found:
        try:
            read(canary)
        except UpdateError as error:
            faults.append(f"update.canaries: {error}")
    return faults


def read(canary: Canary) -> Pixels:
    """(H, W, 3) uint8 RGB; raises UpdateError."""
    try:
        return read_picture(canary.path)
    except SmartbinError as error:
        raise UpdateError(f"canary pictures: {error}") from error


def _listed(place: Path) -> list[Canary]:
    try:
        if (place / INDEX).is_file():
            rows = json.loads((place / INDEX).read_text("utf-8"))["stills"]
            return [Canary(place / row["file"], str(row["label"])) for row in rows]
        classes = sorted(path for path in place.iterdir() if path.is_dir())
        return [Canary(path, kind.name) for kind in classes for path in list_pictures(kind)]
    except (OSError, ValueError, KeyError, TypeError, SmartbinError) as error:
        raise UpdateError(
            f"canary pictures: {place}: cannot be listed ({error}); it takes one folder of "
            f"pictures for each class, or {INDEX}; see update.canaries"
        ) from error
