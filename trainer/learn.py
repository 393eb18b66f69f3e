"""What a batch of relabelled pictures gains, on items that it did not teach, and what it costs.

The batch is parted by its groups: one part is learned together with the old data (replay, so that
what was known is not forgotten; Robins 1995), the other judges. Before and after are compared on
the same pictures, so the interval is that of paired differences (bootstrap over groups).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge.errors import UsageError
from edge.pictures import read_picture
from edge.preprocess import Preprocessing, squeeze
from trainer import checkpoint, pipeline
from trainer.blend import averaged, mixed
from trainer.bundles import Source
from trainer.checkpoint import Trained, load_trained
from trainer.data import PhotoSet, scan
from trainer.judge import to_input
from trainer.recipe import Recipe
from trainer.splits import Plan, read_groups, split

REPEATS = 4  # of the batch beside the old data, or it is lost among ten times as many
HELD_OUT = 0.5  # of a batch: a gain that is measured on few pictures says nothing
DRAWS, SEED = 4000, 2026
MOST_LOSS = 0.005  # on the old data, share
SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)  # tried in turn, until little enough is lost
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Change:
    """Accuracy before and after on the same pictures, shares 0..1."""

    n: int
    before: float
    after: float
    low: float  # 95 % interval of after minus before
    high: float

    @property
    def gain(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Learned:
    """What one batch gave."""

    batch: str
    taught: int
    site: Change  # its held-out part
    old: Change  # the validation list of the old data
    checkpoint: str
    share: float = 1.0  # of the way from the student before that was gone

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gain": self.site.gain, "old_loss": -self.old.gain}


def learn(
    base: Path,
    old: Source,
    batches: Sequence[Path],
    folders: pipeline.Folders,
    recipe: Recipe,
    *,
    device: str,
    say: Say,
) -> list[Learned]:
    """Learn the batches one after the other, each from where the last one ended."""
    learned, taught = [], old.train
    for number, folder in enumerate(batches, 1):
        start = load_trained(base)
        batch = in_order(scan(folder / "images"), start.classes, folder)
        teach, held = parted(batch, folder, recipe.training.seed)
        for _ in range(REPEATS):
            taught = joined(taught, teach)
        net = replace(start.recipe.network, weights=str(base))
        run = folders.run / f"batch{number}"
        source = replace(old, train=taught)
        own = replace(recipe, network=net)
        pipeline.train(
            own, source, replace(folders, run=run), teachers=[base], device=device, say=say
        )
        base, share = walked_back(base, last_epoch(run), old.val)
        after = load_trained(base)
        learned.append(
            Learned(
                batch=folder.name,
                taught=len(teach),
                site=change(start, after, held, groups_of(held, folder)),
                old=change(start, after, old.val, np.arange(len(old.val))),
                checkpoint=str(base),
                share=share,
            )
        )
    return learned


def last_epoch(run: Path) -> Path:
    """The averaged weights of the last epoch, as a checkpoint that can go on or be packed.

    The best epoch was chosen on the old data alone, which the first epoch suits best.
    """
    content = checkpoint.load(run / "best.pt")
    content["state"] = averaged(run / "last.pt")
    checkpoint.save(run / "learned.pt", content)
    return run / "learned.pt"


def walked_back(before: Path, learned: Path, old: PhotoSet) -> tuple[Path, float]:
    """As far from the student before as the old data allows, on the straight line between both.

    Weights between two trainings keep most of what each knows (Wortsman et al., CVPR 2022); the
    old validation list sets the bound, the site's held-out pictures are not looked at.
    """
    trained, ends = load_trained(before), (averaged(before), averaged(learned))
    spec = pipeline.preprocessing_of(trained.recipe)
    least = float((answers(trained.net, old, spec) == old.targets).mean()) - MOST_LOSS
    content = checkpoint.load(learned)
    for share in SHARES:
        content["state"] = mixed(*ends, share)
        trained.net.load_state_dict(content["state"])
        trained.net.eval()
        if share == SHARES[-1] or (answers(trained.net, old, spec) == old.targets).mean() >= least:
            checkpoint.save(learned, content)
            return learned, share
    raise AssertionError("the last share is always taken")


def in_order(photos: PhotoSet, classes: tuple[str, ...], where: Path) -> PhotoSet:
    """The same pictures with the classes of the network; a batch seldom has all of them."""
    strange = [name for name in photos.classes if name not in classes]
    if strange:
        raise UsageError(f"{where}: class {strange[0]} is none of {', '.join(classes)}")
    order = np.array([classes.index(name) for name in photos.classes])
    return PhotoSet(photos.root, photos.paths, order[photos.targets], classes)


def joined(one: PhotoSet, other: PhotoSet) -> PhotoSet:
    """Both sets, in order."""
    targets = np.concatenate([one.targets, other.targets])
    return PhotoSet(one.root, one.paths + other.paths, targets, one.classes)


def parted(batch: PhotoSet, folder: Path, seed: int) -> tuple[PhotoSet, PhotoSet]:
    """To teach and to judge; no group of the batch on both sides."""
    groups = groups_of(batch, folder)
    sides = split(batch, Plan("grouped", val_share=HELD_OUT, seed=seed), groups)[0]
    return batch.subset(sides.train.tolist()), batch.subset(sides.val.tolist())


def groups_of(photos: PhotoSet, folder: Path) -> npt.NDArray[np.int64]:
    """(n,) group of each picture, as `gather` wrote them."""
    return read_groups(folder / "groups.csv", photos)


def change(
    before: Trained, after: Trained, photos: PhotoSet, groups: npt.NDArray[np.int64]
) -> Change:
    """Both networks in fp32 on the same pictures; the interval redraws whole groups."""
    spec = pipeline.preprocessing_of(before.recipe)
    first, second = (answers(one.net, photos, spec) == photos.targets for one in (before, after))
    difference = second.astype(float) - first.astype(float)
    names = np.unique(groups)
    sums = np.array([difference[groups == name].sum() for name in names])
    sizes = np.array([(groups == name).sum() for name in names])
    drawn = np.random.default_rng(SEED).integers(0, len(names), (DRAWS, len(names)))
    shares = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(shares, (2.5, 97.5))
    return Change(len(photos), float(first.mean()), float(second.mean()), float(low), float(high))


@torch.no_grad()
def answers(
    net: nn.Module, photos: PhotoSet, spec: Preprocessing, batch: int = 32
) -> npt.NDArray[np.int64]:
    """(n,) the class that a network names, one view each, as the edge squeezes it."""
    found = []
    for start in range(0, len(photos), batch):
        paths = photos.paths[start : start + batch]
        views = np.stack([squeeze(read_picture(path), spec) for path in paths])
        found.append(net(to_input(views, mean=spec.mean, std=spec.std)).argmax(1).numpy())
    return np.concatenate(found)


def as_text(learned: Sequence[Learned]) -> str:
    """For a person: a line a batch."""
    lines = []
    for one in learned:
        site, old = one.site, one.old
        lines.append(
            f"{one.batch}: {one.taught} taught, {one.share:.0%} of the way kept; on {site.n} "
            f"held-out pictures of it "
            f"{site.before:.1%} -> {site.after:.1%} ({site.gain:+.1%}, 95 % "
            f"{site.low:+.1%} to {site.high:+.1%}); old data {old.before:.1%} -> {old.after:.1%} "
            f"({old.gain:+.1%}, 95 % {old.low:+.1%} to {old.high:+.1%})"
        )
        if -old.gain > MOST_LOSS:
            lines.append(
                f"  it forgets: more than {MOST_LOSS:.1%} lost on the old data; "
                "lower training.lr, or teach fewer epochs"
            )
    return "\n".join(lines)
