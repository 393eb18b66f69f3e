"""From a folder of photos and masks to a written segmenter with its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.bundles import Source
from trainer.data import load_masks, load_pixels
from trainer.progress import bar
from trainer.segment import scoring
from trainer.segment.fit import Learning, Run, load_trained
from trainer.segment.pack import Packed, package
from trainer.segment.recipe import SegmenterRecipe
from trainer.segment.report import write_report
from trainer.segment.scenes import Photos, SceneMaker
from trainer.segment.truth import is_whole

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things are and go."""

    masks: Path
    run: Path
    out: Path
    cache: Path


def make(
    recipe: SegmenterRecipe, source: Source, folders: Folders, device: str, say: Say
) -> tuple[Packed, Path]:
    """Train (or go on), export, quantize, measure, write; returns what was written and the page."""
    learning = learning_of(recipe, source, folders, device, say)
    with bar("decode validation", len(source.val)) as tick:
        scenes = scoring.scenes_of(source.val, folders.masks, tick)
    run = Run(recipe, learning, scenes, folders.run, device=device)
    steps = run.steps_per_epoch
    with bar("train", recipe.fit.epochs * steps, run.epoch * steps) as tick:
        best = run.fit(tick)
    trained = load_trained(best)
    say(f"best epoch of {run.epoch}: {trained.epoch}")
    packed = package(trained, learning, scenes, source, folders.out, say=say)
    page = folders.run / "segmenter.html"
    write_report(page, packed, folders.run / "training_losses.csv")
    return packed, page


def learning_of(
    recipe: SegmenterRecipe, source: Source, folders: Folders, device: str, say: Say
) -> Learning:
    """Decoded pictures, masks and surfaces, ready to be made into scenes."""
    with bar("decode training", len(source.train)) as tick:
        pixels = load_pixels(source.train, folders.cache, tick)
    masks, good = load_masks(source.train, folders.masks)
    if recipe.scenes.whole_only:
        good &= np.array([is_whole(*pair) for pair in zip(pixels, masks, strict=True)])
    names = np.array(source.train.classes)[source.train.targets]
    clear = np.isin(names, recipe.scenes.clear_classes.split())
    photos = Photos(pixels, masks, good, clear)
    say(
        f"{len(photos.items)} of {len(source.train)} training pictures have a good and whole mask, "
        f"{len(photos.grounds)} others show card or paper to lay items on"
    )
    return Learning(SceneMaker(photos, recipe, device=device), photos.items, source.train.sha256())
