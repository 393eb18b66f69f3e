"""Saliency masks: which part of a picture is the item, and whether a mask is good enough to cut."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import PictureError

MASK_W, MASK_H = 256, 192
Mask = npt.NDArray[np.uint8]  # (h, w), 0 background .. 255 item


def read_mask(path: Path) -> Mask:
    """An 8-bit grey PNG as (MASK_H, MASK_W) uint8."""
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise PictureError(f"{path}: the mask cannot be decoded; an 8-bit grey PNG is needed")
    if mask.shape != (MASK_H, MASK_W):
        mask = cv2.resize(mask, (MASK_W, MASK_H), interpolation=cv2.INTER_AREA)
    return np.asarray(mask, np.uint8)


def is_good_mask(mask: Mask) -> bool:
    """Whether the item is cut out cleanly: neither faint nor the whole frame.

    The rule comes with the masks of TrashNet and was found by eye; 82 % of its photos pass.
    """
    item = mask > 128
    cover = float(item.mean())
    if not 0.02 <= cover <= 0.75:
        return False
    undecided = float(((mask >= 40) & (mask <= 215)).mean())
    return float(mask[item].mean()) > 225 and undecided < 0.08


def alpha_of(mask: Mask) -> npt.NDArray[np.float32]:
    """(h, w) float32 0..1: the soft edge pulled in a little, so that no white card clings to it."""
    return np.clip((mask.astype(np.float32) / 255 - 0.4) / 0.5, 0, 1)


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    """Centre x, y and half width, half height of the item, in -1..1 over the frame."""
    rows, columns = np.flatnonzero((mask > 128).any(1)), np.flatnonzero((mask > 128).any(0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = mask.shape
    x0, x1 = 2 * columns[0] / width - 1, 2 * (columns[-1] + 1) / width - 1
    y0, y1 = 2 * rows[0] / height - 1, 2 * (rows[-1] + 1) / height - 1
    return (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
