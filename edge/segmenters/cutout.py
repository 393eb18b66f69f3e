"""What a mask makes of a frame: its box, the window round it, and the item on neutral grey.

Pure, and the only definition: the student is trained on cut-outs of exactly this kind. A mask is
(h, w) uint8, 255 on the item, of any size, stretched over the whole frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import FILL_GREY
from edge.values import Box, Pixels

Mask = npt.NDArray[np.uint8]  # (h, w), 0 background .. 255 item

ASPECT = 4 / 3  # width : height of the window, as the student's pictures are
MARGIN = 0.1  # of the box, on each side
LEAST_HEIGHT = 0.2  # of the frame, for the window: a cap must not fill the picture
LEAST_AREA, MOST_AREA = 0.015, 0.85  # of the frame, for a mask that is worth anything
INSIDE = 128  # a mask from here on counts as item
ALPHA_FROM, ALPHA_SPAN = 0.4, 0.5  # alpha = clip((m - 0.4) / 0.5, 0, 1): soft, a little pulled in
BAND_BYTES = 64_000  # of 16-bit levels at a time
ALPHA_BITS = 7  # 0..128, so that 128 grey levels times alpha fit 16 bits
FRAGMENT = 0.1  # of the largest piece; smaller ones are specks
REACH = 0.15  # of the box a trigger found, added round it: pieces that do not touch it go
_LEVELS = np.clip((np.arange(256) / 255 - ALPHA_FROM) / ALPHA_SPAN, 0, 1) * 2**ALPHA_BITS
ALPHA = np.round(_LEVELS).astype(np.uint8)  # by mask value
# What the grey adds, with the half that rounds; by mask value.
GREY_PART = ((2**ALPHA_BITS - ALPHA.astype(np.int16)) * FILL_GREY + 2 ** (ALPHA_BITS - 1)).astype(
    np.int16
)


@dataclass(frozen=True, slots=True)
class CutOut:
    """An item on grey."""

    pixels: Pixels  # (H, W, 3), 4:3
    mask: npt.NDArray[np.bool_]  # (H, W), True on the item
    box_xyxy: Box  # of the item, in px of the frame


def inside_of(mask: Mask) -> Mask:
    """255 where a mask counts as item, else 0."""
    return cast(Mask, cv2.threshold(mask, INSIDE - 1, 255, cv2.THRESH_BINARY)[1])


def fault_of(mask: Mask, *, quality: float, least_quality: float) -> str:
    """Say why a mask is not to be trusted; empty where it is."""
    area = cv2.countNonZero(inside_of(mask)) / mask.size
    if area < LEAST_AREA:
        return "empty mask" if area == 0 else f"the mask covers only {area:.1%} of the frame"
    if area > MOST_AREA:
        return f"the mask covers {area:.0%} of the frame"
    if quality < least_quality:
        return f"mask quality {quality:.2f} is under {least_quality:g}"
    return ""


def cut_out(pixels: Pixels, mask: Mask) -> CutOut | None:
    """Put the item on grey, in a 4:3 window round its box; None where the mask is empty.

    A frame of a few pixels may have none on which its mask is item by more than half.
    """
    box = box_of(mask, pixels.shape[:2])
    if box is None:
        return None
    x0, y0, x1, y1 = window_of(box, pixels.shape[:2])
    window = np.full((y1 - y0, x1 - x0, 3), FILL_GREY, np.uint8)
    inside = np.zeros(window.shape[:2], np.bool_)
    fx0, fy0 = max(x0, 0), max(y0, 0)
    fx1, fy1 = min(x1, pixels.shape[1]), min(y1, pixels.shape[0])
    part = _stretched(mask, pixels.shape[:2])[fy0:fy1, fx0:fx1]
    there = np.s_[fy0 - y0 : fy1 - y0, fx0 - x0 : fx1 - x0]
    on_grey(pixels[fy0:fy1, fx0:fx1], part, window[there])
    inside[there] = part >= INSIDE
    if not inside.any():
        return None
    return CutOut(window, inside, box)


def on_grey(pixels: Pixels, mask: Mask, into: Pixels) -> None:
    """Blend (H, W, 3) into grey by a mask of the same size; whole numbers, so alike anywhere."""
    # In bands that the cache holds: the 16-bit picture as a whole costs five times as long.
    rows = max(1, BAND_BYTES // max(1, pixels.shape[1] * 6))
    for y in range(0, pixels.shape[0], rows):
        band = slice(y, y + rows)
        alpha, rest = cv2.LUT(mask[band], ALPHA), cv2.LUT(mask[band], GREY_PART)
        # At most 255 * 128 + 64, which 16 bits hold.
        blended = np.multiply(pixels[band], cv2.merge([alpha, alpha, alpha]), dtype=np.int16)
        blended += cv2.merge([rest, rest, rest])
        blended >>= ALPHA_BITS
        into[band] = blended


def box_of(mask: Mask, frame_hw: tuple[int, int]) -> Box | None:
    """The box of what is inside, in px of the frame; None where nothing is."""
    x, y, w, h = cv2.boundingRect(inside_of(mask))
    if w == 0:
        return None
    scale_y, scale_x = frame_hw[0] / mask.shape[0], frame_hw[1] / mask.shape[1]
    x0, y0 = int(x * scale_x), int(y * scale_y)
    x1, y1 = int(np.ceil((x + w) * scale_x)), int(np.ceil((y + h) * scale_y))
    return x0, y0, max(x0 + 1, min(x1, frame_hw[1])), max(y0 + 1, min(y1, frame_hw[0]))


def window_of(box: Box, frame_hw: tuple[int, int]) -> Box:
    """The smallest 4:3 rectangle round a box with its margin, about the same middle.

    It may reach beyond the frame, and is never lower than LEAST_HEIGHT of it.
    """
    x0, y0, x1, y1 = box
    with_margin = 1 + 2 * MARGIN
    wanted_w, wanted_h = (x1 - x0) * with_margin, (y1 - y0) * with_margin
    height = max(wanted_h, wanted_w / ASPECT, frame_hw[0] * LEAST_HEIGHT, 3.0)
    width = height * ASPECT
    left, top = round((x0 + x1 - width) / 2), round((y0 + y1 - height) / 2)
    return left, top, left + round(width), top + round(height)


def mask_in_frame(mask: npt.NDArray[np.bool_], box: Box, frame_hw: tuple[int, int]) -> Mask:
    """A cut-out's mask where it lies in its frame: (H, W), 255 on the item."""
    height, width = frame_hw
    x0, y0, x1, y1 = window_of(box, frame_hw)
    placed = np.zeros((height, width), np.uint8)
    fx0, fy0, fx1, fy1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    placed[fy0:fy1, fx0:fx1] = mask[fy0 - y0 : fy1 - y0, fx0 - x0 : fx1 - x0]
    return placed * np.uint8(255)


