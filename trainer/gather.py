"""Relabelled pictures, as the monitor exports them, become a folder that the trainer reads.

In goes the .zip (or its folder) of `smartbin fleet`: CLASS/HASH.jpg, labels.csv, provenance.json.
Out comes one folder a class, groups.csv (pictures of one item, or of one moment, stay on one side
of a split) and provenance.csv. All faults are told together, and then nothing is written.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError, UsageError
from edge.pictures import decode_picture
from trainer.audit_run import GROUP_FIELDS

NONE_FITS = "none of these"  # a person's answer; kept apart, as what the bin must not sort
UNKNOWN_FOLDER = "none-of-these"
NEEDED = ("file", "site", "bin", "event", "label", "sha256")
ONE_ITEM = 4  # events of one bin this close in number, and labelled alike, may show one item
MOST_IN_GROUP = 8  # a longer run is a busy bin, not one item
MOST_FAULTS = 50
MOST_BYTES = 8_000_000  # of one picture
PROVENANCE = ("picture", "site", "bin", "event", "model", "model_label", "label", "labelled_by",
              "labelled_at", "sha256")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture and what a person said of it."""

    row: dict[str, str]
    data: bytes

    @property
    def label(self) -> str:
        return self.row["label"]

    @property
    def name(self) -> str:
        return f"{self.row['sha256'][:16]}.jpg"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was written."""

    pictures: dict[str, int]  # by class
    unknown: int  # fit no class
    groups: int


def gather(export: Path, out: Path, classes: Sequence[str]) -> Gathered:
    """Read an export and write `out`; raises ConfigError with every fault, writing nothing."""
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty; name a new folder for this batch")
    with tempfile.TemporaryDirectory(prefix="smartbin-gather-") as unpacked:
        found = _read(_folder_of(export, Path(unpacked)), export, classes)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        gathered = _write(partial, found)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    return gathered


def _folder_of(export: Path, unpacked: Path) -> Path:
    if export.is_dir():
        return export
    try:
        with zipfile.ZipFile(export) as archive:
            for info in archive.infolist():
                inside = (unpacked / info.filename).resolve()
                if not inside.is_relative_to(unpacked.resolve()) or info.file_size > MOST_BYTES:
                    raise UsageError(f"{export}: {info.filename}: outside the archive or too large")
            archive.extractall(unpacked)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{export}: cannot be read as an export of the monitor ({error}); export it again"
        ) from error
    return unpacked


def _read(folder: Path, export: Path, classes: Sequence[str]) -> list[Labelled]:
    table = folder / "labels.csv"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{export}: no readable labels.csv in it ({error})") from error
    if missing:
        raise UsageError(f"{export}: labels.csv has no column {', '.join(missing)}")
    faults: list[str] = []
    found = [_labelled(folder, row, line, classes, faults) for line, row in enumerate(rows, 2)]
    kept = [one for one in found if one is not None]
    faults += _conflicts(kept)
    if faults:
        more = len(faults) - MOST_FAULTS
        raise ConfigError(faults[:MOST_FAULTS] + ([f"and {more} more"] if more > 0 else []))
    if not kept:
        raise UsageError(f"{export}: no labelled picture in it; label some on the monitor's page")
    return kept


def _labelled(
    folder: Path, row: dict[str, str], line: int, classes: Sequence[str], faults: list[str]
) -> Labelled | None:
    where = f"labels.csv:{line}"
    if row["label"] != NONE_FITS and row["label"] not in classes:
        faults.append(
            f"{where} label = {row['label']!r}: unknown class; known are {', '.join(classes)}, "
            f"or {NONE_FITS!r}"
        )
        return None
    path = folder / row["file"]
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        faults.append(f"{where} file = {row['file']!r}: this picture is missing; export again")
        return None
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        faults.append(f"{where} file = {row['file']!r}: not the picture that was labelled (sha256)")
        return None
    decode_picture(data, name=str(row["file"]))
    return Labelled(row, data)


def _conflicts(found: list[Labelled]) -> list[str]:
    labels: dict[str, set[str]] = {}
    for one in found:
        labels.setdefault(one.row["sha256"], set()).add(one.label)
    return [
        f"picture {sha256[:16]}: labelled {' and '.join(sorted(said))}; decide on one"
        for sha256, said in labels.items()
        if len(said) > 1
    ]


def _write(out: Path, found: list[Labelled]) -> Gathered:
    counts: dict[str, int] = {}
    once = list({one.row["sha256"]: one for one in found}.values())
    groups = _groups(once)
    for one in once:
        folder = UNKNOWN_FOLDER if one.label == NONE_FITS else one.label
        place = (out / "unknown" if one.label == NONE_FITS else out / "images") / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / one.name).write_bytes(one.data)
        counts[folder] = counts.get(folder, 0) + 1
    sizes = {group: list(groups.values()).count(group) for group in set(groups.values())}
    with (out / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(GROUP_FIELDS)
        for one in once:
            if one.label != NONE_FITS:
                group = groups[one.name]
                writer.writerow([f"{one.label}/{one.name}", group, sizes[group]])
    with (out / "provenance.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, PROVENANCE, extrasaction="ignore", restval="")
        table.writeheader()
        table.writerows({**one.row, "picture": f"{one.label}/{one.name}"} for one in once)
    unknown = counts.pop(UNKNOWN_FOLDER, 0)
    return Gathered(counts, unknown, len(sizes))


def _groups(found: list[Labelled]) -> dict[str, int]:
    """By picture: events of one boot close in number and labelled alike may show the same item."""
    groups: dict[str, int] = {}
    last: dict[tuple[str, ...], tuple[int, int]] = {}  # bin, boot and label: seq, group
    sizes: dict[int, int] = {}
    count = 0
    for one in sorted(found, key=lambda o: (o.row["site"], o.row["bin"], *_event(o.row["event"]))):
        boot, seq = _event(one.row["event"])
        key = (one.row["site"], one.row["bin"], boot, one.label)
        before, group = last.get(key, (-ONE_ITEM - 1, 0))
        if seq - before > ONE_ITEM or sizes[group] >= MOST_IN_GROUP:
            count += 1
            group = count
        last[key] = seq, group
        sizes[group] = sizes.get(group, 0) + 1
        groups[one.name] = group
    return groups


def _event(name: str) -> tuple[str, int]:
    boot, _, seq = name.rpartition("-")
    return boot, int(seq) if seq.isdecimal() else 0
