"""Looks through a folder of labelled pictures for what spoils a training, and stops at nothing.

Unlike trainer.data.scan, which refuses the first fault, this goes on and lists them all.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import PictureError, UsageError
from edge.pictures import MAX_PICTURE_BYTES, PICTURE_SUFFIXES, decode_picture
from trainer.facts import facts_of
from trainer.twins import HASH_SIDE, HashBits, hash_bits

LEAST_PX = 224  # a shorter side is enlarged for the shipped student's input
MAX_ASPECT = 2.0  # longer pictures lose more than a third to the crop at 4:3
IMBALANCE = 3.0  # largest to smallest class; TrashNet has 4.5
COMMON_SHARE = 0.9  # of pictures with one size, over which another size is odd
TRAITS = {
    "cmyk": "are CMYK (read as RGB without a colour profile, so colours may be off)",
    "16-bit": "have 16 bits a channel (read as 8)",
    "12-bit": "have 12 bits a channel (read as 8, where they can be read)",
    "palette": "have a palette (read as RGB)",
    "exif-rotated": "are turned by their EXIF orientation (read upright; other programs may not)",
    "animated": "are animations or have several pages (the first picture is read)",
    "transparent": "have transparency (which is dropped: hidden colours come to light)",
    "grey": "are grey (read as RGB)",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file and what was found in it; `fault` is empty where it was decoded."""

    path: Path
    label: str
    width_px: int
    height_px: int
    bytes_sha256: str
    pixels_sha256: str  # of shape and decoded RGB; empty where it was not decoded
    traits: tuple[str, ...]
    bits: HashBits
    fault: str = ""

    @property
    def name(self) -> str:
        """CLASS/NAME, as the lists may write it."""
        return f"{self.label}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, how grave it is, and the pictures or folders that it speaks of."""

    kind: str
    grave: bool  # a training stops at it or learns something false; else it is worth a look
    sentence: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies under the root, sorted by name."""

    root: Path
    classes: dict[str, list[Path]]
    passed_over: tuple[Path, ...]  # files that no training reads

    def __len__(self) -> int:
        return sum(map(len, self.classes.values()))


def list_folder(root: Path) -> Folder:
    """Every file of every class folder; only a root that is no folder of folders is refused."""
    try:
        entries = sorted(p for p in root.iterdir() if not p.name.startswith("."))
        folders = [p for p in entries if p.is_dir()]
        inside = {p.name: sorted(q for q in p.rglob("*") if q.is_file()) for p in folders}
    except OSError as error:
        raise UsageError(
            f"{root}: cannot be read ({error.strerror}); --data takes a folder with one folder "
            "of pictures per class"
        ) from error
    if not folders:
        raise UsageError(f"{root}: no class folder in it; --data takes one folder per class")
    classes = {
        name: [p for p in files if _is_picture(p) and p.parent == root / name]
        for name, files in inside.items()
    }
    read = {p for files in classes.values() for p in files}
    loose = [p for p in entries if p.is_file()]
    over = [*loose, *(p for files in inside.values() for p in files if p not in read)]
    return Folder(root, classes, tuple(over))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def listable(name: str) -> bool:
    """Lists of names are read line by line without the blanks around, and # begins a comment."""
    return name.splitlines() == [name.strip()] and not name.startswith("#")


def look(path: Path, label: str) -> Picture:
    """Read one file whole: hashes, size, traits; a fault becomes a sentence, not an error."""
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise PictureError(
                f"{path}: over {MAX_PICTURE_BYTES // 1_000_000} MB; scale the picture down"
            )
        data = path.read_bytes()
    except OSError as error:
        return _unread(path, label, f"{path}: cannot be read ({error.strerror})")
    except PictureError as error:
        return _unread(path, label, str(error))
    facts = facts_of(data)
    traits = facts.traits if facts.fits(path.suffix) else (*facts.traits, f"is {facts.kind}")
    digest = hashlib.sha256(data).hexdigest()
    try:
        pixels = decode_picture(data, name=str(path))
    except PictureError as error:
        return _unread(path, label, str(error), digest, traits)
    inner = hashlib.sha256(repr(pixels.shape).encode())
    inner.update(np.ascontiguousarray(pixels).tobytes())
    height, width = pixels.shape[:2]
    return Picture(path, label, width, height, digest, inner.hexdigest(), traits, hash_bits(pixels))


def _unread(
    path: Path, label: str, fault: str, digest: str = "", traits: tuple[str, ...] = ()
) -> Picture:
    return Picture(
        path, label, 0, 0, digest, "", traits, np.zeros(HASH_SIDE**2 - 1, np.int8), fault
    )


def look_through(folder: Folder, tick: Callable[[], object] = lambda: None) -> list[Picture]:
    """All pictures, by class and name."""
    found = []
    for label, paths in folder.classes.items():
        for path in paths:
            found.append(look(path, label))
            tick()
    return found


