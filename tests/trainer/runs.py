"""Trainings of seconds on made-up photos, for the tests of the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.trainer.synthetic import TINY_RECIPE, write_photos
from trainer import pipeline
from trainer.bundles import Source
from trainer.checkpoint import load_trained
from trainer.data import scan, split_random
from trainer.models import build
from trainer.recipe import Recipe, parse_recipe


def tiny(others: dict[str, Any] | None = None, /, **training: Any) -> Recipe:
    """The tiny recipe; keywords are of its [training], `others` as {"augment.noise": 0}."""
    overrides = {**(others or {}), **{f"training.{key}": v for key, v in training.items()}}
    return parse_recipe(TINY_RECIPE, where="tiny", overrides=overrides)


def small_network(seed: int = 0, *, batches: int = 100) -> torch.nn.Module:
    """Of 32 px, its BatchNorm has seen data, so that folding it is not the identity."""
    torch.manual_seed(seed)
    net = build("lite0", 3, blocks=3, head=16, weights="scratch")
    with torch.no_grad():
        for _ in range(batches):
            net(torch.randn(8, 3, 32, 32))
    return net.eval()


def source_in(tmp_path: Path) -> Source:
    """24 photos of three colours, 6 of them to validate with."""
    train, val = split_random(scan(write_photos(tmp_path, per_class=8)), 0.25, 0)
    return Source("made up", "ours", train, val, None, None)


def run(
    tmp_path: Path,
    name: str,
    recipe: Recipe,
    teacher: Path | Sequence[Path] = (),
    watch: Callable[[int, object], None] = lambda epoch, score: None,
) -> Path:
    """Train into tmp_path/name; returns the best checkpoint."""
    return pipeline.train(
        recipe,
        source_in(tmp_path),
        pipeline.Folders(tmp_path / name, tmp_path / "cache", tmp_path / "masks"),
        teachers=[teacher] if isinstance(teacher, Path) else teacher,
        device="cpu",
        say=lambda text: None,
        watch=watch,
    )


def states_equal(one: Path, other: Path) -> bool:
    """The kept weights of two runs, bit for bit."""
    a, b = load_trained(one).net.state_dict(), load_trained(other).net.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
