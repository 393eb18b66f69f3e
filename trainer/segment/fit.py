"""Trains a segmenter: one plain loop, resumed after a kill from the last whole epoch."""

from __future__ import annotations

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
from edge.values import Pixels
from trainer import checkpoint
from trainer.averages import Ema
from trainer.judge import placed
from trainer.schemes import lr_factor
from trainer.segment import scoring
from trainer.segment.network import Segmenter, build_segmenter
from trainer.segment.recipe import Fit, SegmenterRecipe, parse
from trainer.segment.scenes import SceneMaker
from trainer.state import append_row

LOG_FIELDS = ("epoch", "lr", "loss", "val_iou", "val_swapped", "val_empty", "seconds")
EDGE_PX = 5  # of the logits: how wide an outline is


@dataclass(frozen=True, slots=True)
class Learning:
    """Everything a run learns from."""

    scenes: SceneMaker
    rows: npt.NDArray[np.int64]  # of the photos that may be shown
    data_sha256: str


@dataclass(frozen=True, slots=True)
class Trained:
    """A network in evaluation mode, with what its card must say of it."""

    net: Segmenter
    recipe: SegmenterRecipe
    epoch: int
    data_sha256: str


def network_of(recipe: SegmenterRecipe, *, weights: str | None = None) -> Segmenter:
    """The recipe's network; `weights` overrides where it starts from.

    A best.pt of this trainer starts the decoder too, a .pth file of weights the trunk alone.
    """
    spec = recipe.network
    widths = (spec.fine, spec.middle, spec.coarse)
    chosen = weights or spec.weights
    if not chosen.endswith(".pt"):
        return build_segmenter(blocks=spec.blocks, widths=widths, weights=chosen)
    net = build_segmenter(blocks=spec.blocks, widths=widths, weights="scratch")
    try:
        net.load_state_dict(checkpoint.load(Path(chosen))["state"])
    except (KeyError, RuntimeError) as error:
        raise UsageError(f"{chosen}: not a checkpoint of such a segmenter ({error})") from error
    return net


