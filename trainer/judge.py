"""How good a network is: validation photos in, accuracy and loss out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models import MEAN, STD


@dataclass(frozen=True, slots=True)
class Score:
    """A validation, in shares 0..1; `swapped` is None without masks."""

    accuracy: float
    loss: float
    swapped: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """What the best epoch is chosen by: both surfaces count alike, then the loss."""
        both = self.accuracy if self.swapped is None else (self.accuracy + self.swapped) / 2
        return both, -self.loss


def placed(net: nn.Module, device: str) -> nn.Module:
    """On the device, in the memory order that its convolutions are fastest in."""
    return net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def to_input(
    views: npt.NDArray[np.uint8],
    device: str = "cpu",
    *,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> Tensor:
    """(b, S, S, 3) uint8 to (b, 3, S, S) float32, normalised; as the Lite weights expect."""
    tensor = torch.from_numpy(np.ascontiguousarray(views)).to(device).permute(0, 3, 1, 2).float()
    centre, scale = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))
    return (tensor - centre) / scale


@torch.no_grad()
def judge(
    net: nn.Module,
    views: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    device: str,
    *,
    mean: tuple[float, float, float] = MEAN,
    std: tuple[float, float, float] = STD,
) -> tuple[float, float]:
    """Accuracy (0..1) and mean cross entropy of a network in evaluation mode."""
    parts = []
    for i in range(0, len(views), 64):
        parts.append(net(to_input(views[i : i + 64], device, mean=mean, std=std)).cpu())
    logits, truth = torch.cat(parts), torch.from_numpy(targets)
    hits = (logits.argmax(1) == truth).float().mean()
    return float(hits), float(F.cross_entropy(logits, truth))
