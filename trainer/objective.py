"""What a training minimises, and which weights do: losses, class weights, parameter groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.backbones import is_fresh
from trainer.recipe import Training
from trainer.schemes import lr_factor

__all__ = ["class_weights", "groups", "hard_loss", "lr_factor", "soft_loss"]


def groups(net: nn.Module, spec: Training, peak_lr: float) -> list[dict[str, Any]]:
    """New layers learn faster than pretrained ones; biases and BatchNorm do not decay."""
    made = []
    for fresh in (False, True):
        for flat in (False, True):
            chosen = [
                p
                for name, p in net.named_parameters()
                if p.requires_grad and is_fresh(net, name) == fresh and (p.ndim < 2) == flat
            ]
            peak = peak_lr * (spec.head_lr_factor if fresh else 1)
            decay = 0.0 if flat else spec.weight_decay
            made.append({"params": chosen, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    return [group for group in made if group["params"]]


def class_weights(targets: npt.NDArray[np.int64], classes: int, power: float) -> Tensor:
    """(n,) mean 1 over the pictures; a class without a picture weighs nothing."""
    counts = np.bincount(targets, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0)
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def hard_loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of (b, n) logits with (b, n) class probabilities, smoothed and weighted."""
    smooth = targets * (1 - smoothing) + smoothing / targets.shape[1]
    each = -(smooth * logits.log_softmax(1)).sum(1)
    return (each * (targets @ weights)).mean()


def soft_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher, student) of (b, n) logits, as in Hinton et al. 2015."""
    student = (logits / temperature).log_softmax(1)
    teacher = (taught / temperature).log_softmax(1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2
