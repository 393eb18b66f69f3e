"""What every segmenter shares: its contract, and what becomes of a poor mask.

A segmenter finds a mask over the frame and says how sure it is of it. Everything after that is
the same for all: a poor or empty mask, or none, falls back to the whole frame and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from edge.segmenters.cutout import Mask, cells_of, cut_out, fault_of, inside_of, main_pieces
from edge.values import Crop, Frame, Item, Pixels

WHOLE = "none"  # the name under which a whole frame is judged
LEAST_QUALITY = 0.4  # where a site says nothing else
UNDECIDED = (51, 204)  # mask values between, 0.2..0.8, are neither item nor background


class Segmenter(Protocol):
    """Cuts an item out of its frame; used by one thread."""

    name: str

    def cut(self, frame: Frame, item: Item) -> Crop:
        """Return what the classifier is to see; never raises for a frame it cannot cut."""

    def close(self) -> None:
        """Give back processes and memory; may be called again."""


@dataclass(frozen=True, slots=True)
class Matte:
    """A mask with what it is worth."""

    mask: Mask  # (h, w), stretched over the frame, 255 on the item
    quality: float  # 0..1


@dataclass(frozen=True, slots=True)
class NoMatte:
    """There is no mask, and why, in words."""

    why: str


class Cutting:
    """The part of `Segmenter` that is the same for all that find a mask."""

    name = ""

    def __init__(self, *, least_quality: float = LEAST_QUALITY) -> None:
        self._least_quality = least_quality

    def matte(self, pixels: Pixels) -> Matte | NoMatte:
        """(H, W, 3) to a mask over it, or why there is none."""
        raise NotImplementedError

    def cut(self, frame: Frame, item: Item) -> Crop:
        """The item on grey in a 4:3 window, or the whole frame and why."""
        found = self.matte(frame.pixels)
        if isinstance(found, NoMatte):
            return whole_frame(frame.pixels, note=self._note(found.why))
        hw = frame.pixels.shape[:2]
        mask = found.mask
        near = cells_of(item.box_xyxy, hw, mask.shape[:2]) if item.box_xyxy else None
        mask = main_pieces(mask, near)
        fault = fault_of(mask, quality=found.quality, least_quality=self._least_quality)
        cutout = None if fault else cut_out(frame.pixels, mask)
        if cutout is None:
            why = self._note(fault or "empty mask")
            return whole_frame(frame.pixels, note=why, quality=found.quality)
        return Crop(cutout.pixels, cutout.box_xyxy, cutout.mask, self.name, quality=found.quality)

    def close(self) -> None:
        """Nothing to give back."""

    def _note(self, why: str) -> str:
        return f"{self.name}: {why}, whole frame judged"


def whole_frame(pixels: Pixels, *, note: str = "", quality: float = 0.0) -> Crop:
    """The frame as it is, with why it was not cut."""
    height, width = pixels.shape[:2]
    return Crop(pixels, (0, 0, width, height), segmenter=WHOLE, note=note, quality=quality)


def certainty(mask: Mask) -> float:
    """The quality of a mask that a network drew, 0..1.

    Mean confidence within, less the undecided share: a net that does not know draws grey.
    """
    inside = inside_of(mask)
    area = cv2.countNonZero(inside)
    if area == 0:
        return 0.0
    mean = float(cv2.mean(mask, mask=inside)[0]) / 255
    undecided = int(np.count_nonzero((mask > UNDECIDED[0]) & (mask < UNDECIDED[1]))) / area
    return float(np.clip(mean - undecided, 0, 1))
