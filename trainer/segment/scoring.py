"""How well masks agree with the truth: IoU on photos, on swapped surfaces, and on empty ones.

Needs no torch: whatever turns a prepared picture into logits can be judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import UsageError
from edge.pictures import read_picture
from edge.preprocess import Tensor, resize_down
from edge.values import Pixels
from trainer.compose import compose
from trainer.data import PhotoSet, load_masks
from trainer.intervals import Interval
from trainer.masks import MASK_H, MASK_W, Mask, alpha_of
from trainer.models import MEAN, STD
from trainer.scoring import wilson
from trainer.segment.truth import is_whole
from trainer.surfaces import Kind, challenge_surface

SEED = 2027  # of the swapped and the empty scenes
KINDS: tuple[Kind, ...] = ("brown", "random", "cardboard")
EMPTY_PER_KIND = 40
LEAST_AREA = 0.015  # of the frame: what the edge takes for no item at all
DRAWS = 2000  # of the bootstrap
Found = npt.NDArray[np.float32]  # (MASK_H, MASK_W) probabilities 0..1
Finder = Callable[[Pixels], Found]
Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and which of its pixels are item; `kind` is photo, a surface, or empty."""

    name: str  # CLASS/FILE; of an empty scene its surface and number
    label: str
    kind: str
    pixels: Pixels  # (H, W, 3)
    truth: npt.NDArray[np.bool_]  # (MASK_H, MASK_W)
    whole: bool = True  # a photo's mask outlines all of its item


@dataclass(frozen=True, slots=True)
class Score:
    """What a segmenter made of one scene."""

    scene: Scene
    found: Found
    iou: float  # 1 where both are empty
    area: float  # share of the frame called item


def scenes_of(photos: PhotoSet, masks_dir: Path, tick: Tick = lambda: None) -> list[Scene]:
    """Photos with a good mask, each of them once more on another surface, and empty surfaces.

    A surface depends on the file's name alone, so a list of names does not change it.
    """
    masks, good = load_masks(photos, masks_dir)
    if not good.any():
        raise UsageError(f"{masks_dir}: no good mask for any of the {len(photos)} pictures")
    found: list[Scene] = []
    for row, path in enumerate(photos.paths):
        if good[row]:
            label = photos.classes[int(photos.targets[row])]
            found += _of_photo(f"{label}/{path.name}", label, read_picture(path), masks[row])
        tick()
    return found + empty_scenes()


def _of_photo(name: str, label: str, pixels: Pixels, mask: Mask) -> list[Scene]:
    rng = np.random.default_rng([SEED, *name.encode()])
    kind = KINDS[int(rng.integers(len(KINDS)))]
    pasted = compose(pixels, mask, challenge_surface(kind, rng), rng)
    return [
        Scene(name, label, "photo", pixels, mask > 128, is_whole(pixels, mask)),
        Scene(name, label, kind, pasted, alpha_of(mask) > 0.5),
    ]


def empty_scenes() -> list[Scene]:
    """Surfaces of the challenge with nothing on them, half of them lit to a fifth as much."""
    nothing = np.zeros((MASK_H, MASK_W), np.bool_)
    scenes = []
    for number, kind in enumerate(KINDS):
        for i in range(EMPTY_PER_KIND):
            rng = np.random.default_rng([SEED, number, i])
            surface = challenge_surface(kind, rng)
            light = float(rng.uniform(0.2, 0.5)) if i % 2 else 1.0
            dimmed = (surface * light).astype(np.uint8)
            scenes.append(Scene(f"{kind} {i}", "", "empty", dimmed, nothing))
    return scenes


def prepared(pixels: Pixels, width_px: int, height_px: int) -> Tensor:
    """(H, W, 3) uint8 RGB to (1, 3, height, width) float32, the whole frame squeezed."""
    small = resize_down(pixels, width_px, height_px).astype(np.float32)
    normalised = (small - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def probabilities(logits: npt.NDArray[np.float32]) -> Found:
    """(1, 1, h, w) logits to (MASK_H, MASK_W) probabilities."""
    share = 1 / (1 + np.exp(-np.clip(logits[0, 0], -30, 30)))
    return np.asarray(cv2.resize(share, (MASK_W, MASK_H), interpolation=cv2.INTER_LINEAR))


def judge(
    find: Finder, scenes: list[Scene], threshold: float = 0.5, tick: Tick = lambda: None
) -> list[Score]:
    """Run `find` over every scene."""
    scores = []
    for scene in scenes:
        found = find(scene.pixels)
        inside = found > threshold
        scores.append(Score(scene, found, iou(inside, scene.truth), float(inside.mean())))
        tick()
    return scores


def iou(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def best_threshold(scores: list[Score]) -> float:
    """The threshold with the best mean IoU over the scenes with an item, in steps of 0.05."""
    items = [score for score in scores if score.scene.kind != "empty"]
    means = {
        step / 20: float(np.mean([iou(s.found > step / 20, s.scene.truth) for s in items]))
        for step in range(6, 15)
    }
    # Where two are as good as equal, the one nearer the middle.
    return min(means, key=lambda t: (-round(means[t], 3), abs(t - 0.5)))


def summary(scores: list[Score]) -> dict[str, Any]:
    """Mean, median, share over 0.9 and a 95 % interval of the mean (bootstrap over pictures)."""
    if not scores:
        return {"n": 0}
    values = np.array([score.iou for score in scores])
    low, high = interval_of(values)
    return {
        "n": len(values),
        "iou_mean": round(float(values.mean()), 4),
        "iou_mean_95": [round(low, 4), round(high, 4)],
        "iou_median": round(float(np.median(values)), 4),
        "over_0.9": round(float((values >= 0.9).mean()), 4),
        "worst": round(float(values.min()), 4),
    }


def interval_of(values: npt.NDArray[np.float64]) -> Interval:
    """95 % percentile interval of a mean (Efron 1979), seeded."""
    rng = np.random.default_rng(SEED)
    means = values[rng.integers(0, len(values), (DRAWS, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def results(scores: list[Score]) -> dict[str, Any]:
    """Photos, those whose mask is whole, classes, other surfaces, and the empty scenes."""
    photos = [s for s in scores if s.scene.kind == "photo"]
    swapped = [s for s in scores if s.scene.kind in KINDS]
    empty = [s for s in scores if s.scene.kind == "empty"]
    bare = sum(score.area < LEAST_AREA for score in empty)
    labels = sorted({s.scene.label for s in photos})
    return {
        "photos": summary(photos),
        "whole": summary([s for s in photos if s.scene.whole]),
        "per_class": {
            label: summary([s for s in photos if s.scene.label == label]) for label in labels
        },
        "swapped": summary(swapped),
        "per_surface": {
            kind: summary(chosen)
            for kind in KINDS
            if (chosen := [s for s in swapped if s.scene.kind == kind])
        },
        "empty": {
            "n": len(empty),
            "seen_as_empty": round(bare / len(empty), 4) if empty else 0.0,
            "wilson_95": [round(end, 4) for end in wilson(bare, len(empty))],
        },
    }
