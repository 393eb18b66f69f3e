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
