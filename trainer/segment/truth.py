"""Whether a mask outlines the whole item, asked of the picture and of no network.

Masks of a saliency network are at times sure of a label, a stamp or a cap instead of the item. In
a picture taken on plain card such a mask leaves edges outside: the item's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.values import Pixels
from trainer.masks import Mask

EDGE = 40.0  # a Sobel response on 0..255 after slight blurring; soft shadows stay under it
NEAR_PX = 13  # round the mask, of its 256x192: the item's own outline is not left outside
# Found by eye on TrashNet's training photos: under 0.03 every mask was whole, over 0.05 nearly
# none, hard shadows on the card being the exceptions.
MOST_LEFT = 0.04
_NEAR = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (NEAR_PX, NEAR_PX))


def left_outside(pixels: Pixels, mask: Mask) -> float:
    """Edge pixels outside the mask as a share of all pixels, 0..1; (H, W, 3) and (h, w)."""
    height, width = mask.shape
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32)
    strength = cv2.magnitude(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    ).max(2)
    outside = cv2.dilate((mask > 40).astype(np.uint8), _NEAR) == 0
    return float((strength[outside] > EDGE).sum() / mask.size)


def is_whole(pixels: Pixels, mask: Mask) -> bool:
    """True where hardly any edge lies outside the mask; needs a plain background."""
    return left_outside(pixels, mask) <= MOST_LEFT
