"""Validation photos as a bin may show them, and pictures of nothing, for thresholds to be set on.

Drawn from the challenge's surfaces, which no training has seen, with seeds of their own: the
pictures here are none of the challenge's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.pictures import read_picture
from edge.segmenters.cutout import cut_out
from edge.values import Pixels
from trainer.compose import compose
from trainer.data import PhotoSet, load_masks
from trainer.surfaces import Kind, challenge_surface, cloth, speckle, stone, wood
from trainer.witness import Answers, Witness

SEED = 410
KNOWN = ("original", "swapped", "cut out")
GROUNDS: tuple[Kind, ...] = ("brown", "random")
# What no sorted item is made of, each a kind of its own so that one can be left out of the fit.
STRANGE = {"wood": wood, "cloth": cloth, "speckle": speckle, "stone": stone}


@dataclass(frozen=True, slots=True)
class View:
    """One picture to be judged."""

    kind: str  # one of KNOWN, or what it shows where that is no class
    row: int  # of the photo it was made from; -1 for none
    pixels: Pixels


def known_views(photos: PhotoSet, masks_dir: Path | None) -> Iterator[View]:
    """Each photo; where its mask is good, also on another surface, and cut out by it."""
    masks, good = _masks_of(photos, masks_dir)
    for row, path in enumerate(photos.paths):
        pixels = read_picture(path)
        yield View("original", row, pixels)
        if masks is not None and good[row]:
            rng = np.random.default_rng([SEED, 1, *path.name.encode()])
            surface = challenge_surface(GROUNDS[row % len(GROUNDS)], rng)
            yield View("swapped", row, compose(pixels, masks[row], surface, rng))
            cutout = cut_out(pixels, masks[row])
            if cutout is not None:
                yield View("cut out", row, cutout.pixels)


def strange_views(photos: PhotoSet, masks_dir: Path | None) -> Iterator[View]:
    """Surfaces with nothing on them, and outlines of items filled with what no item is made of.

    A frame of nothing but cardboard is left out: it may as well be an item that fills the frame.
    """
    masks, good = _masks_of(photos, masks_dir)
    for row, path in enumerate(photos.paths):
        rng = np.random.default_rng([SEED, 2, *path.name.encode()])
        ground = GROUNDS[row % len(GROUNDS)]
        yield View(f"bare {ground}", -1, challenge_surface(ground, rng))
        if masks is None or not good[row]:
            continue
        name = tuple(STRANGE)[row % len(STRANGE)]
        thing = STRANGE[name](rng)
        surface = challenge_surface(GROUNDS[int(rng.integers(len(GROUNDS)))], rng)
        yield View(f"strange {name}", -1, compose(thing, masks[row], surface, rng))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network says of every view of the items."""

    answers: Answers
    views: tuple[str, ...]  # of each, one of KNOWN
    rows: npt.NDArray[np.int64]  # the photo that each was made from


def look_at_items(
    witness: Witness, photos: PhotoSet, masks_dir: Path | None, tick: Callable[[], object]
) -> Seen:
    """Every known view once."""
    views, rows, parts = [], [], []
    for view in known_views(photos, masks_dir):
        views.append(view.kind)
        rows.append(view.row)
        parts.append(witness.look(view.pixels))
        tick()
    return Seen(Answers.joined(parts), tuple(views), np.array(rows, np.int64))


def count_views(photos: PhotoSet) -> int:
    """At most so many views of both kinds, for a progress bar."""
    return len(photos) * (len(KNOWN) + 2)


def _masks_of(photos: PhotoSet, masks_dir: Path | None) -> tuple[np.ndarray | None, np.ndarray]:
    if masks_dir is None:
        return None, np.zeros(len(photos), bool)
    return load_masks(photos, masks_dir)
