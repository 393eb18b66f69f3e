"""One teacher or several, asked as one network: their logits are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.errors import UsageError
from trainer import backbones
from trainer.checkpoint import Trained, load_trained
from trainer.recipe import Network


class Teachers(nn.Module):
    """(b, 3, S, S) views normalised for the student to (b, n) mean logits.

    Each teacher gets the student's own view (Beyer et al., CVPR 2022), in the normalisation that
    it was trained with, and at no less than the size it needs.
    """

    def __init__(self, teachers: Sequence[Trained], student: Network) -> None:
        super().__init__()
        self.nets = nn.ModuleList(teacher.net for teacher in teachers)
        self._least = [backbones.least_px(t.recipe.network.family) for t in teachers]
        mean, std = (_row(v) for v in backbones.normalisation(student))
        for i, teacher in enumerate(teachers):
            own_mean, own_std = (_row(v) for v in backbones.normalisation(teacher.recipe.network))
            self.register_buffer(f"scale{i}", std / own_std)
            self.register_buffer(f"shift{i}", (mean - own_mean) / own_std)

    def forward(self, views: Tensor) -> Tensor:
        total = 0.0
        for i, net in enumerate(self.nets):
            own = views * getattr(self, f"scale{i}") + getattr(self, f"shift{i}")
            if own.shape[-1] < self._least[i]:
                own = F.interpolate(own, size=self._least[i], mode="bilinear", antialias=True)
            total = total + net(own).float()
        return torch.as_tensor(total / len(self.nets))


def _row(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def load(paths: Sequence[Path], classes: tuple[str, ...], student: Network) -> Teachers | None:
    """The checkpoints' best epochs, checked against the data's classes; None without any."""
    if not paths:
        return None
    trained = [load_trained(path) for path in paths]
    for teacher, path in zip(trained, paths, strict=True):
        if teacher.classes != classes:
            raise UsageError(
                f"{path}: the teacher's labels are {', '.join(teacher.classes)}, "
                f"the data's are {', '.join(classes)}; they must be the same"
            )
    return Teachers(trained, student)
