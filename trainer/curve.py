"""How right a recipe gets with how many pictures, and how many a target would need.

Each point trains on a part of the training list, whole groups of it where groups are known (an
object's second side is no new object), for as many steps as the whole list gets, and is judged by
its last epoch on the same validation list, on which nothing is chosen. Through the points goes the
power law that errors follow over orders of magnitude (Hestness et al., arXiv:1712.00409).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.errors import UsageError
from trainer.audit_run import save_whole
from trainer.crossval import Job, csv_of, train_fold
from trainer.scoring import share_text
from trainer.splits import Ints, Split

Say = Callable[[str], object]
FIELDS = ("pictures", "seed", "epochs", "accuracy", "macro_f1", "best_epoch_accuracy")
LEAST_POINTS = 3  # sizes that a power law is drawn through
MOST_DECADES = 12.0  # nobody has more pictures; a law that asks for more asks for something else


@dataclass(frozen=True, slots=True)
class Law:
    """Error, as a share, after n pictures: `factor` * n ** -`power`."""

    factor: float
    power: float

    def error(self, pictures: float) -> float:
        """Share of wrong answers, 0..1, after training on so many pictures."""
        return float(self.factor * pictures**-self.power)

    def needed(self, error: float) -> float:
        """Pictures after which the error is `error`; infinite where more pictures do not help."""
        if self.power <= 0:
            return math.inf
        decades = math.log10(self.factor / error) / self.power
        return 10.0**decades if decades < MOST_DECADES else math.inf


def fitted(pictures: Sequence[float], errors: Sequence[float]) -> Law:
    """Least squares in the logarithms of both; errors of 0 have none and are refused."""
    if len(set(pictures)) < LEAST_POINTS:
        raise UsageError(f"{len(set(pictures))} sizes: a curve needs at least {LEAST_POINTS}")
    if min(errors) <= 0:
        raise UsageError("a point without any error: judge by more pictures to draw a curve")
    slope, start = np.polyfit(np.log(pictures), np.log(errors), 1)
    return Law(float(np.exp(start)), float(-slope))


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"--shares {share}: each must be over 0 and at most 1")


def part_of(
    train: Ints, targets: Ints, share: float, seed: int, groups: Ints | None = None
) -> Ints:
    """Sorted rows: about `share` of each class, at least one picture, whole groups of them.

    train: (n,) rows that may be taken; targets and groups: of every row.
    """
    _check_share(share)
    rng = np.random.default_rng(seed)
    own = np.arange(len(targets)) if groups is None else groups
    taken: list[int] = []
    for label in np.unique(targets[train]):
        rows = train[targets[train] == label]
        wanted = max(1, round(share * len(rows)))
        chosen: list[int] = []
        for group in rng.permutation(np.unique(own[rows])):
            if len(chosen) >= wanted:
                break
            chosen += rows[own[rows] == group].tolist()
        taken += chosen
    return np.array(sorted(taken), np.int64)


def curve(job: Job, shares: Sequence[float], target: float, say: Say) -> dict[str, Any]:
    """Train what is not trained yet, for each share and seed; writes curve.json and curve.csv.

    `job.lists` holds both sides; `target` is an accuracy, 0..1.
    """
    if job.lists is None:
        raise UsageError("curve: give --train-names and --val-names")
    if not 0 < target < 1:
        raise UsageError(f"--target {target}: must be an accuracy between 0 and 1")
    if len(set(shares)) < LEAST_POINTS:
        raise UsageError(
            f"--shares: {len(set(shares))} different; a curve needs at least {LEAST_POINTS}"
        )
    for share in shares:
        _check_share(share)
    data, rows = job.photos.sha256(), []
    for share in sorted(set(shares)):
        for seed in job.seeds:
            rows.append(_point(job, share, seed, data, say))
            say(f"{rows[-1]['pictures']} pictures, seed {seed}: {rows[-1]['accuracy']:.2%}")
    save_whole(job.out / "curve.csv", csv_of(rows, FIELDS).encode())
    result = _summary(job, rows, target, data)
    save_whole(job.out / "curve.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def _point(job: Job, share: float, seed: int, data: str, say: Say) -> dict[str, Any]:
    assert job.lists is not None
    part = part_of(job.lists.train, job.photos.targets, share, seed, job.groups)
    spec = job.recipe.training
    epochs = round(spec.epochs * len(job.lists.train) / len(part))
    longer = replace(job.recipe, training=replace(spec, epochs=epochs))
    folder = job.out / f"share{share:g}" / f"seed{seed}"
    sides = Split(part, job.lists.val)
    row = train_fold(replace(job, recipe=longer), seed, 1, sides, folder, data, say)
    return {**row, "pictures": len(part), "share": share}


def _summary(job: Job, rows: Sequence[dict[str, Any]], target: float, data: str) -> dict[str, Any]:
    sizes = [row["pictures"] for row in rows]
    law = fitted(sizes, [1 - row["accuracy"] for row in rows])
    needed = law.needed(1 - target)
    kept = ("pictures", "share", "seed", "val", "accuracy", "macro_f1", "best_epoch_accuracy")
    return {
        "recipe": job.recipe.name,
        "data_sha256": data,
        "groups": job.groups is not None,
        "points": [{key: row[key] for key in (*kept, "epochs")} for row in rows],
        "law": {"factor": law.factor, "power": law.power},
        "target": target,
        "pictures_needed": None if math.isinf(needed) else round(needed),
        "error_at_most_pictures": law.error(max(sizes)),
    }


def as_text(result: dict[str, Any]) -> str:
    """A line a point, the law, and what it says of the target."""
    lines = [
        f"{p['pictures']:6d} pictures, {p['epochs']:4d} epochs, seed {p['seed']}: "
        f"{share_text(p['accuracy'], p['val'])}"
        for p in result["points"]
    ]
    law, needed = result["law"], result["pictures_needed"]
    lines.append(f"error = {law['factor']:.3f} * pictures ^ -{law['power']:.3f}")
    wanted = f"{result['target']:.2%}"
    if needed is None:
        return "\n".join([*lines, f"{wanted}: more pictures did not help at these sizes"])
    times = needed / max(p["pictures"] for p in result["points"])
    lines.append(f"{wanted}: {needed:,} pictures by this law, {times:.1f} times what there is")
    return "\n".join(lines)
