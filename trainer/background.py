"""The background challenge: the same items, cut out and laid on other surfaces.

A student that has learned the white card of its training photos fails here. The figures compare
students; they are no forecast of accuracy in the field, where light and dirt differ as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.errors import UsageError
from edge.pictures import read_picture
from trainer.compose import compose
from trainer.data import PhotoSet, load_masks
from trainer.evaluate import truth_of
from trainer.surfaces import Kind, challenge_surface

SEED = 2026
KINDS: tuple[Kind, ...] = ("brown", "random", "cardboard")


def challenge(
    bundle_path: Path,
    photos: PhotoSet,
    masks_dir: Path,
    *,
    seed: int = SEED,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """`{"n", "original", "brown", "random", "cardboard", "gap"}`; all but n in percent.

    Only photos with a good mask count, in every variant alike, so `original` is theirs too.
    gap = original minus the worst of the three.
    """
    bundle = load_bundle(bundle_path)
    truth = truth_of(photos, bundle.labels)
    masks, good = load_masks(photos, masks_dir)
    n = int(good.sum())
    if n == 0:
        raise UsageError(f"{masks_dir}: no good mask for any of the {len(photos)} pictures")
    classifier = Classifier(bundle)
    hits = dict.fromkeys(("original", *KINDS), 0)
    for row in range(len(photos)):
        tick()
        if not good[row]:
            continue
        pixels = read_picture(photos.paths[row])
        hits["original"] += int(classifier.classify(pixels).probs.argmax()) == truth[row]
        for number, kind in enumerate(KINDS):
            # Seeded by the file's name: the same picture whatever the list it stands in.
            rng = np.random.default_rng([seed, number, *photos.paths[row].name.encode()])
            pasted = compose(pixels, masks[row], challenge_surface(kind, rng), rng)
            hits[kind] += int(classifier.classify(pasted).probs.argmax()) == truth[row]
    percent = {name: round(100 * float(count) / n, 2) for name, count in hits.items()}
    worst = min(percent[kind] for kind in KINDS)
    return {"n": n, **percent, "gap": round(percent["original"] - worst, 2)}


def as_text(result: dict[str, float]) -> str:
    """For a person: one line."""
    kinds = ", ".join(f"{kind} {result[kind]:.1f}" for kind in ("original", *KINDS))
    return f"{result['n']:.0f} items: {kinds}; gap {result['gap']:.1f} points"