def findings(folder: Folder, pictures: list[Picture]) -> list[Finding]:
    """Everything but twins, the grave ones first."""
    parts = (
        _classes(folder),
        _unreadable(pictures),
        _names(folder, pictures),
        _sizes(pictures),
        _traits(pictures),
    )
    return sorted((f for part in parts for f in part), key=lambda finding: not finding.grave)


def _classes(folder: Folder) -> Iterator[Finding]:
    counts = {name: len(paths) for name, paths in folder.classes.items()}
    for name, count in counts.items():
        if count == 0:
            yield Finding(
                "empty-class", True, f"{name}: no picture in this class; add some or remove it"
            )
        if count == 1:
            sentence = f"{name}: 1 picture in this class; at least 2 are needed, better 50"
            yield Finding("single-picture", True, sentence, (folder.classes[name][0].name,))
    if len(counts) < 2:
        yield Finding("one-class", True, "1 class folder; at least 2 are needed to tell apart")
    for names in _same_but_case(counts):
        sentence = f"{' and '.join(names)}: class folders that differ by case only; join them"
        yield Finding("class-case", True, sentence, names)
    filled = sorted((name for name, n in counts.items() if n), key=lambda name: counts[name])
    if filled and counts[filled[-1]] > IMBALANCE * counts[filled[0]]:
        least, most = filled[0], filled[-1]
        ratio = counts[most] / counts[least]
        sentence = f"{most} has {counts[most]} pictures, {least} {counts[least]}: {ratio:.1f} to 1"
        sentence += "; training.class_weight_power weighs small classes up"
        yield Finding("imbalance", False, sentence, (most, least))


def _unreadable(pictures: list[Picture]) -> Iterator[Finding]:
    for picture in pictures:
        if picture.fault:
            kind = "truncated" if "truncated" in picture.fault else "unreadable"
            yield Finding(kind, True, picture.fault, (picture.name,))


def _names(folder: Folder, pictures: list[Picture]) -> Iterator[Finding]:
    for names in _same_but_case(p.name for p in pictures):
        sentence = f"{' and '.join(names)}: differ by case only; some systems keep one of them"
        yield Finding("name-case", True, sentence, names)
    blank = tuple(p.name for p in pictures if not listable(p.path.name))
    if blank:
        sentence = f"{len(blank)} names begin with a blank or #, which no list can write"
        yield Finding("unlistable-name", True, f"{sentence}; rename them", blank)
    capital = tuple(p.name for p in pictures if p.path.suffix != p.path.suffix.lower())
    if capital and len(capital) < len(pictures):
        sentence = f"{len(capital)} names end in capitals, the others do not; lists must match them"
        yield Finding("suffix-case", False, sentence, capital)
    counts = Counter(p.path.name for p in pictures)
    twice = tuple(p.name for p in pictures if counts[p.path.name] > 1)
    if twice:
        sentence = f"{len(twice)} names are in several classes; lists must write CLASS/NAME"
        yield Finding("name-twice", False, sentence, twice)
    if folder.passed_over:
        over = tuple(str(p.relative_to(folder.root)) for p in folder.passed_over)
        known = " ".join(sorted(PICTURE_SUFFIXES))
        sentence = f"{len(over)} files are passed over: only CLASS/NAME with {known} is read"
        yield Finding("passed-over", False, sentence, over)


def _same_but_case(names: Iterable[str]) -> list[tuple[str, ...]]:
    by_lower: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_lower[name.lower()].append(name)
    return [tuple(same) for same in by_lower.values() if len(same) > 1]


def _sizes(pictures: list[Picture]) -> Iterator[Finding]:
    whole = [p for p in pictures if not p.fault]
    tests = {
        "small": (f"have a side under {LEAST_PX} px", lambda w, h: min(w, h) < LEAST_PX),
        "long": (
            f"are longer than {MAX_ASPECT:g}:1",
            lambda w, h: max(w, h) > MAX_ASPECT * min(w, h),
        ),
    }
    for kind, (text, test) in tests.items():
        names = tuple(p.name for p in whole if test(p.width_px, p.height_px))
        if names:
            yield Finding(kind, False, f"{len(names)} pictures {text}", names)
    sizes = Counter((p.width_px, p.height_px) for p in whole)
    if not sizes:
        return
    (common, count), *_ = sizes.most_common(1)
    odd = tuple(p.name for p in whole if (p.width_px, p.height_px) != common)
    if odd and count >= COMMON_SHARE * len(whole):
        text = f"{len(odd)} pictures are not {common[0]}x{common[1]} as {count} others are"
        yield Finding("odd-size", False, text, odd)


def _traits(pictures: list[Picture]) -> Iterator[Finding]:
    for trait, text in TRAITS.items():
        names = tuple(p.name for p in pictures if trait in p.traits)
        if names and not (trait == "grey" and len(names) == len(pictures)):
            yield Finding(trait, False, f"{len(names)} pictures {text}", names)
    wrong = tuple(p.name for p in pictures if any(t.startswith("is ") for t in p.traits))
    if wrong:
        text = (
            f"{len(wrong)} pictures are of another kind than their suffix says (read all the same)"
        )
        yield Finding("wrong-suffix", False, text, wrong)
