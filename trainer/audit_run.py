"""Runs the whole audit: files, twins, label conflicts and groups, into one result."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import MissingExtraError, SmartbinError
from trainer import twins
from trainer.audit import Finding, Picture, findings, list_folder, look_through
from trainer.data import _read_names as read_names
from trainer.progress import bar
from trainer.twins import Features, Groups, Pair

GROUP_FIELDS = ("picture", "group", "pictures_in_group")
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a twin, and what is kept on one side of a split."""

    twin: float = twins.TWIN_COSINE
    group: float = twins.GROUP_COSINE
    max_group: int = twins.MAX_GROUP


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found; `pairs` are as far apart as the weakest link of a group."""

    pictures: list[Picture]
    findings: list[Finding]
    pairs: list[Pair]
    disputed: list[Pair]  # twins by hash, strangers by features
    groups: Groups
    limits: Limits
    near: str  # how near twins were found, or why not

    @property
    def twins(self) -> list[Pair]:
        """Exact and near twins, the surest first."""
        return [pair for pair in self.pairs if self.is_twin(pair)]

    def is_twin(self, pair: Pair) -> bool:
        """Without features every hash pair counts: there is nothing better."""
        return bool(pair.exact) or pair.cosine is None or pair.cosine >= self.limits.twin

    @property
    def conflicts(self) -> list[Pair]:
        """Twins under two labels."""
        labels = [picture.label for picture in self.pictures]
        return [pair for pair in self.twins if labels[pair.a] != labels[pair.b]]

    def names(self, pair: Pair) -> tuple[str, str]:
        """CLASS/NAME of both."""
        return self.pictures[pair.a].name, self.pictures[pair.b].name

    @property
    def data_sha256(self) -> str:
        """As trainer.data.PhotoSet.sha256 of the whole folder, from the hashes already there."""
        rows = sorted(self.pictures, key=lambda picture: picture.path)
        text = "".join(f"{row.name} {row.bytes_sha256}\n" for row in rows)
        return hashlib.sha256(text.encode()).hexdigest()


def audit(root: Path, cache: Path, limits: Limits, *, device: str | None, say: Say) -> Audit:
    """Look at every file under `root`; `device` None leaves the near twins out."""
    folder = list_folder(root)
    with bar("read", len(folder)) as tick:
        pictures = look_through(folder, tick)
    whole = [i for i, picture in enumerate(pictures) if not picture.fault]
    vectors, near = _features([pictures[i] for i in whole], cache, device)
    say(f"near twins: {near}")
    exact = twins.exact_pairs(
        [p.bytes_sha256 for p in pictures], [p.pixels_sha256 for p in pictures]
    )
    pairs, disputed = _pairs(pictures, whole, vectors, limits)
    pairs = twins.merged(exact, pairs)
    groups = twins.group(len(pictures), pairs, limits.max_group)
    found = Audit(pictures, findings(folder, pictures), pairs, disputed, groups, limits, near)
    return replace(found, findings=[*_conflict_findings(found), *found.findings])


def _features(
    pictures: list[Picture], cache: Path, device: str | None
) -> tuple[Features | None, str]:
    if device is None:
        return None, "not looked for, as asked; only exact twins and equal hashes are grouped"
    key = hashlib.sha256("".join(p.bytes_sha256 for p in pictures).encode()).hexdigest()[:16]
    path = cache / f"features-lite0-{key}.npy"
    with suppress(OSError, ValueError, EOFError):  # absent or damaged: made anew
        return np.load(path), "cosine of EfficientNet-Lite0 features"
    try:
        from trainer.features import features

        with bar("features", len(pictures)) as tick:
            vectors = features([p.path for p in pictures], tick, device=device)
    except (ModuleNotFoundError, MissingExtraError) as error:
        why = str(error).partition(";")[0]
        return None, f"not looked for ({why}); only exact twins and equal hashes are grouped"
    save_whole(path, _npy(vectors))
    return vectors, "cosine of EfficientNet-Lite0 features"


def _npy(array: Features) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _pairs(
    pictures: list[Picture], whole: list[int], vectors: Features | None, limits: Limits
) -> tuple[list[Pair], list[Pair]]:
    """Near pairs by feature and by hash, by position among all pictures; (links, disputed)."""
    if not whole:
        return [], []
    bits = np.stack([pictures[i].bits for i in whole])
    by_hash = twins.hash_pairs(bits)
    if vectors is None:
        return [Pair(whole[p.a], whole[p.b], bits=p.bits) for p in by_hash], []
    near = [
        Pair(whole[p.a], whole[p.b], p.cosine, twins.bits_between(bits[p.a], bits[p.b]))
        for p in twins.near_pairs(vectors, min(limits.group, limits.twin))
    ]
    disputed = []
    for p in by_hash:
        cosine = float(vectors[p.a] @ vectors[p.b])
        if cosine < limits.twin:
            disputed.append(Pair(whole[p.a], whole[p.b], round(cosine, 4), p.bits))
    return near, disputed


def _conflict_findings(found: Audit) -> list[Finding]:
    out = []
    for pair in found.conflicts:
        names = found.names(pair)
        if pair.exact:
            text = f"{names[0]} and {names[1]} have equal {pair.exact} and two labels"
            out.append(Finding("label-conflict", True, f"{text}; remove the wrong one", names))
        else:
            text = f"{names[0]} and {names[1]} look alike ({_figure(pair)}) and have two labels"
            out.append(Finding("suspected-conflict", False, f"{text}; look at both", names))
    return out


def _figure(pair: Pair) -> str:
    return f"cosine {pair.cosine:.2f}" if pair.cosine is not None else f"{pair.bits} of 63 bits"


def groups_csv(found: Audit) -> str:
    """CLASS/NAME, its group, and how many are in it; a line a picture, by name."""
    sizes = np.bincount(found.groups.ids)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(GROUP_FIELDS)
    for picture, number in zip(found.pictures, found.groups.ids, strict=True):
        writer.writerow((picture.name, int(number), int(sizes[number])))
    return text.getvalue()


def list_leak(found: Audit, train_names: Path, val_names: Path) -> dict[str, Any]:
    """How many of one list have a twin in the other: what a split by these lists flatters by."""
    train, val = (_positions(found, path) for path in (train_names, val_names))
    leak: dict[str, Any] = {"train": len(train), "val": len(val)}
    tests = {
        "val_with_exact_twin_in_train": lambda pair: bool(pair.exact),
        "val_with_twin_in_train": found.is_twin,
        "val_linked_to_train": lambda pair: True,
    }
    for key, test in tests.items():
        links = [(p.a, p.b) for p in found.pairs if test(p)]
        links += [(b, a) for a, b in links]
        leak[key] = len({b for a, b in links if a in train and b in val})
    ids = found.groups.ids
    shared = {int(ids[i]) for i in train} & {int(ids[i]) for i in val}
    leak["groups_on_both_sides"] = len(shared)
    return leak


def _positions(found: Audit, names_file: Path) -> set[int]:
    table: dict[str, int] = {}
    for i, picture in enumerate(found.pictures):
        table[picture.name] = i
        table.setdefault(picture.path.name, i)
    missing = [name for name in read_names(names_file) if name not in table]
    if missing:
        raise SmartbinError(f"{names_file}: {len(missing)} names are not there, as {missing[0]}")
    return {table[name] for name in read_names(names_file)}


def as_dict(found: Audit) -> dict[str, Any]:
    """Plain values, for JSON; pairs by name."""
    counts = Counter(picture.label for picture in found.pictures)
    sizes = found.groups.sizes()
    linked = {i for pair in found.twins for i in (pair.a, pair.b)}
    grouped = int(sizes[sizes > 1].sum())
    return {
        "pictures": len(found.pictures),
        "classes": dict(sorted(counts.items())),
        "data_sha256": found.data_sha256,
        "faults": sum(finding.grave for finding in found.findings),
        "findings": [asdict(finding) for finding in found.findings],
        "near_twins": found.near,
        "limits": asdict(found.limits),
        "twins": len(found.twins),
        "pictures_with_twin": len(linked),
        "exact": [_pair_dict(found, pair) for pair in found.twins if pair.exact],
        "conflicts": [_pair_dict(found, pair) for pair in found.conflicts],
        "disputed": [_pair_dict(found, pair) for pair in found.disputed],
        "groups": {
            "n": len(sizes),
            "links": len(found.pairs),
            "links_cut": found.groups.cut,
            "pictures_in_groups": grouped,
            "largest": int(sizes[0]) if len(sizes) else 0,
            "histogram": {str(k): v for k, v in sorted(Counter(map(int, sizes)).items())},
        },
    }


def _pair_dict(found: Audit, pair: Pair) -> dict[str, Any]:
    return {
        "pictures": list(found.names(pair)),
        "exact": pair.exact,
        "cosine": pair.cosine,
        "bits": pair.bits,
    }


def save_whole(path: Path, data: bytes) -> None:
    """Written beside, then renamed: whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise SmartbinError(f"{path}: cannot be written ({error.strerror})") from error
