"""Cross-validation: the one training loop, once for each fold and seed, and what they give.

Each fold is judged by its last epoch, on which nothing was chosen; the figure of the best epoch,
which is what a single training reports, stands beside it and flatters. A finished fold is not
run again, a killed one goes on at its last epoch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge.errors import UsageError
from trainer import checkpoint, pipeline
from trainer.audit_run import save_whole
from trainer.backbones import normalisation
from trainer.bundles import Source
from trainer.data import PhotoSet
from trainer.judge import placed, to_input
from trainer.recipe import Network, Recipe
from trainer.scoring import Report, report, share_text
from trainer.splits import Ints, Plan, Split, list_text, split
from trainer.val import build_val

Say = Callable[[str], object]
FIELDS = ("seed", "fold", "train", "val", "accuracy", "macro_f1", "best_epoch_accuracy", "epochs")
BATCH = 64


@dataclass(frozen=True, slots=True)
class Job:
    """What is cross-validated; `groups` and `lists` as trainer.splits.split wants them."""

    recipe: Recipe
    photos: PhotoSet
    plan: Plan  # its seed is replaced by each of `seeds`
    seeds: tuple[int, ...]
    out: Path
    groups: Ints | None = None
    lists: Split | None = None
    masks: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            given = ",".join(map(str, self.seeds))
            raise UsageError(f"--seeds {given}: must be different whole numbers from 0, as 0,1,2")


def crossval(job: Job, say: Say) -> dict[str, Any]:
    """Run what is left to run; returns and writes OUT/crossval.json and OUT/crossval.csv."""
    rows = []
    planned = [(seed, _folds(job, seed)) for seed in job.seeds]  # refuses before any training
    data = job.photos.sha256()
    for seed, folds in planned:
        for k, sides in enumerate(folds):
            folder = job.out / f"seed{seed}" / f"fold{k + 1}"
            rows.append(train_fold(job, seed, k + 1, sides, folder, data, say))
            done = f"seed {seed}, fold {k + 1} of {len(folds)}"
            say(f"{done}: {rows[-1]['accuracy']:.2%} at the last epoch")
    result = summary(job, rows, data)
    save_whole(job.out / "crossval.json", (json.dumps(result, indent=1) + "\n").encode())
    save_whole(job.out / "crossval.csv", csv_of(rows, FIELDS).encode())
    return result


def _folds(job: Job, seed: int) -> list[Split]:
    return split(job.photos, replace(job.plan, seed=seed), job.groups, job.lists)


def train_fold(
    job: Job, seed: int, fold: int, sides: Split, folder: Path, data: str, say: Say
) -> dict[str, Any]:
    """Train on one side and judge by the other, where `folder` does not hold that already."""
    recipe = replace(job.recipe, training=replace(job.recipe.training, seed=seed))
    identity = _identity(job, recipe, sides, data)
    path = folder / "result.json"
    if (known := _known(path, identity)) is not None:
        return known
    train, val = (job.photos.subset(rows.tolist()) for rows in (sides.train, sides.val))
    folders = pipeline.Folders(folder, folder / "cache", job.masks)
    source = Source(job.photos.root.name, "not stated", train, val, None, None)
    pipeline.train(recipe, source, folders, device=job.device, say=say)
    scored, best = _judge_last(recipe, val, folder, job.device)
    row = {
        "identity": identity,
        "seed": seed,
        "fold": fold,
        "train": len(train),
        "val": len(val),
        "accuracy": scored.accuracy,
        "macro_f1": scored.macro_f1,
        "best_epoch_accuracy": best,
        "epochs": recipe.training.epochs,
        "per_class": scored.per_class,
        "confusion": scored.confusion,
    }
    save_whole(path, (json.dumps(row, indent=1) + "\n").encode())
    shutil.rmtree(folders.cache, ignore_errors=True)  # 0.3 MB a picture, for each fold anew
    return row


def _known(path: Path, identity: str) -> dict[str, Any] | None:
    """The row of a finished fold; None where it is still to be run."""
    if not path.exists():
        return None
    try:
        known = dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise UsageError(f"{path}: is damaged; remove it to run this fold again") from error
    if known.get("identity") != identity:
        raise UsageError(
            f"{path.parent}: holds a fold of another recipe, data or split; name another --out or "
            "remove it"
        )
    return known


def _identity(job: Job, recipe: Recipe, sides: Split, data: str) -> str:
    masks = "masks" if job.masks else "no masks"
    lists = "|".join(list_text(job.photos, rows) for rows in (sides.train, sides.val))
    return hashlib.sha256(f"{recipe.to_toml()}|{data}|{masks}|{lists}".encode()).hexdigest()


def _judge_last(recipe: Recipe, val: PhotoSet, folder: Path, device: str) -> tuple[Report, float]:
    """The last epoch's averaged weights on all of `val`, and the best epoch's accuracy."""
    net = checkpoint.network(recipe, len(val.classes), weights="scratch")
    net.load_state_dict(checkpoint.load(folder / "last.pt")["ema"])
    views = build_val(val, pipeline.preprocessing_of(recipe)).original
    probs = _probabilities(placed(net, device).eval(), views, device, recipe.network)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("picture", "label", *val.classes))
    for path, row in zip(val.paths, probs, strict=True):
        name = f"{path.parent.name}/{path.name}"
        writer.writerow((name, path.parent.name, *(f"{value:.5f}" for value in row)))
    save_whole(folder / "predictions.csv", text.getvalue().encode())
    best = float(checkpoint.load(folder / "best.pt")["val_accuracy"])
    return report(val.targets, probs.argmax(1).astype(np.int64), val.classes), best


@torch.no_grad()
def _probabilities(
    net: nn.Module, views: npt.NDArray[np.uint8], device: str, spec: Network
) -> npt.NDArray[np.float32]:
    mean, std = normalisation(spec)
    batches = (views[i : i + BATCH] for i in range(0, len(views), BATCH))
    parts = [
        torch.softmax(net(to_input(batch, device, mean=mean, std=std)), 1).cpu()
        for batch in batches
    ]
    return torch.cat(parts).numpy()  # type: ignore[no-any-return]


def summary(job: Job, rows: Sequence[dict[str, Any]], data: str) -> dict[str, Any]:
    """Mean and deviations of the rows, in shares 0..1, with all that made them."""
    by_seed = [float(np.average(*_column(rows, "accuracy", seed))) for seed in job.seeds]
    return {
        "recipe": job.recipe.name,
        "kind": job.plan.kind,
        "folds": job.plan.folds,
        "seeds": list(job.seeds),
        "pictures": len(job.photos),
        "classes": list(job.photos.classes),
        "data_sha256": data,
        "masks": job.masks is not None,
        "accuracy": _spread([row["accuracy"] for row in rows]),
        "macro_f1": _spread([row["macro_f1"] for row in rows]),
        "best_epoch_accuracy": _spread([row["best_epoch_accuracy"] for row in rows]),
        "accuracy_per_seed": {**_spread(by_seed), "values": by_seed},
        "runs": [{key: value for key, value in row.items() if key != "identity"} for row in rows],
    }


def _column(
    rows: Sequence[dict[str, Any]], key: str, seed: int
) -> tuple[list[float], None, list[int]]:
    """As numpy.average takes it: values, no axis, weights (pictures judged)."""
    own = [row for row in rows if row["seed"] == seed]
    return [row[key] for row in own], None, [row["val"] for row in own]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation; None for the deviation of a single value."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": deviation, "n": len(values)}


def csv_of(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> str:
    """These fields of the rows, with a head line; five decimals."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow(rounded)
    return text.getvalue()


def as_text(result: dict[str, Any]) -> str:
    """A line a run and the mean, for people."""
    lines = [
        f"seed {row['seed']} fold {row['fold']}: {share_text(row['accuracy'], row['val'])}, "
        f"macro F1 {row['macro_f1']:.3f}, best epoch {row['best_epoch_accuracy']:.2%}"
        for row in result["runs"]
    ]
    for key, what in (("accuracy", "runs"), ("accuracy_per_seed", "seeds")):
        found = result[key]
        if found["n"] == 1:
            continue
        deviation = "" if found["sd"] is None else f" +- {100 * found['sd']:.2f}"
        lines.append(f"mean of {found['n']} {what}: {100 * found['mean']:.2f}{deviation} %")
    return "\n".join(lines)
