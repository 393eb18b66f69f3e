"""Scores segmenters side by side: IoU on the same scenes, milliseconds in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from edge.errors import BundleError
from edge.pictures import read_picture
from edge.runtime import Runtime
from edge.segmenters.tiny import TinySegmenter, load_mask_net
from edge.values import Pixels
from trainer.data import PhotoSet
from trainer.masks import MASK_H, MASK_W, Mask
from trainer.segment import scoring

Tick = Callable[[], object]
TIMED_PICTURES, ROUNDS, WARM_UP = 24, 4, 3
# As rembg feeds U^2-Net and its relatives (Qin et al., Pattern Recognition 2020).
SALIENCY_PX = 320
SALIENCY_MEAN, SALIENCY_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Contender:
    """A segmenter, ready: pixels (H, W, 3) to its mask, which is stretched over the frame."""

    name: str
    bytes: int
    mask: Callable[[Pixels], Mask]

    def find(self, pixels: Pixels) -> scoring.Found:
        """The mask as the probabilities that are scored."""
        found = self.mask(pixels).astype(np.float32) / 255
        if found.shape == (MASK_H, MASK_W):
            return found
        return np.asarray(cv2.resize(found, (MASK_W, MASK_H), interpolation=cv2.INTER_LINEAR))


def ours(path: Path) -> Contender:
    """A bundle of `smartbin-train segmenter`, through the code that runs in the bin."""
    net = load_mask_net(path)
    segmenter = TinySegmenter(net)
    return Contender(path.name, len(net.onnx), lambda pixels: segmenter.matte(pixels).mask)


def saliency_net(path: Path) -> Contender:
    """A network of the U^2-Net family, such as u2netp.onnx, fed and read as rembg does.

    Of its seven outputs the first is the mask; onnxruntime is told to compute no other.
    """
    try:
        model = onnx.load(str(path))
        del model.graph.output[1:]
        runtime = Runtime(model.SerializeToString(), name=path.name)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise BundleError(f"{path}: cannot be read as ONNX ({error})") from error
    mean, std = np.array(SALIENCY_MEAN, np.float32), np.array(SALIENCY_STD, np.float32)

    def mask(pixels: Pixels) -> Mask:
        size = (SALIENCY_PX, SALIENCY_PX)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        normalised = (small / max(float(small.max()), 1e-6) - mean) / std
        batch = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
        found = runtime.run(batch)[0, 0]
        low, high = float(found.min()), float(found.max())
        stretched = (found - low) / max(high - low, 1e-6)
        return np.asarray(np.round(stretched * 255), np.uint8)

    return Contender(path.name, path.stat().st_size, mask)


def milliseconds(
    contenders: Sequence[Contender], pictures: Sequence[Pixels], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Each contender on each picture in turn, so that what else the machine does hits all alike."""
    found: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        for _ in range(WARM_UP):
            contender.mask(pictures[0])
    for turn in range(rounds):
        for pixels in pictures:
            for contender in contenders[:: 1 if turn % 2 == 0 else -1]:
                started_s = time.perf_counter()
                contender.mask(pixels)
                found[contender.name].append((time.perf_counter() - started_s) * 1000)
    return found


def compare(
    contenders: Sequence[Contender],
    photos: PhotoSet,
    masks_dir: Path,
    tick: Tick = lambda: None,
) -> list[dict[str, Any]]:
    """IoU and milliseconds of each, the first one's first; one thread, one run."""
    scenes = scoring.scenes_of(photos, masks_dir, tick)
    pictures = [read_picture(path) for path in photos.paths[:: max(1, len(photos) // 24)]]
    timed = milliseconds(contenders, pictures[:TIMED_PICTURES])
    answers = []
    for contender in contenders:
        figures = scoring.results(scoring.judge(contender.find, scenes, tick=tick))
        spent = np.array(timed[contender.name])
        p10, p50, p90 = (round(float(v), 3) for v in np.percentile(spent, (10, 50, 90)))
        answers.append(
            {
                "name": contender.name,
                "bytes": contender.bytes,
                **figures,
                "ms": {"p50": p50, "p10": p10, "p90": p90, "n": len(spent)},
                "iou_per_ms": round(_mean_of(figures, "photos") / p50, 4),
            }
        )
    return answers


def _whole_line(part: dict[str, Any]) -> list[str]:
    if not part["n"]:
        return []
    words = f"(median {part['iou_median']:.4f}, {part['over_0.9']:.1%} over 0.9, n {part['n']})"
    return [f"  whole masks      IoU {part['iou_mean']:.4f} {words}"]


def _mean_of(figures: dict[str, Any], part: str) -> float:
    return float(figures[part]["iou_mean"])


def as_text(answers: Sequence[dict[str, Any]]) -> str:
    """For a person: a table of the contenders, then the classes of the first."""
    lines = []
    for found in answers:
        photos, swapped, ms = found["photos"], found["swapped"], found["ms"]
        lines += [
            f"{found['name']}: {found['bytes']:,} bytes, {ms['p50']:.2f} ms "
            f"({ms['p10']:.2f} to {ms['p90']:.2f}) a picture, IoU per ms {found['iou_per_ms']:.3f}",
            f"  photos           IoU {photos['iou_mean']:.4f} (median {photos['iou_median']:.4f}, "
            f"{photos['over_0.9']:.1%} over 0.9, n {photos['n']})",
            *_whole_line(found["whole"]),
            f"  other surfaces   IoU {swapped['iou_mean']:.4f} "
            f"(median {swapped['iou_median']:.4f}, {swapped['over_0.9']:.1%} over 0.9)",
            f"  empty as empty   {found['empty']['seen_as_empty']:.1%} of {found['empty']['n']}",
        ]
        lines += [
            f"  {label:<16} IoU {part['iou_mean']:.4f} (n {part['n']})"
            for label, part in found["per_class"].items()
        ]
    return "\n".join(lines)
