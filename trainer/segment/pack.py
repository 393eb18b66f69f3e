"""A trained segmenter as a shipped one: ONNX, int8, checked against torch, measured, written."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edge.bundle import FORMAT, verified
from edge.errors import BundleError, SmartbinError
from edge.preprocess import Preprocessing, Tensor
from edge.runtime import Runtime
from edge.segmenters.tiny import KIND, TinySegmenter, load_mask_net
from edge.values import Pixels
from trainer import bundles
from trainer.bundles import Source
from trainer.export import export
from trainer.masks import MASK_H, MASK_W
from trainer.models import MEAN, STD
from trainer.quantize import VARIANTS, quantize_once
from trainer.rawinput import take_bytes
from trainer.segment import scoring
from trainer.segment.fit import Learning, Trained, finder
from trainer.segment.recipe import SegmenterRecipe

Say = Callable[[str], object]
NAME = "segmenter"  # of the bundle, before .int8
OUTPUT_KIND = "logits"
SAME = 0.999  # mean IoU that the exported network's masks must have with torch's


@dataclass(frozen=True, slots=True)
class Tried:
    """What one way to find the ranges of the activations gave on validation; shares 0..1."""

    name: str
    agreement: float  # mean IoU of int8's masks with fp32's, where fp32 finds an item
    iou_photos: float
    iou_swapped: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A segmenter that was written, and what was measured of it."""

    path: Path
    card: dict[str, Any]
    scores: list[scoring.Score]  # of the int8 network, as the edge runs it
    tried: tuple[Tried, ...]


def package(
    trained: Trained,
    learning: Learning,
    scenes: list[scoring.Scene],
    source: Source,
    out: Path,
    *,
    say: Say = lambda text: None,
) -> Packed:
    """Export, quantize, measure through the edge, and write out/segmenter.int8.onnx with its card.

    Raises SmartbinError where onnxruntime differs from torch, or int8 from fp32 by more than the
    recipe allows; then nothing is written.
    """
    fp32 = _exported(trained, scenes)
    examples = calibration_inputs(trained.recipe, learning)
    network, tried = quantized(fp32, examples, trained.recipe, scenes, say)
    width, height = trained.recipe.network.width_px, trained.recipe.network.height_px
    threshold = scoring.best_threshold(
        scoring.judge(runtime_finder(network, width, height), scenes)
    )
    say(f"threshold {threshold:.2f}, chosen on validation")
    spec = Preprocessing(width, MEAN, STD)
    network = take_bytes(network, spec, (height, width))
    card = _card(trained, network, threshold, tried, source)
    path = out / f"{NAME}.int8.onnx"
    scores = _measured(network, card, scenes)
    card["metrics"] = entries(scoring.results(scores), source)
    card["version"] = next_version(path)
    bundles.write_pair(path, network, card)
    load_mask_net(path)  # what was written is what the edge can read
    return Packed(path, card, scores, tried)


