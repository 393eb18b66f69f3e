"""The segmenter `difference`: what is not the empty tray is the item. Nearly free."""

from __future__ import annotations

import cv2
import numpy as np

from edge.segmenters.base import LEAST_QUALITY, Cutting, Matte, NoMatte
from edge.tray import TrayMemory
from edge.values import Pixels

SOFTEN = 3  # cells: rounds the steps of the cells' outline


class DifferenceSegmenter(Cutting):
    """For a fixed camera over a fixed floor; knows no item until it knows the tray."""

    name = "difference"

    def __init__(self, tray: TrayMemory, *, least_quality: float = LEAST_QUALITY) -> None:
        super().__init__(least_quality=least_quality)
        self._tray = tray

    def matte(self, pixels: Pixels) -> Matte | NoMatte:
        """(H, W, 3) to the cells that hold matter, softened; shadows are none."""
        matter = self._tray.matter(pixels)
        if matter is None:
            return NoMatte(self._tray.unknown(pixels.shape))
        mask = cv2.GaussianBlur(matter.mask * np.uint8(255), (SOFTEN, SOFTEN), 0)
        # Strength 1 is just a change: no better than a guess. 3 is sure enough for a half.
        quality = 1 - 1 / max(1.0, matter.strength) if matter.strength else 0.0
        return Matte(np.asarray(mask, np.uint8), quality)
