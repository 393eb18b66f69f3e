"""Pastes a masked item onto another surface, in numpy: for validation and the challenge."""

from __future__ import annotations

import cv2
import numpy as np

from edge.values import Pixels
from trainer.masks import Mask, alpha_of


def compose(pixels: Pixels, mask: Mask, surface: Pixels, rng: np.random.Generator) -> Pixels:
    """The item of (H, W, 3) `pixels`, where it lies, on `surface`, with a soft contact shadow."""
    height, width = pixels.shape[:2]
    alpha = cv2.resize(alpha_of(mask), (width, height), interpolation=cv2.INTER_LINEAR)
    ground = cv2.resize(surface, (width, height), interpolation=cv2.INTER_LINEAR)
    ground = ground * (1 - rng.uniform(0.2, 0.5) * _shadow(alpha, rng))[..., None]
    mixed = pixels * alpha[..., None] + ground * (1 - alpha[..., None])
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _shadow(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 0..1: the outline blurred and moved a little."""
    width = alpha.shape[1]
    soft = cv2.GaussianBlur(alpha, (0, 0), width * float(rng.uniform(0.01, 0.03)))
    dx, dy = (round(width * float(rng.uniform(-0.02, 0.02))) for _ in range(2))
    return np.roll(soft, (dy, dx), (0, 1))
