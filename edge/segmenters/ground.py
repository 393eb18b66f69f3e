"""What lies around an item, and by it how much the cut-out counts beside the whole frame.

The whole frame is the better picture on ground like the training photos' own, plain and light:
there a cut-out only loses edges, shadows and what shines through glass. On any other ground the
ground itself speaks for a class, and the cut-out is the better one. `docs/segmenters.md` has the
figures.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.segmenters.cutout import Mask, inside_of, mask_in_frame
from edge.values import Crop, Pixels

SIZE = (160, 120)  # width and height of the picture that is looked at, in px
NEAR = np.ones((11, 11), np.uint8)  # px of it: the item's edge and its shadow are no ground
LEAST_GROUND = 0.01  # of the picture; less, and nothing is known of the ground
BLUR = (7, 7)  # px of it; what is left beside the blurred picture is texture
# 90 % of TrashNet's validation photos are plain by these, and 3 % of the challenge's swaps.
MOST_TEXTURE = 1.3  # mean distance from the blurred picture, grey levels
MOST_COLOUR = 18.0  # mean chroma, CIELAB in OpenCV's 8 bits
LEAST_LIGHT = 140.0  # mean lightness, CIELAB in OpenCV's 8 bits
# Means over four students on validation, percent: TrashNet as photographed, the three swaps'
# mean, real litter, rendered items. The frame alone 91.8, 83.6, 45.4, 76.8; the cut-out alone
# 86.9, 84.6, 47.3, 82.8; these two shares 92.0, 85.5, 46.3, 83.1.
SHARE_PLAIN, SHARE_OTHER = 0.2, 0.6


def share_of(crop: Crop, frame: Pixels) -> float:
    """How much a cut-out of (H, W, 3) `frame` counts, 0..1; the frame counts the rest."""
    return SHARE_PLAIN if is_plain(frame, ground_of(crop, frame)) else SHARE_OTHER


def ground_of(crop: Crop, frame: Pixels) -> npt.NDArray[np.bool_]:
    """(120, 160), True where the frame shows neither the item nor its edge."""
    assert crop.mask is not None
    mask = mask_in_frame(crop.mask, crop.box_xyxy, frame.shape[:2])
    small = cast(Mask, cv2.resize(mask, SIZE, interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.dilate(inside_of(small), NEAR) == 0)


def is_plain(frame: Pixels, ground: npt.NDArray[np.bool_]) -> bool:
    """Whether the ground is light, of no colour and without texture; False where none is seen."""
    if ground.mean() < LEAST_GROUND:
        return False
    small = cast(Pixels, cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA))
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    texture = float(cv2.absdiff(grey, cv2.blur(grey, BLUR))[ground].mean())
    if texture > MOST_TEXTURE:
        return False
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[ground].astype(np.float32)
    colour = float(np.hypot(lab[:, 1] - 128, lab[:, 2] - 128).mean())
    return colour <= MOST_COLOUR and float(lab[:, 0].mean()) >= LEAST_LIGHT
