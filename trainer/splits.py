"""Which pictures train and which judge: official lists, random, or grouped, once or in K folds.

Grouped means that no group of the audit's groups file is on two sides: an object seen from two
sides neither teaches nor judges itself. The folds are stratified greedily, the largest group
first, into the fold whose class counts it brings nearest to its share; scikit-learn's
StratifiedGroupKFold works alike.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import SmartbinError, UsageError
from trainer.audit import listable
from trainer.audit_run import GROUP_FIELDS, save_whole
from trainer.data import PhotoSet, check_classes, split_random

KINDS = ("official", "random", "grouped")
VAL_SHARE = 0.15
MOST_FOLDS = 100
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to split; `folds` of 1 holds `val_share` out once."""

    kind: str
    folds: int = 1
    seed: int = 0
    val_share: float = VAL_SHARE  # 0..1, used with one fold only

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--kind {self.kind}: must be one of {', '.join(KINDS)}")
        if not 1 <= self.folds <= MOST_FOLDS:
            raise UsageError(f"--folds {self.folds}: must be 1 (one split) to {MOST_FOLDS}")
        if not 0 < self.val_share < 1:
            raise UsageError(f"--val-share {self.val_share}: must be between 0 and 1")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: must be 0 or more")


@dataclass(frozen=True, slots=True)
class Split:
    """One pair of sides, as positions in the photos it was made from."""

    train: Ints
    val: Ints


def split(
    photos: PhotoSet, plan: Plan, groups: Ints | None = None, lists: Split | None = None
) -> list[Split]:
    """One split, or K whose validation sides make up the whole between them.

    `official` takes `lists`; in folds it parts their training side only, so that the official
    validation side stays out of every fold.
    """
    if plan.kind == "official":
        if lists is None:
            raise UsageError("--kind official: give --train-names and --val-names")
        found = [lists] if plan.folds == 1 else _folded(photos, plan, None, lists.train)
    elif plan.kind == "grouped":
        if groups is None:
            raise UsageError("--kind grouped: give --groups, a groups.csv that `audit` wrote")
        found = _folded(photos, plan, groups)
    elif plan.folds == 1:
        drawn = split_random(photos, plan.val_share, plan.seed)  # as a training without lists
        found = [Split(positions(photos, drawn[0]), positions(photos, drawn[1]))]
    else:
        found = _folded(photos, plan, None)
    for one in found:
        check_sides(photos, one, groups if plan.kind == "grouped" else None)
    return found


def check_sides(photos: PhotoSet, sides: Split, groups: Ints | None) -> None:
    """No picture and no group is on two sides, and every class of validation is trained on."""
    if set(sides.train.tolist()) & set(sides.val.tolist()):
        twice = sorted(set(sides.train.tolist()) & set(sides.val.tolist()))[0]
        raise UsageError(f"{photos.paths[twice].name}: in the training and the validation list")
    if groups is not None:
        both = set(groups[sides.train].tolist()) & set(groups[sides.val].tolist())
        assert not both, f"groups {sorted(both)} are on two sides"
    check_classes(photos.subset(sides.train.tolist()), photos.subset(sides.val.tolist()))


def _folded(
    photos: PhotoSet, plan: Plan, groups: Ints | None, among: Ints | None = None
) -> list[Split]:
    among = np.arange(len(photos), dtype=np.int64) if among is None else among
    own = np.arange(len(photos), dtype=np.int64) if groups is None else groups
    targets, own = photos.targets[among], own[among]
    _check_enough(photos, targets, own, max(2, plan.folds), grouped=groups is not None)
    if plan.folds == 1:
        shares = _equal_shares(plan.val_share)
        side = assign(targets, own, shares, len(photos.classes), plan.seed)
        wanted = [_fullest(side, targets, len(shares))]
    else:
        shares = [1 / plan.folds] * plan.folds
        side = assign(targets, own, shares, len(photos.classes), plan.seed)
        wanted = list(range(plan.folds))
    found = [Split(np.sort(among[side != k]), np.sort(among[side == k])) for k in wanted]
    for one in found:
        _check_all_judged(photos, one)
    return found


def _check_all_judged(photos: PhotoSet, sides: Split) -> None:
    judged = set(photos.targets[sides.val].tolist())
    absent = [name for i, name in enumerate(photos.classes) if i not in judged]
    if absent:
        raise UsageError(
            f"class {absent[0]}: no picture of it would be in validation; take a larger "
            "--val-share, fewer --folds, or add pictures of more objects"
        )


def _equal_shares(val_share: float) -> list[float]:
    """As many parts of `val_share` as there is room for, and the rest.

    Validation is one of several equal parts, not the small one beside a large: else every seed
    would put the largest groups into training.
    """
    parts = int(1 / val_share + 1e-9)
    rest = 1 - parts * val_share
    return [val_share] * parts + ([rest] if rest > 1e-6 else [])


def _fullest(side: Ints, targets: Ints, parts: int) -> int:
    """The first part with pictures of the most classes; which is first is drawn in `assign`."""
    classes = [len(set(targets[side == k].tolist())) for k in range(parts)]
    return classes.index(max(classes))


