"""The one definition of how pixels become the network's input, for the bin and the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.values import Pixels

Tensor = npt.NDArray[np.float32]
Input = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
FILL_GREY = 127  # around an item that was cut out: the zero of the networks' usual normalisation


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a network expects of its input; a part of its bundle."""

    size_px: int  # height and width of the input
    mean: tuple[float, float, float]  # RGB, on the 0..255 scale
    std: tuple[float, float, float]
    max_aspect: float = 4 / 3  # longer pictures lose their ends before they are squeezed


def network_input(pixels: Pixels, spec: Preprocessing, *, takes_bytes: bool) -> Input:
    """(1, size, size, 3) uint8 for a network that normalises by itself, else as `prepare`."""
    return squeeze(pixels, spec)[None] if takes_bytes else prepare(pixels, spec)


def prepare(pixels: Pixels, spec: Preprocessing) -> Tensor:
    """(H, W, 3) uint8 RGB to (1, 3, size, size) float32, normalised by mean and std."""
    square = squeeze(pixels, spec)
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    normalised = (square.astype(np.float32) - mean) / std
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def squeeze(pixels: Pixels, spec: Preprocessing) -> Pixels:
    """Centre-crop to the widest aspect the network was trained on, then resize to its square."""
    return resize_down(centre_crop(pixels, spec.max_aspect), spec.size_px, spec.size_px)


def centre_crop(pixels: Pixels, max_aspect: float) -> Pixels:
    """Cut the ends off a picture longer than `max_aspect` : 1, along either side; a view."""
    height, width = pixels.shape[:2]
    keep_w = min(width, round(height * max_aspect))
    keep_h = min(height, round(width * max_aspect))
    x0, y0 = (width - keep_w) // 2, (height - keep_h) // 2
    return pixels[y0 : y0 + keep_h, x0 : x0 + keep_w]


def resize_down(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by 2x2 averaging while twice too large, then bilinearly.

    Averages each source pixel like INTER_AREA does, at a fraction of its time: exact halving is
    vectorised in OpenCV, area resizing by a broken factor is not.
    """
    while pixels.shape[0] >= 2 * height and pixels.shape[1] >= 2 * width:
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        even = pixels[: half[1] * 2, : half[0] * 2]
        pixels = cast(Pixels, cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    if pixels.shape[:2] == (height, width):
        return pixels
    return cast(Pixels, cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT))
