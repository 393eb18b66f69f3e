"""Batches blended with themselves: MixUp or CutMix, drawn once a batch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from trainer.augment import mixup
from trainer.recipe import Augment


def mix(
    views: Tensor, targets: Tensor, spec: Augment, dice: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(b, 3, s, s) views and (b, n) class probabilities, at most one of both blends applied."""
    mixed, blended = mixup(views, targets, spec.mixup_alpha, spec.mixup_share, dice)
    if mixed is not views or spec.cutmix_share == 0 or dice.random() >= spec.cutmix_share:
        return mixed, blended
    return cutmix(views, targets, float(dice.random()), dice)


def cutmix(
    views: Tensor, targets: Tensor, keep: float, dice: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al., ICCV 2019): a box of 1 - `keep` of the area comes from another picture.

    Targets are shared by the area that is really seen, for a box may hang over the border.
    """
    height, width = views.shape[-2:]
    half = math.sqrt(1 - keep) / 2
    y, x = float(dice.random()), float(dice.random())
    top, bottom = (round(min(1, max(0, y + side)) * height) for side in (-half, half))
    left, right = (round(min(1, max(0, x + side)) * width) for side in (-half, half))
    order = torch.from_numpy(dice.permutation(len(views))).to(views.device)
    cut = views.clone()
    cut[..., top:bottom, left:right] = views[order][..., top:bottom, left:right]
    share = (bottom - top) * (right - left) / (height * width)
    return cut, torch.lerp(targets, targets[order], share)