def calibration_inputs(recipe: SegmenterRecipe, learning: Learning) -> Tensor:
    """(n, 3, H, W) training scenes, the same mix that the network learned from."""
    dice = torch.Generator().manual_seed(recipe.fit.seed + 8)
    order = np.random.default_rng([recipe.fit.seed, 8])
    batches = [
        learning.scenes.batch(order.choice(learning.rows, recipe.fit.batch), dice)[0].cpu().numpy()
        for _ in range(-(-recipe.int8.calibration_pictures // recipe.fit.batch))
    ]
    return np.concatenate(batches)[: recipe.int8.calibration_pictures]


def _exported(trained: Trained, scenes: list[scoring.Scene]) -> bytes:
    """ONNX bytes whose masks are torch's; `export` has compared the logits on noise."""
    spec = trained.recipe.network
    fp32 = export(trained.net, (spec.height_px, spec.width_px))
    few = scenes[:: max(1, len(scenes) // 24)]
    own = scoring.judge(finder(trained.net, trained.recipe), few)
    theirs = scoring.judge(runtime_finder(fp32, spec.width_px, spec.height_px), few)
    same = agreement(own, theirs)
    if same < SAME:
        raise SmartbinError(
            f"export: onnxruntime's masks have an IoU of {same:.4f} with torch's, {SAME} is "
            "needed; this version of torch cannot export the network"
        )
    return fp32


def quantized(
    fp32: bytes,
    examples: Tensor,
    recipe: SegmenterRecipe,
    scenes: list[scoring.Scene],
    say: Say,
) -> tuple[bytes, tuple[Tried, ...]]:
    """Try the calibrations of `trainer.quantize`; the one whose masks are closest to fp32's."""
    width, height = recipe.network.width_px, recipe.network.height_px
    reference = scoring.judge(runtime_finder(fp32, width, height), scenes)
    best: tuple[Tried, bytes] | None = None
    tried = []
    for variant in VARIANTS:
        network = quantize_once(fp32, examples, variant)
        scores = scoring.judge(runtime_finder(network, width, height), scenes)
        found = Tried(
            variant.name,
            round(agreement(reference, scores), 5),
            round(mean_iou(scores, ("photo",)), 5),
            round(mean_iou(scores, scoring.KINDS), 5),
            len(network),
        )
        say(
            f"{found.name}: masks as fp32 {found.agreement:.4f}, IoU on photos "
            f"{found.iou_photos:.4f}, on other surfaces {found.iou_swapped:.4f}"
        )
        tried.append(found)
        if best is None or found.agreement > best[0].agreement:
            best = found, network
    assert best is not None
    refuse_disagreement(best[0], recipe.int8.least_agreement)
    return best[1], tuple(sorted(tried, key=lambda t: -t.agreement))


def refuse_disagreement(found: Tried, least: float) -> None:
    """An int8 network that draws other masks than its fp32 form is not written."""
    if found.agreement < least:
        raise SmartbinError(
            f"int8 ({found.name}): its masks have an IoU of {found.agreement:.3f} with fp32's on "
            f"validation, int8.least_agreement is {least:.3f}; nothing was written: raise "
            "int8.calibration_pictures, or train longer"
        )


def agreement(reference: list[scoring.Score], other: list[scoring.Score]) -> float:
    """Mean IoU of two networks' masks of the same scenes, where the first finds an item."""
    shares = [
        scoring.iou(a.found > 0.5, b.found > 0.5)
        for a, b in zip(reference, other, strict=True)
        if a.area >= scoring.LEAST_AREA
    ]
    return float(np.mean(shares)) if shares else 1.0


def mean_iou(scores: list[scoring.Score], kinds: tuple[str, ...]) -> float:
    """Over the scenes of these kinds; NaN where there is none."""
    found = [score.iou for score in scores if score.scene.kind in kinds]
    return float(np.mean(found)) if found else float("nan")


def runtime_finder(network: bytes, width_px: int, height_px: int) -> scoring.Finder:
    """A network in memory, run as the edge runs it."""
    runtime = Runtime(network, name="segmenter")

    def find(pixels: Pixels) -> scoring.Found:
        batch = scoring.prepared(pixels, width_px, height_px)
        return scoring.probabilities(runtime.run(batch))

    return find


def edge_finder(path: Path) -> scoring.Finder:
    """A written segmenter as the bin uses it; its threshold has become 0.5."""
    segmenter = TinySegmenter(load_mask_net(path))

    def find(pixels: Pixels) -> scoring.Found:
        mask = segmenter.matte(pixels).mask.astype(np.float32) / 255
        return np.asarray(cv2.resize(mask, (MASK_W, MASK_H), interpolation=cv2.INTER_LINEAR))

    return find


def _measured(
    network: bytes, card: dict[str, Any], scenes: list[scoring.Scene]
) -> list[scoring.Score]:
    with tempfile.TemporaryDirectory(prefix="smartbin-segmenter-") as folder:
        path = Path(folder) / f"{NAME}.int8.onnx"
        bundles.write_pair(path, network, card)
        return scoring.judge(edge_finder(path), scenes)


def _card(
    trained: Trained, network: bytes, threshold: float, tried: tuple[Tried, ...], source: Source
) -> dict[str, Any]:
    recipe = trained.recipe
    return {
        "format": FORMAT,
        "kind": KIND,
        "version": 1,
        "input": {"width_px": recipe.network.width_px, "height_px": recipe.network.height_px},
        "mean": list(MEAN),
        "std": list(STD),
        "output": OUTPUT_KIND,
        "threshold": threshold,
        "precision": "int8",
        "sha256": hashlib.sha256(network).hexdigest(),
        "bytes": len(network),
        "parameters": bundles.parameters(network),
        "metrics": [],
        "recipe": recipe.as_dict(),
        "seeds": {"training": recipe.fit.seed, "scenes": scoring.SEED},
        "best_epoch": trained.epoch,
        "data": source.card(),
        "agreement": {"chosen": tried[0].name, "tried": [asdict(t) for t in tried]},
        "chosen_by": "validation: best epoch, calibration variant and threshold",
        "commit": bundles.commit(),
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def entries(found: dict[str, Any], source: Source) -> list[dict[str, Any]]:
    """Lines of the card: IoU on photos, by class and on other surfaces; empty scenes."""
    split = source.val_list.stem if source.val_list else "random validation split"
    of = {"data": source.name, "split": split}
    lines = [_entry("iou photos", found["photos"], of)]
    if found["whole"]["n"]:
        lines.append(_entry("iou photos with a whole mask", found["whole"], of))
    lines += [_entry(f"iou {name}", part, of) for name, part in found["per_class"].items()]
    lines.append(_entry("iou other surfaces", found["swapped"], of))
    lines += [_entry(f"iou on {name}", part, of) for name, part in found["per_surface"].items()]
    empty = found["empty"]
    made = {"data": "procedural surfaces of the challenge", "split": "seeded"}
    lines.append(
        {
            "metric": "empty seen as empty",
            "value": empty["seen_as_empty"],
            **made,
            "n": empty["n"],
            "wilson_95": empty["wilson_95"],
        }
    )
    return lines


def _entry(metric: str, part: dict[str, Any], of: dict[str, str]) -> dict[str, Any]:
    entry = {"metric": metric, "value": part["iou_mean"], **of, "n": part["n"]}
    entry |= {"bootstrap_95": part["iou_mean_95"], "median": part["iou_median"]}
    return entry | {"over_0.9": part["over_0.9"]}


def next_version(path: Path) -> int:
    """One above the segmenter that stands there; 1 where none, or a damaged one, does."""
    try:
        return int(verified(path)[1]["version"]) + 1
    except (BundleError, KeyError, TypeError, ValueError):
        return 1
