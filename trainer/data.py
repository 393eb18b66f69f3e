"""Finds labelled pictures (one folder per class) and decodes each of them once; needs no torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import PictureError, SmartbinError, UsageError
from edge.pictures import PICTURE_SUFFIXES, list_pictures, read_picture
from edge.preprocess import centre_crop, resize_down
from edge.values import Pixels
from trainer.masks import MASK_H, MASK_W, is_good_mask, read_mask

# 4:3 as the edge crops its frames; 1.3 times finer than a 224 px input, so that a view scaled up
# by augmentation still has detail to show.
CACHE_W, CACHE_H = 384, 288
MAX_ASPECT = 4 / 3
CLASS_NUMBER = re.compile(r"(?<=\S)\s+\d+$")
CACHE_FORMAT = 1  # raise it when a cached array would come out different

Tick = Callable[[], object]  # called once per picture, for a progress bar


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Files and their classes, in a fixed order; nothing is decoded yet."""

    root: Path
    paths: tuple[Path, ...]
    targets: npt.NDArray[np.int64]  # (n,) index into classes
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.name for path in self.paths)

    def subset(self, indices: Sequence[int]) -> PhotoSet:
        """The pictures at these positions, in this order, with the same classes."""
        paths = tuple(self.paths[i] for i in indices)
        return PhotoSet(self.root, paths, self.targets[list(indices)], self.classes)

    def sha256(self) -> str:
        """One hash over the names, classes and bytes of all pictures, whatever their order."""
        digest = hashlib.sha256()
        for path in sorted(self.paths):
            inner = hashlib.sha256(_bytes(path)).hexdigest()
            digest.update(f"{path.parent.name}/{path.name} {inner}\n".encode())
        return digest.hexdigest()


def scan(root: Path, names_file: Path | None = None) -> PhotoSet:
    """Classes are the folders of `root`, sorted; `names_file` keeps only the names it lists.

    The classes stay those of the folders, so that the train and validation lists of one folder
    agree on them. Raises UsageError for an empty class or a name that is not there.
    """
    by_class = _pictures_by_class(root)
    classes = tuple(by_class)
    found = [(path, i) for i, name in enumerate(classes) for path in by_class[name]]
    if names_file is not None:
        found = _listed(found, _read_names(names_file), names_file, root)
    paths = tuple(path for path, _ in found)
    return PhotoSet(root, paths, np.array([i for _, i in found], np.int64), classes)


def _pictures_by_class(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; --data takes a folder with one folder per class")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise UsageError(
            f"{root}: {len(folders)} class folders found, at least 2 are needed; "
            "put the pictures of each class into a folder of its name"
        )
    spellings = {folder.name.lower(): folder.name for folder in folders}
    if len(spellings) < len(folders):
        twice = next(f.name for f in folders if spellings[f.name.lower()] != f.name)
        raise UsageError(
            f"{root}: {twice} and {spellings[twice.lower()]} are one class in two spellings; "
            "put the pictures of both into one folder"
        )
    by_class = {folder.name: list_pictures(folder) for folder in folders}
    empty = [name for name, pictures in by_class.items() if not pictures]
    if empty:
        raise UsageError(
            f"{root / empty[0]}: no picture in this class{_others_in(root / empty[0])}; "
            "add some or remove it"
        )
    return by_class


def _others_in(folder: Path) -> str:
    """What the folder holds instead: telephones write .heic, which nothing here reads."""
    files = (path for path in folder.iterdir() if path.is_file())
    others = sorted(path.name for path in files if not path.name.startswith("."))
    if not others:
        return ""
    known = " ".join(sorted(PICTURE_SUFFIXES))
    return f", only other files ({len(others)}), as {others[0]}: convert them to one of {known}"


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: list of names cannot be read ({error.strerror})") from error
    # TrashNet's own lists carry the class number after the name; blanks may stand within it.
    lines = [line.strip() for line in lines if not line.startswith("#")]
    names = [CLASS_NUMBER.sub("", line) for line in lines if line]
    if not names:
        raise UsageError(f"{path}: no name in it; one picture's file name a line is needed")
    return names


