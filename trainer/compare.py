"""Several recipes on the same split with the same budget of epochs, side by side.

A finished training is not run again, a killed one goes on. What is compared is what a training
gives: the epoch that was best on the validation pictures, on those pictures, which flatters all
of them alike.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from edge.errors import MissingExtraError
from trainer import backbones, pipeline, tables
from trainer.audit_run import save_whole
from trainer.bundles import Source
from trainer.checkpoint import load_trained
from trainer.judge import placed, to_input
from trainer.models import parameters
from trainer.recipe import Recipe, find_recipe, read_recipe
from trainer.scoring import report, share_text, wilson
from trainer.val import build_val

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Budget:
    """What every recipe gets alike; None leaves the recipe's own."""

    epochs: int
    size_px: int | None = None
    scratch: bool = False  # start from nothing where the recipe's weights cannot be had


@dataclass(frozen=True, slots=True)
class Row:
    """One recipe's line of the table; shares are 0..1, seconds those of training, teacher too."""

    recipe: str
    network: str
    start: str
    parameters: int
    px: int
    epochs: int
    best_epoch: int
    train: int
    val: int
    accuracy: float
    low: float
    high: float
    macro_f1: float
    seconds: float


def budgeted(recipe: Recipe, budget: Budget) -> Recipe:
    """The recipe with the common epochs, phases in proportion, and weights that are there.

    Raises MissingExtraError where they are not and `scratch` was not asked for.
    """
    training, network = recipe.training, recipe.network
    share = budget.epochs / training.epochs
    head = training.head_epochs and max(1, round(training.head_epochs * share))
    training = replace(
        training, epochs=budget.epochs, head_epochs=min(head, budget.epochs - 1), patience_epochs=0
    )
    if budget.size_px is not None:
        network = replace(network, size_px=budget.size_px)
    try:
        backbones.make(network, 2)
    except MissingExtraError as error:
        if not budget.scratch:
            raise MissingExtraError(
                f"{recipe.name}: {error}; --scratch lets it start from nothing, and says so"
            ) from error
        network = replace(network, weights="scratch")
        backbones.make(network, 2)
    return replace(recipe, training=training, network=network)


def compare(
    recipes: Sequence[Recipe],
    source: Source,
    folders: pipeline.Folders,
    budget: Budget,
    *,
    device: str,
    say: Say,
) -> list[Row]:
    """Train what is left to train; writes compare.csv and compare.md into the run folder."""
    planned = [budgeted(recipe, budget) for recipe in recipes]
    for recipe in planned:  # what cannot be had is told before the first training
        if recipe.soft.teacher:
            budgeted(find_recipe(recipe.soft.teacher), budget)
    rows = []
    for recipe in planned:
        rows.append(_row(recipe, source, folders, budget, device, say))
        scored = share_text(rows[-1].accuracy, rows[-1].val)
        say(f"{recipe.name}: {scored} in {rows[-1].seconds:.0f} s")
    save_whole(folders.run / "compare.csv", tables.as_csv(rows, Row, decimals=5))
    save_whole(folders.run / "compare.md", as_markdown(rows).encode())
    return rows


def _row(
    recipe: Recipe,
    source: Source,
    folders: pipeline.Folders,
    budget: Budget,
    device: str,
    say: Say,
) -> Row:
    say(f"{recipe.name}: {recipe.network.family}, from {recipe.network.weights}")
    own = replace(folders, run=folders.run / recipe.name)
    best = pipeline.train_student(
        recipe, source, own, device=device, say=say, adapt=lambda teacher: budgeted(teacher, budget)
    )
    trained = load_trained(best)
    views = build_val(source.val, pipeline.preprocessing_of(recipe)).original
    mean, std = backbones.normalisation(recipe.network)
    net = placed(trained.net, device).eval()
    found = []
    with torch.no_grad():
        for i in range(0, len(views), 32):
            logits = net(to_input(views[i : i + 32], device, mean=mean, std=std))
            found.append(logits.argmax(1).cpu().numpy())
    scored = report(source.val.targets, np.concatenate(found).astype(np.int64), source.val.classes)
    low, high = wilson(round(scored.accuracy * scored.n), scored.n)
    return Row(
        recipe=recipe.name,
        network=recipe.network.family,
        start=_start(recipe, own.run / "teacher"),
        parameters=parameters(trained.net),
        px=recipe.network.size_px,
        epochs=recipe.training.epochs,
        best_epoch=trained.epoch,
        train=len(source.train),
        val=scored.n,
        accuracy=scored.accuracy,
        low=low,
        high=high,
        macro_f1=scored.macro_f1,
        seconds=_seconds(own.run),
    )


def _start(recipe: Recipe, teacher: Path) -> str:
    """Where the network started from, and its own teacher where it had one."""
    known = ("package", "hub", "scratch")
    weights = recipe.network.weights
    start = weights if weights in known else Path(weights).name
    if not recipe.soft.teacher:
        return start
    taught = read_recipe(teacher / "recipe.toml")
    return f"{start}; teacher from {taught.network.weights}"


def _seconds(folder: Path) -> float:
    logs = [folder / "training_losses.csv", folder / "teacher" / "training_losses.csv"]
    total = 0.0
    for log in logs:
        if log.exists():
            with log.open(newline="", encoding="utf-8") as file:
                total += sum(float(row["seconds"]) for row in csv.DictReader(file))
    return total


def as_markdown(rows: Sequence[Row]) -> str:
    """The table for people, best first."""
    lines = [
        "| recipe | network | starts from | parameters | px | epochs (best) | train / val | "
        "accuracy % (95 %) | macro F1 | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: -r.accuracy):
        lines.append(
            f"| `{row.recipe}` | {row.network} | {row.start} | {row.parameters / 1e6:.2f} M | "
            f"{row.px} | {row.epochs} ({row.best_epoch}) | {row.train} / {row.val} | "
            f"{100 * row.accuracy:.1f} ({100 * row.low:.0f} to {100 * row.high:.0f}) | "
            f"{row.macro_f1:.3f} | {row.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"
