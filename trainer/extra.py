"""Puts a checked list of extra photos beside a data set: one folder of links, and what to train on.

The list (see trainer/lists) says of each photo what a person saw on it, and whether it is to train
(`train`) or to be the owner's own field check (`field`); photos with no label are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import UsageError
from edge.pictures import list_pictures

PARTS = ("train", "field")


@dataclass(frozen=True, slots=True)
class Checked:
    """A photo of the list that has a label."""

    path: Path
    label: str
    part: str


def assemble(
    data: Path, train_names: Sequence[str], photos: Path, checked: Path, out: Path, prefix: str
) -> dict[str, int]:
    """Write out/images (links), out/train.txt and out/field; returns how many of each part."""
    if out.exists():
        raise UsageError(f"{out}: is there already; name a new folder")
    found = read_list(checked, photos)
    folders = sorted(p for p in data.iterdir() if p.is_dir())
    strange = sorted({one.label for one in found} - {folder.name for folder in folders})
    if strange:
        raise UsageError(f"{checked}: class {strange[0]} has no folder under {data}")
    for folder in folders:
        for path in list_pictures(folder):
            _link(out / "images" / folder.name / path.name, path)
    names = list(train_names)
    for one in found:
        name = f"{prefix}_{one.path.name}"
        if one.part == "train":
            _link(out / "images" / one.label / name, one.path)
            names.append(name)
        else:
            _link(out / "field" / one.label / name, one.path)
    (out / "train.txt").write_text("\n".join(names) + "\n", "utf-8")
    return {part: sum(one.part == part for one in found) for part in PARTS}


def read_list(path: Path, photos: Path) -> list[Checked]:
    """Photos of the list with a label; raises UsageError with the line of a fault."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"{path}: list cannot be read ({error.strerror})") from error
    found = []
    for line, row in enumerate(rows, 2):
        if not row.get("label"):
            continue
        photo = photos / row["folder"] / row["name"]
        if row.get("part") not in PARTS:
            raise UsageError(f"{path}:{line} part = {row.get('part')!r}: must be train or field")
        if not photo.is_file():
            raise UsageError(f"{path}:{line}: {photo} is missing; name the photos' folder")
        found.append(Checked(photo, row["label"], row["part"]))
    return found


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target.resolve())