def _listed(
    found: list[tuple[Path, int]], names: list[str], names_file: Path, root: Path
) -> list[tuple[Path, int]]:
    by_name: dict[str, list[tuple[Path, int]]] = {}
    for path, target in found:
        for key in (path.name, f"{path.parent.name}/{path.name}"):
            by_name.setdefault(key, []).append((path, target))
    missing = [name for name in names if name not in by_name]
    if missing:
        alike = {name.lower(): name for name in by_name}.get(missing[0].lower())
        hint = f"; {alike} is there: upper and lower case must agree" if alike else ""
        raise UsageError(
            f"{names_file}: {len(missing)} of {len(names)} names are not under {root}, "
            f"the first is {missing[0]}{hint}"
        )
    for name in names:
        if len(by_name[name]) > 1:
            raise UsageError(f"{names_file}: {name} is in two classes; write CLASS/{name}")
    return [by_name[name][0] for name in dict.fromkeys(names)]


def thin_out(photos: PhotoSet, count: int, seed: int) -> PhotoSet:
    """At most `count` pictures, the classes in the proportion they had."""
    if count >= len(photos):
        return photos
    _, chosen = split_random(photos, count / len(photos), seed)
    return chosen


def split_random(photos: PhotoSet, val_share: float, seed: int) -> tuple[PhotoSet, PhotoSet]:
    """Train and validation, drawn within each class; each side gets at least one of every class.

    Photos of one object may fall on both sides, which flatters the figure.
    """
    rng = np.random.default_rng([seed, 3])
    train: list[int] = []
    val: list[int] = []
    for label, name in enumerate(photos.classes):
        rows = rng.permutation(np.flatnonzero(photos.targets == label))
        if len(rows) < 2:
            raise UsageError(
                f"{photos.root / name}: {len(rows)} picture in this class; at least 2 are needed, "
                "one to train on and one to validate with"
            )
        cut = min(max(1, round(len(rows) * val_share)), len(rows) - 1)
        val += [int(i) for i in rows[:cut]]
        train += [int(i) for i in rows[cut:]]
    return photos.subset(sorted(train)), photos.subset(sorted(val))


def check_classes(train: PhotoSet, val: PhotoSet) -> None:
    """Refuse a validation set with a class that was never trained on."""
    trained = {train.classes[i] for i in train.targets}
    unknown = sorted({val.classes[i] for i in val.targets} - trained)
    if unknown:
        raise UsageError(
            f"class {unknown[0]} is in validation and has no picture to train on; "
            "add some to the training list, or take its pictures off the validation list"
        )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from error


def to_cache_size(pixels: Pixels) -> Pixels:
    """Crop as the edge does and squeeze to (CACHE_H, CACHE_W, 3)."""
    return resize_down(centre_crop(pixels, MAX_ASPECT), CACHE_W, CACHE_H)


def load_pixels(photos: PhotoSet, cache_dir: Path, tick: Tick = lambda: None) -> Pixels:
    """(n, CACHE_H, CACHE_W, 3) uint8, read-only and memory-mapped, decoded at the first call."""
    key = f"pixels-{CACHE_FORMAT}-{CACHE_W}x{CACHE_H}-{_order_hash(photos)}"
    rows = (to_cache_size(read_picture(path)) for path in photos.paths)
    return _cached(cache_dir / f"{key}.npy", rows, (len(photos), CACHE_H, CACHE_W, 3), tick)


def load_masks(photos: PhotoSet, masks_dir: Path) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Saliency (n, MASK_H, MASK_W) uint8, and (n,) bool: which of them cut their item out well.

    A picture without a mask file gets an empty mask, which is not a good one.
    """
    if not masks_dir.is_dir():
        raise UsageError(f"{masks_dir}: no such folder; --masks takes CLASS/NAME.png files")
    masks = np.zeros((len(photos), MASK_H, MASK_W), np.uint8)
    for row, path in enumerate(photos.paths):
        mask_path = masks_dir / path.parent.name / f"{path.stem}.png"
        if mask_path.exists():
            masks[row] = read_mask(mask_path)
    return masks, np.array([is_good_mask(mask) for mask in masks])


def _order_hash(photos: PhotoSet) -> str:
    order = "\n".join(str(path) for path in photos.paths)
    return hashlib.sha256((photos.sha256() + order).encode()).hexdigest()[:16]


def _cached(path: Path, rows: Iterable[Pixels], shape: tuple[int, ...], tick: Tick) -> Pixels:
    if not path.exists():
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            # All of it now: a disk that fills while pages are written kills the process instead.
            with partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        except OSError as error:
            partial.unlink(missing_ok=True)
            needed = np.prod(shape, dtype=np.int64) / 1e6
            raise SmartbinError(
                f"{path.parent}: {needed:,.0f} MB of decoded pictures cannot be written "
                f"({error.strerror}); free space, or name another --cache"
            ) from error
        for i, row in enumerate(rows):
            array[i] = row
            tick()
        array.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
