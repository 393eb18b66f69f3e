"""How sure a bundle is on its validation pictures: what a fleet's drift is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Bundle, load_bundle
from trainer import bundles
from trainer.data import PhotoSet
from trainer.evaluate import predict
from trainer.scoring import Probs

CELLS = 10  # as the fleet monitor counts them (edge/fleet/drift.py; a test holds them alike)


def reference_of(probs: Probs, split: str) -> dict[str, Any]:
    """The card's `reference` of (n, classes) probabilities; `split` says of which pictures.

    `confidences` counts the pictures by the tenth of their best class's probability, 0..0.1 first.
    """
    best = probs.max(1).astype(np.float64)
    cells = np.minimum((best * CELLS).astype(np.int64), CELLS - 1)
    counts = np.bincount(cells, minlength=CELLS)
    mean = round(float(best.mean()), 5)
    return {"split": split, "n": len(best), "mean": mean, "confidences": counts.tolist()}


def measure(
    path: Path, photos: PhotoSet, split: str, tick: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """The same of a bundle on photos, by the code that runs in the bin."""
    return reference_of(predict(load_bundle(path), photos, tick), split)


def write(path: Path, reference: dict[str, Any]) -> Bundle:
    """Put it into a bundle's card. The version stays: the network is the one that bins run."""
    bundle = load_bundle(path)
    bundles.write_pair(path, bundle.onnx, {**bundle.card, "reference": reference})
    return load_bundle(path)
