"""Reads folders of rendered pictures that come with a catalogue: what lies on what, and drawn how.

catalogue.json is a list of objects, or an object that holds one list of objects, each with `file`
and any of `item`, `kind`, `group`, `surface`, `seed`, `label` and `split`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import PictureError, UsageError
from edge.pictures import list_pictures

CATALOGUES = ("catalogue.json", "samples.json")
TUNE, TEST = "tune", "test"


@dataclass(frozen=True, slots=True)
class Picture:
    """One rendered picture."""

    path: Path
    item: str  # what is drawn, say can or hammer
    kind: str = ""  # what a report calls it, say tool
    group: str = ""  # what it was drawn for: unknown, empty or factorial
    surface: str = ""
    seed: int = 0  # the same item, surface aside, where item and seed are the same
    label: str = ""  # class of the item; empty where it has none
    split: str = ""  # tune or test, where there are such


def load(folder: Path) -> tuple[Picture, ...]:
    """What the folder's catalogue lists, or else its pictures with their folder as the item.

    Raises UsageError where there is nothing, or where a listed file is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; a folder of pictures with catalogue.json")
    places = (folder, folder.parent)  # a folder of the set may be named alone
    listed = [place / name for place in places for name in CATALOGUES if (place / name).is_file()]
    found = _catalogued(listed[0]) if listed else ()
    found = tuple(picture for picture in found if folder in picture.path.parents)
    found = found or _loose(folder)
    if not found:
        raise UsageError(f"{folder}: holds no picture and no catalogue.json that lists one")
    return found


def of_group(pictures: tuple[Picture, ...], *groups: str) -> tuple[Picture, ...]:
    """Those drawn for one of these; all where the catalogue tells no groups."""
    grouped = any(picture.group for picture in pictures)
    return tuple(p for p in pictures if p.group in groups) if grouped else pictures


def _catalogued(path: Path) -> tuple[Picture, ...]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from error
    lists = [content] if isinstance(content, list) else _lists(content)
    entries = [entry for some in lists for entry in some if isinstance(entry, dict)]
    pictures = tuple(_entry(entry, path) for entry in entries if "file" in entry)
    gone = [picture.path for picture in pictures if not picture.path.is_file()]
    if gone:
        raise UsageError(f"{path}: lists {gone[0].name}, which is not there; {len(gone)} missing")
    return pictures


def _lists(content: Any) -> list[list[Any]]:
    values = content.values() if isinstance(content, dict) else ()
    return [value for value in values if isinstance(value, list)]


def _entry(entry: dict[str, Any], path: Path) -> Picture:
    file = Path(str(entry["file"]))
    item = str(entry.get("item") or entry.get("kind") or file.parent.name or file.stem)
    try:
        return Picture(
            path=path.parent / file,
            item=item,
            kind=str(entry.get("kind") or item),
            group=str(entry.get("group") or ""),
            surface=str(entry.get("surface") or ""),
            seed=int(entry.get("seed") or 0),
            label=str(entry.get("label") or ""),
            split=str(entry.get("split") or _split_of(file)),
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {file}: {error}; seed must be a whole number") from error


def _split_of(file: Path) -> str:
    return next((part for part in file.parts if part in (TUNE, TEST)), "")


def _loose(folder: Path) -> tuple[Picture, ...]:
    """Pictures in sub-folders, named by the folder they lie in."""
    found = []
    for place in sorted([folder, *(p for p in folder.rglob("*") if p.is_dir())]):
        try:
            paths = list_pictures(place)
        except PictureError:  # a folder that holds only folders
            continue
        found += [
            Picture(path, place.name, place.name, split=_split_of(path.relative_to(folder)))
            for path in paths
        ]
    return tuple(found)