def _check_enough(
    photos: PhotoSet, targets: Ints, groups: Ints, sides: int, *, grouped: bool
) -> None:
    for label, name in enumerate(photos.classes):
        pictures = int((targets == label).sum())
        there = len(set(groups[targets == label].tolist()))
        if there < sides:
            what, remedy = f"{there} pictures", "pictures"
            if grouped:
                what = f"{pictures} pictures in {there} groups"
                remedy = "pictures of other objects (or group fewer, with a higher `audit --link`)"
            raise UsageError(
                f"{photos.root / name}: {what} of this class, {sides} sides to part them on; "
                f"take fewer --folds or add {remedy}"
            )


def assign(targets: Ints, groups: Ints, shares: Sequence[float], classes: int, seed: int) -> Ints:
    """(n,) side of each picture; sides get about `shares` of every class, groups stay whole."""
    rng = np.random.default_rng([seed, 11])
    numbers, row_group = np.unique(groups, return_inverse=True)
    table = np.zeros((len(numbers), classes))  # pictures of each class in each group
    np.add.at(table, (row_group.reshape(-1), targets), 1)
    order = rng.permutation(len(numbers))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    totals = np.maximum(table.sum(0), 1)
    wanted = np.array(shares)[:, None] * totals  # (sides, classes)
    filled = np.zeros_like(wanted)
    side = np.zeros(len(numbers), np.int64)
    for group in order:
        before = (filled - wanted) ** 2 / (wanted * totals)
        after = (filled + table[group] - wanted) ** 2 / (wanted * totals)
        cost = (after - before).sum(1) + rng.random(len(wanted)) * 1e-9  # ties fall at random
        side[group] = cost.argmin()
        filled[side[group]] += table[group]
    return side[row_group.reshape(-1)]


def read_groups(path: Path, photos: PhotoSet) -> Ints:
    """(n,) group of each photo, from the CSV that `audit` writes; every photo must be in it."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = {row[GROUP_FIELDS[0]]: int(row[GROUP_FIELDS[1]]) for row in rows}
    except OSError as error:
        raise UsageError(f"{path}: groups cannot be read ({error.strerror})") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"{path}: not a groups file; write one with `audit --out`") from error
    names = [_full_name(photos, i) for i in range(len(photos))]
    missing = [name for name in names if name not in table]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(names)} pictures are not in it, the first is "
            f"{missing[0]}; run `audit` again on this folder"
        )
    return np.array([table[name] for name in names], np.int64)


def positions(photos: PhotoSet, part: PhotoSet) -> Ints:
    """Where the pictures of `part` stand in `photos`."""
    at = {path: i for i, path in enumerate(photos.paths)}
    return np.array([at[path] for path in part.paths], np.int64)


def _full_name(photos: PhotoSet, row: int) -> str:
    return f"{photos.paths[row].parent.name}/{photos.paths[row].name}"


def list_text(photos: PhotoSet, rows: Ints) -> str:
    """One file name a line, with its class where two classes have the name."""
    counts = Counter(photos.names)
    lines = []
    for row in rows.tolist():
        name = photos.names[row]
        if not listable(name):
            raise UsageError(
                f"{photos.paths[row]}: a list of names holds no leading blank or #; rename it"
            )
        lines.append(name if counts[name] == 1 else _full_name(photos, row))
    return "\n".join(lines) + "\n"


def card(
    photos: PhotoSet, plan: Plan, found: list[Split], groups_file: Path | None
) -> dict[str, Any]:
    """What split.json says: how it was made, of what, and what is on each side."""
    entry: dict[str, Any] = {
        "kind": plan.kind,
        "folds": plan.folds,
        "seed": None if plan.kind == "official" and plan.folds == 1 else plan.seed,
        "pictures": len(photos),
        "classes": list(photos.classes),
        "data_sha256": photos.sha256(),
    }
    if groups_file is not None:
        entry["groups_file"] = groups_file.name
        entry["groups_sha256"] = hashlib.sha256(groups_file.read_bytes()).hexdigest()
    entry["splits"] = [
        {
            "folder": _folder_name(plan, k),
            "val_share": round(len(one.val) / (len(one.val) + len(one.train)), 5),
            "train": _side(photos, one.train),
            "val": _side(photos, one.val),
        }
        for k, one in enumerate(found)
    ]
    return entry


def _side(photos: PhotoSet, rows: Ints) -> dict[str, Any]:
    counts = np.bincount(photos.targets[rows], minlength=len(photos.classes))
    text = list_text(photos, rows)
    return {
        "n": len(rows),
        "per_class": dict(zip(photos.classes, counts.tolist(), strict=True)),
        "list_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _folder_name(plan: Plan, k: int) -> str:
    return "." if plan.folds == 1 else f"fold{k + 1}"


def write(
    photos: PhotoSet, plan: Plan, found: list[Split], out: Path, groups_file: Path | None = None
) -> dict[str, Any]:
    """OUT/train.txt and val.txt, or one such pair in each OUT/foldN, and OUT/split.json last."""
    entry = card(photos, plan, found, groups_file)
    if (out / "split.json").exists():
        raise SmartbinError(f"{out}: holds a split already; name another --out or remove it")
    for k, one in enumerate(found):
        folder = out / _folder_name(plan, k)
        save_whole(folder / "train.txt", list_text(photos, one.train).encode())
        save_whole(folder / "val.txt", list_text(photos, one.val).encode())
    save_whole(out / "split.json", (json.dumps(entry, indent=1) + "\n").encode())
    return entry
