"""Averages of the weights on their way; what is validated and kept is the average."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def copied(net: nn.Module) -> State:
    """Weights and statistics of their own."""
    return {name: t.detach().clone() for name, t in net.state_dict().items()}


class Ema:
    """Exponential average of weights and BatchNorm statistics."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = copied(net)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """One step; young averages forget faster, so that the pretrained start fades."""
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 - keep)
            else:
                self.state[name].copy_(tensor)


class Swa:
    """Equal average of the weights at the ends of epochs (Izmailov et al., UAI 2018)."""

    def __init__(self, state: State, count: int = 0) -> None:
        self.state, self.count = state, count

    @torch.no_grad()
    def add(self, net: nn.Module) -> None:
        """The end of one more epoch."""
        if self.count == 0:
            self.state = copied(net)
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 / (self.count + 1))
        self.count += 1


@torch.no_grad()
def refresh_batchnorm(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure BatchNorm's statistics anew: those of averaged weights are no average of theirs."""
    norms = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    for views in batches:
        net(views)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
