"""RandAugment (Cubuk et al., NeurIPS 2020 workshop) for whole batches, in torch.

Each picture draws its own operations and their signs; the strength is common, as published.
Pictures are (b, 3, s, s) float32 in 0..1 and stay so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from trainer.augment import Draw

FULL = 30.0  # the strongest magnitude
Operation = Callable[[Tensor, Tensor], Tensor]  # views, signed strength (b, 1, 1, 1) in -1..1


def rand_augment(views: Tensor, draw: Draw, ops: int, magnitude: float) -> Tensor:
    """`ops` operations on every picture, each of `magnitude` (0..30)."""
    for _ in range(ops):
        chosen = draw.integers(len(OPERATIONS))
        strength = (draw.sign() * magnitude / FULL).view(-1, 1, 1, 1)
        views = views.clone()
        for i, operation in enumerate(OPERATIONS):
            rows = (chosen == i).nonzero().flatten()
            if len(rows):
                views[rows] = operation(views[rows], strength[rows]).clamp(0, 1)
    return views


def _identity(views: Tensor, strength: Tensor) -> Tensor:
    return views


def _autocontrast(views: Tensor, strength: Tensor) -> Tensor:
    low, high = views.amin((2, 3), keepdim=True), views.amax((2, 3), keepdim=True)
    return (views - low) / (high - low).clamp(min=1 / 255)


def _equalize(views: Tensor, strength: Tensor) -> Tensor:
    levels = (views * 255).long().flatten(0, 1).flatten(1)  # (b * 3, pixels)
    counts = torch.zeros(len(levels), 256, device=views.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float32))
    rank = counts.cumsum(1) / levels.shape[1]
    return rank.gather(1, levels).view_as(views)


def _brightness(views: Tensor, strength: Tensor) -> Tensor:
    return views * (1 + 0.9 * strength)


def _contrast(views: Tensor, strength: Tensor) -> Tensor:
    return torch.lerp(views.mean((1, 2, 3), keepdim=True), views, 1 + 0.9 * strength)


def _colour(views: Tensor, strength: Tensor) -> Tensor:
    return torch.lerp(views.mean(1, keepdim=True), views, 1 + 0.9 * strength)


def _sharpness(views: Tensor, strength: Tensor) -> Tensor:
    return torch.lerp(F.avg_pool2d(views, 3, 1, 1, count_include_pad=False), views, 1 + strength)


def _posterize(views: Tensor, strength: Tensor) -> Tensor:
    steps = 2 ** (8 - 4 * strength.abs())
    return (views * steps).floor() / (steps - 1)


def _solarize(views: Tensor, strength: Tensor) -> Tensor:
    return torch.where(views >= 1 - strength.abs(), 1 - views, views)


def _rotate(views: Tensor, strength: Tensor) -> Tensor:
    angle = strength * math.radians(30)
    return _warped(views, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _shear_x(views: Tensor, strength: Tensor) -> Tensor:
    return _warped(views, 1, 0.3 * strength, 0, 1)


def _shear_y(views: Tensor, strength: Tensor) -> Tensor:
    return _warped(views, 1, 0, 0.3 * strength, 1)


def _move_x(views: Tensor, strength: Tensor) -> Tensor:
    return _warped(views, 1, 0, 0, 1, x=0.9 * strength)


def _move_y(views: Tensor, strength: Tensor) -> Tensor:
    return _warped(views, 1, 0, 0, 1, y=0.9 * strength)


def _warped(
    views: Tensor,
    xx: Tensor | float,
    xy: Tensor | float,
    yx: Tensor | float,
    yy: Tensor | float,
    x: Tensor | float = 0.0,
    y: Tensor | float = 0.0,
) -> Tensor:
    """Sampled through a 2 x 3 matrix in -1..1; grey comes in from outside, as published."""
    ones = torch.ones(len(views), device=views.device)
    parts = [torch.as_tensor(v, device=views.device).flatten() * ones for v in (xx, xy, x)]
    lower = [torch.as_tensor(v, device=views.device).flatten() * ones for v in (yx, yy, y)]
    theta = torch.stack([torch.stack(parts, 1), torch.stack(lower, 1)], 1).float()
    grid = F.affine_grid(theta, list(views.shape), align_corners=False)
    return F.grid_sample(views - 0.5, grid, padding_mode="zeros", align_corners=False) + 0.5


OPERATIONS: tuple[Operation, ...] = (
    _identity,
    _autocontrast,
    _equalize,
    _brightness,
    _contrast,
    _colour,
    _sharpness,
    _posterize,
    _solarize,
    _rotate,
    _shear_x,
    _shear_y,
    _move_x,
    _move_y,
)
