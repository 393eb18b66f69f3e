"""Draws the pictures of the background challenge: the same for everyone, seeded by file names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.pictures import read_picture
from edge.values import Pixels
from trainer.compose import compose
from trainer.data import PhotoSet
from trainer.masks import Mask
from trainer.surfaces import Kind, challenge_surface

SEED = 2026
KINDS: tuple[Kind, ...] = ("brown", "random", "cardboard")
SWAPS = ("original", *KINDS)  # what the gap is made of
SAME_CLASS = "same class"
OWN = "own ground"
BARE = tuple(f"bare {kind}" for kind in KINDS)
COVERED = "covered"
EMPTY = (*BARE, COVERED)  # nothing but background: a network must not know what lay there
ALL = (*SWAPS, SAME_CLASS, OWN, *EMPTY)
WORDS = {
    "original": "as photographed",
    "brown": "the item on brown wood",
    "random": "on stone, rubber, metal, cloth, speckle or tiles",
    "cardboard": "on cardboard",
    SAME_CLASS: "on the background of another photo of its own class",
    OWN: "cut out, and put back onto its own photo with the item painted over",
    "bare brown": "the brown wood alone",
    "bare random": "the random surface alone",
    "bare cardboard": "the cardboard alone",
    COVERED: "the photo with its item painted over",
}
HOLE_FROM = 20  # of 255: what a mask leaves of soft edge and shadow must go as well
HOLE_GROWTH = 0.04  # of the width, around the mask
EDGE, MOST_EDGES = 60.0, 0.005  # Sobel step of grey levels, and share of the places in view


@dataclass(frozen=True, slots=True)
class Album:
    """Photos with their masks; only rows that are good take part."""

    photos: PhotoSet
    masks: Pixels  # (n, h, w) saliency
    good: npt.NDArray[np.bool_]  # (n,)
    plain: npt.NDArray[np.bool_]  # (n,) good, and nothing of the item is left beside the mask

    def view(self, row: int, kind: str) -> Pixels | None:
        """(H, W, 3) uint8; None where this photo cannot be shown so.

        `covered` and `own ground` need a mask that holds the whole item, `same class` another
        photo of the class that has one: half of a carton left in view would tell of the item.
        """
        pixels = read_picture(self.photos.paths[row])
        if kind == "original":
            return pixels
        if kind in KINDS:
            rng = self._dice(row, KINDS.index(kind))
            return compose(pixels, self.masks[row], challenge_surface(kind, rng), rng)
        if kind in BARE:
            number = BARE.index(kind)
            surface = challenge_surface(KINDS[number], self._dice(row, number))
            return np.asarray(cv2.resize(surface, pixels.shape[1::-1]), np.uint8)
        if kind in (COVERED, OWN):
            if not self.plain[row]:
                return None
            rng = self._dice(row, 4 if kind == COVERED else 5)
            ground = covered(pixels, self.masks[row], rng)
            return ground if kind == COVERED else compose(pixels, self.masks[row], ground, rng)
        other = self._partner(row)
        if other is None:
            return None
        rng = self._dice(row, 3)
        ground = covered(read_picture(self.photos.paths[other]), self.masks[other], rng)
        return compose(pixels, self.masks[row], ground, rng)

    def rows(self) -> Iterator[int]:
        """Of the photos that take part."""
        return (int(row) for row in np.flatnonzero(self.good))

    def _dice(self, row: int, number: int) -> np.random.Generator:
        # Seeded by the file's name: the same picture whatever the list it stands in.
        return np.random.default_rng([SEED, number, *self.photos.paths[row].name.encode()])

    def _partner(self, row: int) -> int | None:
        """The photo of the same class whose background is borrowed.

        By the least hash of both names (rendezvous hashing): a longer list changes few pairs.
        """
        same = self.plain & (self.photos.targets == self.photos.targets[row])
        same[row] = False
        mine = self.photos.paths[row].name
        return min(
            (int(other) for other in np.flatnonzero(same)),
            key=lambda other: _rank(mine, self.photos.paths[other].name),
            default=None,
        )


def _rank(mine: str, other: str) -> str:
    return hashlib.sha256(f"{SEED}/{mine}/{other}".encode()).hexdigest()


def covered(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> Pixels:
    """The item of (H, W, 3) `pixels` painted over with what lies around it, grain included."""
    height, width = pixels.shape[:2]
    keep = 1 - np.minimum(_hole(mask, width, height) * 2, 1)
    colours = pixels.astype(np.float32)
    filled = _pulled(colours * keep[..., None], keep)
    around = keep > 0.99
    grain = colours - cv2.GaussianBlur(colours, (0, 0), 1.5)
    strength = grain[around].std(0) if around.any() else np.zeros(3, np.float32)
    noise = rng.standard_normal((height, width, 3)).astype(np.float32) * strength
    mixed = colours * keep[..., None] + (filled + noise) * (1 - keep[..., None])
    return np.clip(mixed, 0, 255).astype(np.uint8)


def leaves_plain(pixels: Pixels, mask: Mask) -> bool:
    """Whether nothing with edges is left in view around the painted-over item."""
    size = (mask.shape[1], mask.shape[0])
    grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    slope_x, slope_y = (cv2.Sobel(grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    around = _hole(mask, *size) == 0
    edges = np.hypot(slope_x, slope_y)[around] > EDGE
    return bool(around.any() and edges.mean() < MOST_EDGES)


def _hole(mask: Mask, width: int, height: int) -> np.ndarray:
    """(height, width) float32: 1 where the item lay, grown a little, 0 elsewhere."""
    side = max(3, round(mask.shape[1] * HOLE_GROWTH) | 1)
    grown = cv2.dilate((mask > HOLE_FROM).astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(
        cv2.resize(grown.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    )


def _pulled(weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Holes filled from ever coarser copies (pull-push: Gortler et al., SIGGRAPH 1996).

    (H, W, 3) colours times their weight, and (H, W) weights 0..1, to (H, W, 3).
    """
    height, width = weight.shape
    own = weighted / np.maximum(weight, 1e-6)[..., None]
    if min(height, width) <= 2:
        return np.asarray(own)
    half = (max(1, width // 2), max(1, height // 2))
    coarse = _pulled(
        cv2.resize(weighted, half, interpolation=cv2.INTER_AREA),
        cv2.resize(weight, half, interpolation=cv2.INTER_AREA),
    )
    far = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    sure = np.minimum(weight * 2, 1)[..., None]
    return np.asarray(own * sure + far * (1 - sure))
