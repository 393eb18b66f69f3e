"""By what rule and how fast weights move: optimizers, phases, learning rates.

AdamW: Loshchilov and Hutter, ICLR 2019. Cosine: the same, SGDR, ICLR 2017. SWA's constant rate:
Izmailov et al., UAI 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from trainer.recipe import Training


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of epochs with its own learning rate."""

    start: int
    epochs: int
    lr: float
    head_only: bool


def phase_of(epoch: int, spec: Training) -> Phase:
    """Features first (only the head learns), then all of it; one phase without `head_epochs`."""
    if epoch < spec.head_epochs:
        return Phase(0, spec.head_epochs, spec.lr, True)
    lr = spec.tune_lr if spec.head_epochs and spec.tune_lr else spec.lr
    return Phase(spec.head_epochs, spec.epochs - spec.head_epochs, lr, False)


def optimizer_of(groups: list[dict[str, Any]], spec: Training) -> torch.optim.Optimizer:
    """The recipe's optimizer over groups that carry their own lr and weight decay."""
    if spec.optimizer == "sgd":
        nesterov = bool(spec.nesterov)
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=nesterov)
    if spec.optimizer == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.AdamW(groups)


def swa_start(spec: Training) -> int:
    """The first epoch whose end joins the SWA average; `epochs` where SWA is off."""
    return spec.epochs - round(spec.swa_share * spec.epochs)


def warmed(epoch: float, warmup_epochs: float) -> float:
    """A straight line from next to nothing to the peak."""
    return max(0.01, epoch / warmup_epochs)


def cosine(epoch: float, epochs: float, floor: float) -> float:
    """Half a cosine from the peak down to `floor` of it."""
    return floor + (1 - floor) * (1 + math.cos(math.pi * epoch / max(1e-9, epochs))) / 2


class Timed(Protocol):
    """What a plain warm-up and cosine needs of a recipe."""

    @property
    def epochs(self) -> int: ...
    @property
    def warmup_epochs(self) -> float: ...


def lr_factor(epoch: float, spec: Timed) -> float:
    """Linear warm-up, then half a cosine down to 1 % of the peak."""
    if epoch < spec.warmup_epochs:
        return warmed(epoch, spec.warmup_epochs)
    return cosine(epoch - spec.warmup_epochs, spec.epochs - spec.warmup_epochs, 0.01)


class Schedule:
    """Factor on every group's peak learning rate; only `plateau` remembers anything."""

    def __init__(self, spec: Training) -> None:
        self._spec = spec
        self._lowest, self._waited, self._drops = math.inf, 0, 0

    def factor(self, epoch: float) -> float:
        """At a moment of the training, in epochs since its start."""
        spec, phase = self._spec, phase_of(int(epoch), self._spec)
        if spec.swa_share and epoch >= swa_start(spec):
            return spec.swa_lr
        since = epoch - phase.start
        if since < spec.warmup_epochs:
            return warmed(since, spec.warmup_epochs)
        if spec.schedule == "step":
            return spec.lr_drop ** int(since // spec.step_epochs)
        if spec.schedule == "plateau":
            return max(spec.lr_floor, spec.lr_drop**self._drops)
        return cosine(since - spec.warmup_epochs, phase.epochs - spec.warmup_epochs, spec.lr_floor)

    def seen(self, val_loss: float) -> None:
        """Once an epoch; a plateau waits for a validation loss below the lowest yet."""
        if val_loss < self._lowest:
            self._lowest, self._waited = val_loss, 0
            return
        self._waited += 1
        if self._waited >= self._spec.plateau_epochs:
            self._drops, self._waited = self._drops + 1, 0

    def new_phase(self) -> None:
        """The second phase begins at its own peak."""
        self._lowest, self._waited, self._drops = math.inf, 0, 0

    def state(self) -> list[float]:
        """What a checkpoint keeps."""
        return [self._lowest, float(self._waited), float(self._drops)]

    def load(self, state: list[float]) -> None:
        """What a checkpoint kept."""
        self._lowest, self._waited, self._drops = state[0], int(state[1]), int(state[2])
