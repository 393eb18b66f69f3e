"""One plain training loop for students and teachers.

What a recipe chooses stands beside it: optimizers, phases and learning rates in schemes.py, losses
in objective.py, blends in mixes.py, averages of the weights in averages.py, several processes in
parallel.py. With a teacher its soft targets join (Hinton et al. 2015), on the very view the
student gets (Beyer et al., CVPR 2022: "a good and consistent teacher").
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.errors import SmartbinError, UsageError
from trainer import checkpoint, state
from trainer.augment import Augmenter
from trainer.averages import Ema, Swa, copied, refresh_batchnorm
from trainer.backbones import is_fresh, normalisation
from trainer.judge import Score, judge, placed
from trainer.mixes import mix
from trainer.models import freeze
from trainer.objective import class_weights, groups, hard_loss, soft_loss
from trainer.parallel import ALONE, World
from trainer.recipe import Recipe
from trainer.schemes import Schedule, optimizer_of, phase_of, swa_start
from trainer.state import append_row
from trainer.val import ValSet

BN_BATCHES = 16  # training batches that the statistics of SWA's weights are measured on
Tick = Callable[[str], object]
Watch = Callable[[int, Score], None]  # after every epoch: its number from 1, and its score


@dataclass(frozen=True, slots=True)
class TrainSet:
    """Everything a run learns from."""

    augmenter: Augmenter
    targets: npt.NDArray[np.int64]  # (n,)
    classes: tuple[str, ...]
    data_sha256: str


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
        world: World = ALONE,
    ) -> None:
        spec = recipe.training
        world.check_batch(spec.batch)
        self.recipe, self.data, self.val, self.folder = recipe, data, val, folder
        self.device, self.world = device, world
        self.teacher = teacher.to(device).eval() if teacher is not None else None
        self.epoch, self.best, self.best_epoch = 0, (-1.0, 0.0), 0
        self.steps_per_epoch = max(1, len(data.targets) // spec.batch)
        self._answers: dict[tuple[int, int, int], Tensor] = {}  # of the teacher: px, epoch, step
        weights = class_weights(data.targets, len(data.classes), spec.class_weight_power)
        self.weights = weights.to(device)
        self._build()
        folder.mkdir(parents=True, exist_ok=True)
        self._resume_or_start()

    def _build(self) -> None:
        """Network, its average, optimizer and schedule, as they stand before the first epoch."""
        spec, classes = self.recipe.training, len(self.data.classes)
        torch.manual_seed(spec.seed)
        with self.world.first_first():  # weights that are fetched are fetched once
            net = checkpoint.network(self.recipe, classes)
        self.net = placed(self.world.prepared(net), self.device)
        empty = checkpoint.network(self.recipe, classes, weights="scratch")
        self.judge = placed(empty, self.device).eval()
        self.average = Ema(self.net, spec.ema_decay)
        self.swa = Swa(self.average.state)
        self.schedule = Schedule(spec)
        half = autocast_type(spec.bf16, spec.fp16, self.device)
        self._autocast = {"dtype": half or torch.bfloat16, "enabled": half is not None}
        kind = torch.device(self.device).type
        self.scaler = torch.amp.GradScaler(kind, enabled=half is torch.float16)
        self.begin_phase()

    def begin_phase(self) -> None:
        """What may learn from here on, and its optimizer."""
        phase = phase_of(self.epoch, self.recipe.training)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(is_fresh(self.net, name) or not phase.head_only)
        if not phase.head_only:
            freeze(self.net, self.recipe.training.frozen_blocks)
        spec = self.recipe.training
        self.optimizer = optimizer_of(groups(self.net, spec, phase.lr), spec)
        self.model = self.world.wrap(self.net)  # what forward is called on

    def fit(self, tick: Tick = lambda text: None, watch: Watch = lambda epoch, score: None) -> Path:
        """Train what is left of the epochs; returns the best checkpoint. `tick` once a step."""
        while self.epoch < self.recipe.training.epochs and not self.stale:
            started_s = time.monotonic()
            if self.epoch and self.epoch == self.recipe.training.head_epochs:
                self.begin_phase()
                self.schedule.new_phase()
            px = size_of(self.epoch, self.recipe)
            loss = self._epoch(px, tick)
            self._join_swa(px)
            score = self.world.from_first(self.validate() if self.world.writes else None)
            self.epoch += 1
            self._keep(score)
            if self.world.writes:
                seconds = time.monotonic() - started_s
                append_row(self.folder / "training_losses.csv", self._row(px, loss, score, seconds))
            watch(self.epoch, score)
        return self.folder / "best.pt"

    @property
    def stale(self) -> bool:
        """True where the recipe's patience has run out."""
        patience = self.recipe.training.patience_epochs
        return bool(patience) and self.epoch - self.best_epoch >= patience

    def _row(self, px: int, loss: float, score: Score, seconds: float) -> tuple[Any, ...]:
        swapped = "" if score.swapped is None else f"{score.swapped:.4f}"
        measured = (f"{score.accuracy:.4f}", swapped, f"{score.loss:.4f}", f"{seconds:.3f}")
        return (self.epoch, px, f"{self._lr():.2e}", f"{loss:.4f}", *measured)

    def _epoch(self, px: int, tick: Tick) -> float:
        spec = self.recipe.training
        # Seeded by epoch, so that a resumed run goes on exactly as an unbroken one.
        shown, rank = self._view_epoch(), self.world.rank
        torch.manual_seed(spec.seed * 100_003 + self.epoch + 7_000_003 * rank)
        dice = torch.Generator().manual_seed(spec.seed * 100_003 + shown + 7_000_003 * rank)
        shuffle = np.random.default_rng([spec.seed, shown])
        order = shuffle.permutation(len(self.data.targets))
        self.model.train()
        if phase_of(self.epoch, spec).head_only:
            rest(self.net)
        total = 0.0
        for step in range(self.steps_per_epoch):
            rows = self.world.rows(order[step * spec.batch : (step + 1) * spec.batch])
            total += self._step(rows, px, step, dice, shuffle)
            tick(f"epoch {self.epoch + 1}/{spec.epochs} {px} px loss {total / (step + 1):.3f}")
        if not math.isfinite(total):
            raise SmartbinError(
                f"epoch {self.epoch + 1}: the loss is {total}; lower training.lr or set "
                "training.clip_norm, and start again to go on from the epoch before"
            )
        return total / self.steps_per_epoch

    def _step(
        self,
        rows: npt.NDArray[np.int64],
        px: int,
        step: int,
        dice: torch.Generator,
        shuffle: np.random.Generator,
    ) -> float:
        self._set_lr(self.epoch + step / self.steps_per_epoch)
        views, nothing = self.data.augmenter.batch(rows, px, dice)
        hard = F.one_hot(torch.from_numpy(self.data.targets[rows]), len(self.data.classes))
        hard = hard.float().to(self.device)
        hard[nothing] = 1 / hard.shape[1]
        views, hard = mix(views, hard, self.recipe.augment, shuffle)
        views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast(torch.device(self.device).type, **self._autocast):
            logits = self.model(views)
        loss = self._loss(logits.float(), hard, lambda: self._taught(views, px, step))
        self._descend(loss)
        return float(loss.detach())

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        if self.recipe.training.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.training.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.net)

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

    def _join_swa(self, px: int) -> None:
        """In the recipe's last epochs their ends are averaged, and that is what is kept."""
        spec = self.recipe.training
        if not spec.swa_share or self.epoch < swa_start(spec):
            return
        self.swa.add(self.net)
        self.judge.load_state_dict(self.swa.state)
        refresh_batchnorm(self.judge, self._some_views(px))
        self.swa.state = copied(self.judge)

    def _some_views(self, px: int) -> Iterator[Tensor]:
        dice = torch.Generator().manual_seed(self.recipe.training.seed)
        order = np.random.default_rng(self.recipe.training.seed).permutation(len(self.data.targets))
        size = self.recipe.training.batch
        for step in range(min(BN_BATCHES, self.steps_per_epoch)):
            yield self.data.augmenter.batch(order[step * size : (step + 1) * size], px, dice)[0]

    @property
    def kept(self) -> dict[str, Tensor]:
        """The weights that are validated and kept."""
        return self.swa.state if self.swa.count else self.average.state

    def validate(self) -> Score:
        """The averaged weights on the validation photos, in fp32 at the final size."""
        self.judge.load_state_dict(self.kept)
        accuracy, loss = self._judged(self.val.original, self.val.targets)
        swapped = None
        if self.val.swapped is not None and self.val.swapped_targets is not None:
            swapped, _ = self._judged(self.val.swapped, self.val.swapped_targets)
        return Score(accuracy, loss, swapped)

    def _judged(
        self, views: npt.NDArray[np.uint8], targets: npt.NDArray[np.int64]
    ) -> tuple[float, float]:
        mean, std = normalisation(self.recipe.network)
        return judge(self.judge, views, targets, self.device, mean=mean, std=std)

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _set_lr(self, epoch: float) -> None:
        factor = self.schedule.factor(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def _keep(self, score: Score) -> None:
        self.schedule.seen(score.loss)
        better = score.rank > self.best
        if better:
            self.best, self.best_epoch = score.rank, self.epoch
        if not self.world.writes:
            return
        if better:
            meta = {"epoch": self.epoch, "val_accuracy": score.accuracy}
            content = {**self.identity(), **meta, "state": self.kept}
            checkpoint.save(self.folder / "best.pt", content)
        checkpoint.save(self.folder / "last.pt", state.content_of(self))

    def _resume_or_start(self) -> None:
        path = self.folder / "last.pt"
        if not path.exists():
            if self.world.writes:
                (self.folder / "recipe.toml").write_text(self.recipe.to_toml(), "utf-8")
            return
        content = checkpoint.load(path)
        if other := state.differing(self, content):
            raise UsageError(
                f"{self.folder}: holds a training with another {' and '.join(other)}; "
                "name another --run or remove the folder"
            )
        state.resume(self, content)

    def identity(self) -> dict[str, Any]:
        """What a training is made from; a folder holds one such training only."""
        return {
            "recipe": self.recipe.to_toml(),
            "classes": list(self.data.classes),
            "data_sha256": self.data.data_sha256,
        }


def rest(net: nn.Module) -> None:
    """BatchNorm of a trunk that only gives features keeps its published statistics."""
    for name, part in net.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not is_fresh(net, name):
            part.eval()


def autocast_type(bf16: int, fp16: int, device: str) -> torch.dtype | None:
    """What activations are computed in; None for fp32, which a CPU does instead of fp16."""
    if fp16 and device.startswith("cuda"):
        return torch.float16
    return torch.bfloat16 if bf16 else None


def size_of(epoch: int, recipe: Recipe) -> int:
    """Small views first, then the final size (Touvron et al., NeurIPS 2019): half the time."""
    size_px, spec = recipe.network.size_px, recipe.training
    small = epoch < round(spec.small_share * spec.epochs)
    return min(spec.small_px, size_px) if small else size_px
