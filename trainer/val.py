"""What a training is judged by: validation photos as the edge sees them, on two surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.pictures import read_picture
from edge.preprocess import Preprocessing, squeeze
from edge.values import Pixels
from trainer.compose import compose
from trainer.data import PhotoSet, load_masks
from trainer.surfaces import challenge_surface

SWAP_SEED = 77  # of the surfaces an epoch is chosen by; the challenge uses another


@dataclass(frozen=True, slots=True)
class ValSet:
    """Squeezed views, (n, S, S, 3) uint8; `swapped` holds those whose mask is good."""

    original: Pixels
    targets: npt.NDArray[np.int64]  # (n,)
    swapped: Pixels | None = None
    swapped_targets: npt.NDArray[np.int64] | None = None


def build_val(
    photos: PhotoSet,
    spec: Preprocessing,
    masks_dir: Path | None = None,
    tick: Callable[[], object] = lambda: None,
) -> ValSet:
    """Decode with the edge's reader and squeeze with its preprocessing."""
    masks, good = None, np.zeros(len(photos), bool)
    if masks_dir is not None:
        masks, good = load_masks(photos, masks_dir)
    rng = np.random.default_rng(SWAP_SEED)
    original, swapped = [], []
    for row, path in enumerate(photos.paths):
        pixels = read_picture(path)
        original.append(squeeze(pixels, spec))
        if masks is not None and good[row]:
            surface = challenge_surface("brown" if row % 2 else "random", rng)
            swapped.append(squeeze(compose(pixels, masks[row], surface, rng), spec))
        tick()
    if not swapped:
        return ValSet(np.stack(original), photos.targets)
    return ValSet(np.stack(original), photos.targets, np.stack(swapped), photos.targets[good])