class Run:
    """One training in one folder; `last.pt` after every epoch, `best.pt` for the best."""

    def __init__(
        self,
        recipe: SegmenterRecipe,
        data: Learning,
        val: list[scoring.Scene],
        folder: Path,
        *,
        device: str = "cpu",
    ) -> None:
        self.recipe, self.data, self.val, self.folder = recipe, data, val, folder
        self.device = device
        torch.manual_seed(recipe.fit.seed)
        net = network_of(recipe)
        freeze(net, recipe.fit.frozen_blocks)
        self.net = placed(net, device)
        self.judge = placed(network_of(recipe, weights="scratch"), device).eval()
        self.ema = Ema(self.net, recipe.fit.ema_decay)
        self.optimizer = torch.optim.AdamW(groups(self.net, recipe.fit))
        self.epoch, self.best = 0, -1.0
        self.steps_per_epoch = max(1, len(data.rows) // recipe.fit.batch)
        folder.mkdir(parents=True, exist_ok=True)
        self._resume_or_start()

    def fit(self, tick: Callable[[str], object] = lambda text: None) -> Path:
        """Train what is left of the epochs; returns the best checkpoint. `tick` once a step."""
        while self.epoch < self.recipe.fit.epochs:
            started_s = time.monotonic()
            loss = self._epoch(tick)
            figures = self.validate()
            self.epoch += 1
            self._keep(figures)
            lr = float(self.optimizer.param_groups[0]["lr"])
            measured = tuple(f"{figure:.4f}" for figure in (loss, *figures))
            row = (self.epoch, f"{lr:.2e}", *measured, f"{time.monotonic() - started_s:.1f}")
            append_row(self.folder / "training_losses.csv", row, LOG_FIELDS)
        return self.folder / "best.pt"

    def _epoch(self, tick: Callable[[str], object]) -> float:
        spec = self.recipe.fit
        # Seeded by epoch, so that a resumed run goes on exactly as an unbroken one.
        dice = torch.Generator().manual_seed(spec.seed * 100_003 + self.epoch)
        order = np.random.default_rng([spec.seed, self.epoch]).permutation(self.data.rows)
        self.net.train()
        total = 0.0
        for step in range(self.steps_per_epoch):
            factor = lr_factor(self.epoch + step / self.steps_per_epoch, spec)
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            rows = order[step * spec.batch : (step + 1) * spec.batch]
            total += self._step(rows, dice)
            tick(f"epoch {self.epoch + 1}/{spec.epochs} loss {total / (step + 1):.3f}")
        return total / self.steps_per_epoch

    def _step(self, rows: npt.NDArray[np.int64], dice: torch.Generator) -> float:
        views, masks = self.data.scenes.batch(rows, dice)
        logits = self.net(views.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits, masks, self.recipe.fit)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.fit.clip_norm)
        self.optimizer.step()
        self.ema.update(self.net)
        return float(loss.detach())

    def validate(self) -> tuple[float, float, float]:
        """Of the averaged weights: mean IoU on photos, on other surfaces; share seen as empty.

        Photos whose mask is of a mere label count only where there are no others.
        """
        self.judge.load_state_dict(self.ema.state)
        scores = scoring.judge(finder(self.judge, self.recipe, self.device), self.val)
        photos = [s for s in scores if s.scene.kind == "photo"]
        whole = [s for s in photos if s.scene.whole] or photos
        swapped = [s for s in scores if s.scene.kind in scoring.KINDS]
        means = [float(np.mean([s.iou for s in part])) for part in (whole, swapped)]
        empty = [s.area < scoring.LEAST_AREA for s in scores if s.scene.kind == "empty"]
        return means[0], means[1], float(np.mean(empty)) if empty else 1.0

    def _identity(self) -> dict[str, Any]:
        return {"recipe": self.recipe.to_toml(), "data_sha256": self.data.data_sha256}

    def _keep(self, figures: tuple[float, float, float]) -> None:
        # An item missed on another surface and a mask on an empty tray count alike.
        rank = figures[0] + figures[1] + 0.5 * figures[2]
        if rank > self.best:
            self.best = rank
            content = {**self._identity(), "epoch": self.epoch, "state": self.ema.state}
            checkpoint.save(self.folder / "best.pt", content)
        content = {
            **self._identity(),
            "epoch": self.epoch,
            "best": self.best,
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
                "name another --run or remove the folder"
            )
        self.net.load_state_dict(content["net"])
        self.ema.state = {k: v.to(self.device) for k, v in content["ema"].items()}
        self.ema.steps = int(content["ema_steps"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.epoch, self.best = int(content["epoch"]), float(content["best"])


def load_trained(path: Path) -> Trained:
    """The averaged weights of a run's best epoch, ready to export."""
    content = checkpoint.load(path)
    try:
        recipe = parse(content["recipe"], where=f"{path}: recipe")
        net = network_of(recipe, weights="scratch")
        net.load_state_dict(content["state"])
        epoch, data = int(content["epoch"]), str(content["data_sha256"])
    except (KeyError, RuntimeError) as error:
        raise UsageError(f"{path}: not a checkpoint of a segmenter ({error})") from error
    net.eval()
    return Trained(net, recipe, epoch, data)


def finder(net: nn.Module, recipe: SegmenterRecipe, device: str = "cpu") -> scoring.Finder:
    """A torch network as something that finds masks."""
    spec = recipe.network

    @torch.no_grad()
    def find(pixels: Pixels) -> scoring.Found:
        batch = scoring.prepared(pixels, spec.width_px, spec.height_px)
        logits = net(torch.from_numpy(batch).to(device))
        return scoring.probabilities(logits.cpu().numpy())

    return find


def freeze(net: Segmenter, blocks: int) -> None:
    """Keep the stem and the first `blocks` blocks as they are; 0 keeps nothing."""
    if blocks:
        net.stem.requires_grad_(False)
    for i in range(min(blocks, len(net.blocks))):
        net.blocks[i].requires_grad_(False)


def groups(net: nn.Module, spec: Fit) -> list[dict[str, Any]]:
    """The pretrained trunk learns slower than the decoder; biases and BatchNorm do not decay."""
    made = []
    for trunk in (False, True):
        for flat in (False, True):
            chosen = [
                p
                for name, p in net.named_parameters()
                if p.requires_grad
                and name.startswith(("stem.", "blocks.")) == trunk
                and (p.ndim < 2) == flat
            ]
            peak = spec.lr * (spec.trunk_lr_factor if trunk else 1)
            decay = 0.0 if flat else spec.weight_decay
            made.append({"params": chosen, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    return [group for group in made if group["params"]]


def loss_of(logits: Tensor, masks: Tensor, spec: Fit) -> Tensor:
    """Cross entropy with soft masks, heavier on outlines, and soft Dice (Milletari et al. 2016).

    Both (b, 1, h, w). Dice says nothing of an empty scene, so it counts only where an item is.
    """
    half = EDGE_PX // 2
    wide = F.max_pool2d(masks, EDGE_PX, 1, half)
    narrow = -F.max_pool2d(-masks, EDGE_PX, 1, half)
    weight = 1 + spec.edge_weight * (wide - narrow)
    each = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    entropy = (each * weight).sum() / weight.sum()
    found = logits.sigmoid()
    common = (found * masks).sum((1, 2, 3))
    dice = 1 - (2 * common + 1) / (found.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    shown = (masks.sum((1, 2, 3)) > 1).float()
    mean_dice = (dice * shown).sum() / shown.sum().clamp(min=1)
    return entropy + spec.dice_weight * mean_dice
