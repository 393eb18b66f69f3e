"""Weights on disk: written whole or not at all, read back with what they were made from."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.errors import SmartbinError, UsageError
from trainer import backbones
from trainer.recipe import Recipe, parse_recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """A network in evaluation mode, with what its bundle must say of it."""

    net: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    epoch: int
    data_sha256: str
    notes: dict[str, Any] = field(default_factory=dict)  # for the card

    def at(self, size_px: int | None) -> Trained:
        """The same weights for pictures of another side; None, or its own, changes nothing.

        A network of convolutions and one mean takes any size. Trained views are zoomed, so a
        little less than the trained side costs nothing but the time it saves (the other way
        round: Touvron et al., Fixing the train-test resolution discrepancy, NeurIPS 2019).
        """
        own_px = self.recipe.network.size_px
        if size_px in (None, own_px):
            return self
        network = replace(self.recipe.network, size_px=size_px)
        recipe = replace(self.recipe, network=network)
        return replace(self, recipe=recipe, notes={**self.notes, "trained_size_px": own_px})


def save(path: Path, content: dict[str, Any]) -> None:
    """Write beside, flush, rename: a kill leaves the old file or the new one."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into the second
        why = getattr(error, "strerror", None) or "is the disk full?"
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise SmartbinError(
            f"{path}: checkpoint cannot be written ({why}); what was there is whole, free some "
            "space and start again to go on"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Tensors and plain values only; never code."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such checkpoint; train one with `distill`") from error
    except Exception as error:  # torch raises pickle, zip and its own errors for a damaged file
        raise UsageError(f"{path}: checkpoint cannot be read ({type(error).__name__})") from error


def network(recipe: Recipe, classes: int, *, weights: str | None = None) -> nn.Module:
    """The recipe's network; `weights` overrides where it starts from."""
    return backbones.make(recipe.network, classes, weights)


def load_trained(path: Path) -> Trained:
    """The averaged weights of a run's best epoch, ready to export or to teach."""
    content = load(path)
    try:
        recipe = parse_recipe(content["recipe"], where=f"{path}: recipe")
        classes = tuple(content["classes"])
        net = network(recipe, len(classes), weights="scratch")
        net.load_state_dict(content["state"])
        epoch, data = int(content["epoch"]), str(content["data_sha256"])
    except (KeyError, RuntimeError) as error:
        raise UsageError(f"{path}: not a checkpoint of this trainer ({error})") from error
    return Trained(net.eval(), recipe, classes, epoch, data, dict(content.get("notes", {})))