def main_pieces(mask: Mask, near: Box | None = None) -> Mask:
    """Keep the large pieces of a mask; of these, the ones that touch `near` where any does.

    `near` is in cells of the mask. Specks would stretch the box over half the frame.
    """
    inside = inside_of(mask)
    count, marked, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    labels = np.asarray(marked, np.int32)
    if count <= 2 and near is None:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = np.zeros(count, np.bool_)
    kept[1:] = True
    touching = _touching(labels, count, near)
    if touching.any():
        kept &= touching
    kept &= areas >= FRAGMENT * max(1, areas[kept].max(initial=0))
    if kept[1:].all():
        return mask
    return _without(mask, labels, kept)


def _touching(labels: npt.NDArray[np.int32], count: int, near: Box | None) -> npt.NDArray[np.bool_]:
    touching = np.zeros(count, np.bool_)
    if near is not None:
        x0, y0, x1, y1 = near
        touching[np.unique(labels[max(0, y0) : y1, max(0, x0) : x1])] = True
        touching[0] = False
    return touching


def _without(mask: Mask, labels: npt.NDArray[np.int32], kept: npt.NDArray[np.bool_]) -> Mask:
    """Clear all pieces that are not kept, and their soft edges, which belong to no piece."""
    good = kept[labels].astype(np.uint8)
    gone = (~kept[labels] & (labels > 0)).astype(np.uint8)
    near_good, near_gone = cv2.dilate(good, _EDGE), cv2.dilate(gone, _EDGE)
    cleared = mask.copy()
    cleared[(near_gone > 0) & (near_good == 0) | (gone > 0)] = 0
    return cleared


def cells_of(box: Box, frame_hw: tuple[int, int], mask_hw: tuple[int, int]) -> Box:
    """A box in px of the frame, widened by REACH, in cells of a mask."""
    x0, y0, x1, y1 = box
    scale_y, scale_x = mask_hw[0] / frame_hw[0], mask_hw[1] / frame_hw[1]
    reach_x, reach_y = REACH * (x1 - x0), REACH * (y1 - y0)
    return (
        max(0, int((x0 - reach_x) * scale_x)),
        max(0, int((y0 - reach_y) * scale_y)),
        min(mask_hw[1], int(np.ceil((x1 + reach_x) * scale_x))),
        min(mask_hw[0], int(np.ceil((y1 + reach_y) * scale_y))),
    )


def _stretched(mask: Mask, frame_hw: tuple[int, int]) -> Mask:
    if mask.shape == frame_hw:
        return mask
    size = (frame_hw[1], frame_hw[0])
    # Bit-exact, as in edge.preprocess: another processor's rounding must not move an edge.
    return cast(Mask, cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR_EXACT))


_EDGE = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))
