"""One plain training loop for students and teachers.

AdamW (Loshchilov and Hutter, ICLR 2019), warm-up then cosine, label smoothing, MixUp, an average
of the weights. With a teacher its soft targets join (Hinton et al. 2015), on the very view the
student gets (Beyer et al., CVPR 2022: "a good and consistent teacher").
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.errors import UsageError
from trainer import checkpoint
from trainer.augment import Augmenter, mixup
from trainer.models import MEAN, STD, freeze
from trainer.objective import class_weights, groups, hard_loss, lr_factor, soft_loss
from trainer.recipe import Recipe
from trainer.val import ValSet

LOG_FIELDS = ("epoch", "px", "lr", "loss", "val_accuracy", "val_swapped", "val_loss", "seconds")


@dataclass(frozen=True, slots=True)
class TrainSet:
    """Everything a run learns from."""

    augmenter: Augmenter
    targets: npt.NDArray[np.int64]  # (n,)
    classes: tuple[str, ...]
    data_sha256: str


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


class Ema:
    """Exponential average of weights and BatchNorm statistics; what is validated and kept."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = {name: t.detach().clone() for name, t in net.state_dict().items()}

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


class Run:
    """One training in one folder; `last.pt` after every epoch, `best.pt` for the best."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainSet,
        val: ValSet,
        folder: Path,
        *,
        teacher: nn.Module | None = None,
        device: str = "cpu",
    ) -> None:
        self.recipe, self.data, self.val, self.folder = recipe, data, val, folder
        self.device = device
        self.teacher = teacher.to(device).eval() if teacher is not None else None
        torch.manual_seed(recipe.training.seed)
        net = checkpoint.network(recipe, len(data.classes))
        freeze(net, recipe.training.frozen_blocks)
        self.net = placed(net, device)
        empty = checkpoint.network(recipe, len(data.classes), weights="scratch")
        self.judge = placed(empty, device).eval()
        self._answers: dict[tuple[int, int, int], Tensor] = {}  # of the teacher: px, epoch, step
        self.ema = Ema(self.net, recipe.training.ema_decay)
        self.optimizer = torch.optim.AdamW(groups(self.net, recipe.training))
        power = recipe.training.class_weight_power
        self.weights = class_weights(data.targets, len(data.classes), power).to(device)
        self.epoch, self.best = 0, (-1.0, 0.0)
        self.steps_per_epoch = max(1, len(data.targets) // recipe.training.batch)
        folder.mkdir(parents=True, exist_ok=True)
        self._resume_or_start()

    def fit(self, tick: Callable[[str], object] = lambda text: None) -> Path:
        """Train what is left of the epochs; returns the best checkpoint. `tick` once a step."""
        while self.epoch < self.recipe.training.epochs:
            started_s = time.monotonic()
            px = size_of(self.epoch, self.recipe)
            loss = self._epoch(px, tick)
            score = self.validate()
            self.epoch += 1
            self._keep(score)
            seconds = time.monotonic() - started_s
            append_row(self.folder / "training_losses.csv", self._row(px, loss, score, seconds))
        return self.folder / "best.pt"

    def _row(self, px: int, loss: float, score: Score, seconds: float) -> tuple[Any, ...]:
        swapped = "" if score.swapped is None else f"{score.swapped:.4f}"
        measured = (f"{score.accuracy:.4f}", swapped, f"{score.loss:.4f}", f"{seconds:.1f}")
        return (self.epoch, px, f"{self._lr():.2e}", f"{loss:.4f}", *measured)

    def _epoch(self, px: int, tick: Callable[[str], object]) -> float:
        spec = self.recipe.training
        # Seeded by epoch, so that a resumed run goes on exactly as an unbroken one.
        shown = self._view_epoch()
        torch.manual_seed(spec.seed * 100_003 + self.epoch)
        dice = torch.Generator().manual_seed(spec.seed * 100_003 + shown)
        shuffle = np.random.default_rng([spec.seed, shown])
        order = shuffle.permutation(len(self.data.targets))
        self.net.train()
        total = 0.0
        for step in range(self.steps_per_epoch):
            rows = order[step * spec.batch : (step + 1) * spec.batch]
            total += self._step(rows, px, step, dice, shuffle)
            tick(f"epoch {self.epoch + 1}/{spec.epochs} {px} px loss {total / (step + 1):.3f}")
        return total / self.steps_per_epoch

    def _step(
        self,
        rows: npt.NDArray[np.int64],
        px: int,
        step: int,
        dice: torch.Generator,
        shuffle: np.random.Generator,
    ) -> float:
        spec = self.recipe.training
        self._set_lr(self.epoch + step / self.steps_per_epoch)
        views, nothing = self.data.augmenter.batch(rows, px, dice)
        hard = F.one_hot(torch.from_numpy(self.data.targets[rows]), len(self.data.classes))
        hard = hard.float().to(self.device)
        hard[nothing] = 1 / hard.shape[1]
        augment = self.recipe.augment
        views, hard = mixup(views, hard, augment.mixup_alpha, augment.mixup_share, shuffle)
        views = views.contiguous(memory_format=torch.channels_last)
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=bool(spec.bf16)):
            logits = self.net(views)
        loss = self._loss(logits.float(), hard, lambda: self._taught(views, px, step))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if spec.clip_norm:
            nn.utils.clip_grad_norm_(self.net.parameters(), spec.clip_norm)
        self.optimizer.step()
        self.ema.update(self.net)
        return float(loss.detach())

    def _loss(self, logits: Tensor, hard: Tensor, taught: Callable[[], Tensor]) -> Tensor:
        loss = hard_loss(logits, hard, self.weights, self.recipe.training.label_smoothing)
        if self.teacher is None:
            return loss
        soft = soft_loss(logits, taught(), self.recipe.soft.temperature)
        return self.recipe.soft.alpha * soft + (1 - self.recipe.soft.alpha) * loss

    @torch.no_grad()
    def _taught(self, views: Tensor, px: int, step: int) -> Tensor:
        """The teacher's logits, (b, n); asked once for views that come again."""
        assert self.teacher is not None
        if not self.recipe.soft.cycle_epochs:
            return self.teacher(views).float()  # type: ignore[no-any-return]
        key = (px, self._view_epoch(), step)
        if key not in self._answers:
            self._answers[key] = self.teacher(views).float()
        return self._answers[key]

    def _view_epoch(self) -> int:
        """The epoch whose views are shown: after `cycle_epochs` the first come again."""
        cycle = self.recipe.soft.cycle_epochs if self.teacher is not None else 0
        return self.epoch % cycle if cycle else self.epoch

    def validate(self) -> Score:
        """The averaged weights on the validation photos, in fp32 at the final size."""
        self.judge.load_state_dict(self.ema.state)
        accuracy, loss = judge(self.judge, self.val.original, self.val.targets, self.device)
        swapped = None
        if self.val.swapped is not None and self.val.swapped_targets is not None:
            targets = self.val.swapped_targets
            swapped, _ = judge(self.judge, self.val.swapped, targets, self.device)
        return Score(accuracy, loss, swapped)

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _set_lr(self, epoch: float) -> None:
        factor = lr_factor(epoch, self.recipe.training)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def _identity(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.to_toml(),
            "classes": list(self.data.classes),
            "data_sha256": self.data.data_sha256,
        }

    def _keep(self, score: Score) -> None:
        if score.rank > self.best:
            self.best = score.rank
            meta = {"epoch": self.epoch, "val_accuracy": score.accuracy}
            content = {**self._identity(), **meta, "state": self.ema.state}
            checkpoint.save(self.folder / "best.pt", content)
        content = {
            **self._identity(),
            "epoch": self.epoch,
            "best": list(self.best),
            "net": self.net.state_dict(),
            "ema": self.ema.state,
            "ema_steps": self.ema.steps,
            "optimizer": self.optimizer.state_dict(),
        }
        checkpoint.save(self.folder / "last.pt", content)

    def _resume_or_start(self) -> None:
        path = self.folder / "last.pt"
        if not path.exists():
            (self.folder / "recipe.toml").write_text(self.recipe.to_toml(), "utf-8")
            return
        content = checkpoint.load(path)
        other = [key for key, value in self._identity().items() if content.get(key) != value]
        if other:
            raise UsageError(
                f"{self.folder}: holds a training with another {' and '.join(other)}; "
                "name another --out or remove the folder"
            )
        self.net.load_state_dict(content["net"])
        self.ema.state = {k: v.to(self.device) for k, v in content["ema"].items()}
        self.ema.steps = int(content["ema_steps"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.epoch, self.best = int(content["epoch"]), tuple(content["best"])


def placed(net: nn.Module, device: str) -> nn.Module:
    """On the device, in the memory order that its convolutions are fastest in."""
    return net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def size_of(epoch: int, recipe: Recipe) -> int:
    """Small views first, then the final size (Touvron et al., NeurIPS 2019): half the time."""
    size_px, spec = recipe.network.size_px, recipe.training
    small = epoch < round(spec.small_share * spec.epochs)
    return min(spec.small_px, size_px) if small else size_px


def to_input(views: npt.NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """(b, S, S, 3) uint8 to (b, 3, S, S) float32, normalised as the Lite weights expect."""
    tensor = torch.from_numpy(np.ascontiguousarray(views)).to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (tensor - mean) / std


@torch.no_grad()
def judge(
    net: nn.Module, views: npt.NDArray[np.uint8], targets: npt.NDArray[np.int64], device: str
) -> tuple[float, float]:
    """Accuracy (0..1) and mean cross entropy of a network in evaluation mode."""
    logits = torch.cat(
        [net(to_input(views[i : i + 64], device)).cpu() for i in range(0, len(views), 64)]
    )
    truth = torch.from_numpy(targets)
    hits = (logits.argmax(1) == truth).float().mean()
    return float(hits), float(F.cross_entropy(logits, truth))


def append_row(path: Path, row: tuple[Any, ...], fields: tuple[str, ...] = LOG_FIELDS) -> None:
    """One line of the losses; the header comes with the first."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(fields)
        writer.writerow(row)
