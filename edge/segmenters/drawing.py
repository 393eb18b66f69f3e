"""A cut-out drawn for a person: the frame dimmed outside the item, its outline and its box."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from edge.segmenters.cutout import Mask
from edge.values import Box, Pixels

Colour = tuple[int, int, int]
ITEM: Colour = (255, 196, 0)  # of the outline and the box
BEHIND = np.array((20, 24, 34))  # what dims the rest, and how much of the rest stays
STAYS = 0.28


def draw_item(pixels: Pixels, mask: Mask) -> Pixels:
    """A picture dimmed outside an item, with its outline; both (H, W), the mask 255 on the item."""
    dim = (pixels * STAYS + BEHIND * (1 - STAYS)).astype(np.uint8)
    shown = np.where(mask[..., None] > 0, pixels, dim)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thick = max(2, round(pixels.shape[1] / 200))
    cv2.drawContours(shown, outlines, -1, ITEM, thick, cv2.LINE_AA)
    return cast(Pixels, shown)


def draw_box(pixels: Pixels, box: Box, ink: Colour, thick: int) -> None:
    """A box into a picture, edged in black so that it shows on any ground."""
    x0, y0, x1, y1 = box
    cv2.rectangle(pixels, (x0, y0), (x1, y1), (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.rectangle(pixels, (x0, y0), (x1, y1), ink, thick, cv2.LINE_AA)
