"""What each segmenter costs, side by side in one run: milliseconds, memory, and IoU with masks.

python -m tools.segmenters [--data DIR --masks DIR [--names FILE]] [--runs 60] [--model ONNX]

Without --data the pictures are rendered items at rest, with the empty trays they fell into, which
`difference` needs. DIR holds one folder a class; masks are pictures of the same names, .png; of a
photo no empty tray is known, so `difference` is left out. Each segmenter lives in a process of its
own with the classifier, so its memory is its own (of rembg its process alone); their cuts are
interleaved, so a noisy moment meets all alike. Judging is timed in both ways: the cut-out with its
whole frame, as the bin does unless told otherwise, and the cut-out alone. rembg takes part where it
is installed and U2NET_HOME is set. A mask counts as good where it covers 3 to 85 % of its photo and
under a tenth of what it covers is undecided.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import SmartbinError
from edge.health import rss_mb
from edge.pictures import list_pictures, read_picture
from edge.scene import Reference, scene_of
from edge.segmenters import KINDS, build_segmenter
from edge.segmenters.both import BothLooks
from edge.segmenters.cutout import inside_of
from edge.shipped import default_model, default_segmenter, samples
from edge.tray import TrayMemory
from edge.values import Frame, Item, Pixels

WARM = 5
GOOD_AREA = 0.03, 0.85
UNDECIDED = 0.1  # of a good mask


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--model", type=Path, help="of tiny; else the shipped one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.model)
        return
    rows = measure(arguments)
    if arguments.json:
        print(json.dumps(rows))
        return
    print(
        "| segmenter | cut, ms p50 | p90 | cut and judged, ms p50 | cut-out alone, ms p50 | "
        "peak MB | IoU |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        iou = "-" if row["iou"] is None else f"{row['iou']:.3f} ({row['photos']})"
        print(
            f"| {row['kind']} | {row['cut_p50_ms']:.2f} | {row['cut_p90_ms']:.2f} | "
            f"{row['both_p50_ms']:.2f} | {row['alone_p50_ms']:.2f} | {row['peak_mb']:.0f} | {iou} |"
        )


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All figures, a row for each segmenter that can be had here."""
    pairs = _spread(list(_pairs(arguments)), arguments.runs) if arguments.data else []
    kinds = [kind for kind in KINDS if _available(kind, arguments.model)]
    if pairs:
        kinds.remove("difference")
    children = {kind: _Child(kind, arguments.model) for kind in kinds}
    pictures = [picture for picture, _ in pairs] or list(_at_rest())
    times: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in kinds}
    overlaps: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(max(arguments.runs, len(pairs))):
        picture = pictures[number % len(pictures)]
        truth = pairs[number][1] if number < len(pairs) else None
        for kind, child in children.items():
            answer = child.ask({"picture": str(picture), "truth": str(truth or "")})
            times[kind].append((answer["cut_ms"], answer["both_ms"], answer["alone_ms"]))
            if answer["iou"] is not None:
                overlaps[kind].append(answer["iou"])
    return [_row(kind, times[kind][WARM:], overlaps[kind], children[kind].end()) for kind in kinds]


def _row(
    kind: str, times: list[tuple[float, ...]], overlaps: list[float], peak_mb: float
) -> dict[str, Any]:
    cut_ms, both_ms, alone_ms = np.array(times).T
    return {
        "kind": kind,
        "cut_p50_ms": float(np.percentile(cut_ms, 50)),
        "cut_p90_ms": float(np.percentile(cut_ms, 90)),
        "both_p50_ms": float(np.percentile(both_ms, 50)),
        "alone_p50_ms": float(np.percentile(alone_ms, 50)),
        "peak_mb": peak_mb,
        "iou": float(np.mean(overlaps)) if overlaps else None,
        "photos": len(overlaps),
    }


def _spread(pairs: list[tuple[Path, Path]], count: int) -> list[tuple[Path, Path]]:
    """So many of them, from all classes alike."""
    if len(pairs) <= count:
        return pairs
    return [pairs[round(i)] for i in np.linspace(0, len(pairs) - 1, count)]


def _at_rest() -> Iterator[Path]:
    """The last frame of each rendered drop."""
    index = json.loads((samples() / "samples.json").read_text(encoding="utf-8"))
    for drop in index["drops"]:
        if drop["first_at_rest"] is not None:
            yield list_pictures(samples() / drop["folder"])[-1]


def _available(kind: str, model: Path | None) -> bool:
    if kind == "tiny" and model is None:
        try:
            return default_segmenter().exists()
        except SmartbinError:
            print("tiny: no models/segmenter.int8.onnx here; left out", file=sys.stderr)
            return False
    if kind == "rembg" and not (importlib.util.find_spec("rembg") and os.environ.get("U2NET_HOME")):
        print("rembg: not installed, or U2NET_HOME not set; left out", file=sys.stderr)
        return False
    return True


def _pairs(arguments: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """Photos with a good mask."""
    names = set(arguments.names.read_text().split()) if arguments.names else None
    for folder in sorted(path for path in arguments.data.iterdir() if path.is_dir()):
        for picture in list_pictures(folder):
            mask = arguments.masks / folder.name / f"{picture.stem}.png"
            if (names is None or picture.name in names) and mask.exists() and _good(mask):
                yield picture, mask


def _good(path: Path) -> bool:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    inside = float((mask >= 128).mean())
    undecided = float(((mask > 51) & (mask < 204)).mean())
    return GOOD_AREA[0] <= inside <= GOOD_AREA[1] and undecided < UNDECIDED * inside


class _Child:
    """One segmenter in a process of its own."""

    def __init__(self, kind: str, model: Path | None) -> None:
        network = ["--model", str(model)] if model and kind == "tiny" else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.segmenters", "--serve", kind, *network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def end(self) -> float:
        """Peak memory in MB; of rembg, its own process alone."""
        peak_mb = float(self.ask({"end": True})["peak_mb"])
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        return peak_mb


def serve(kind: str, model: Path | None) -> None:
    """Cut what is asked for on standard input; one JSON object a line each way."""
    from edge.bundle import load_bundle
    from edge.classifier import Classifier

    tray = TrayMemory()
    cutter = build_segmenter(
        kind,
        judge="cutout",
        model=model,
        tray=tray,
        patient=True,
        timeout_s=120.0,
        memory_mb=8000.0,
        least_quality=0.0,
    )
    segmenter = cutter if kind == "none" else BothLooks(cutter)
    classifier = Classifier(load_bundle(default_model()))
    base_mb, peak_mb = rss_mb(), 0.0
    for line in sys.stdin:
        question = json.loads(line)
        if "end" in question:
            print(json.dumps({"peak_mb": peak_mb or base_mb}), flush=True)
            segmenter.close()
            return
        pixels = read_picture(Path(question["picture"]))
        if kind == "difference":
            _teach(tray, Path(question["picture"]))
        answer = _timed(segmenter, classifier, pixels)
        peak_mb = max(peak_mb, rss_mb(getattr(cutter, "pid", None)))
        truth = question["truth"] if kind in ("tiny", "rembg") else ""
        answer["iou"] = _overlap(cutter, pixels, Path(truth)) if truth else None
        print(json.dumps(answer), flush=True)


def _timed(segmenter: Any, classifier: Any, pixels: Pixels) -> dict[str, Any]:
    frame = Frame(pixels, 0.0, 1)
    item = Item((frame,), 0.0, "frame")
    started_s = time.perf_counter()
    crop = segmenter.cut(frame, item)
    cut_s = time.perf_counter()
    classifier.look(crop)
    done_s = time.perf_counter()
    classifier.classify(crop.pixels)
    alone_s = cut_s - started_s + time.perf_counter() - done_s
    return {
        "cut_ms": (cut_s - started_s) * 1000,
        "both_ms": (done_s - started_s) * 1000,
        "alone_ms": alone_s * 1000,
    }


def _teach(tray: TrayMemory, picture: Path) -> None:
    """The tray as it was before the item fell: the first frames of the sequence."""
    first = [scene_of(read_picture(path)) for path in list_pictures(picture.parent)[:4]]
    levels = np.mean([scene.levels for scene in first], axis=0)
    shape = read_picture(picture).shape
    tray.learn(Reference(levels, np.full_like(levels, 0.01**2)), shape)


def _overlap(segmenter: Any, pixels: Pixels, truth_path: Path) -> float:
    truth = inside_of(cv2.imread(str(truth_path), cv2.IMREAD_GRAYSCALE)) > 0
    found = segmenter.matte(pixels)
    mask = getattr(found, "mask", np.zeros(truth.shape, np.uint8))
    size = (truth.shape[1], truth.shape[0])
    inside = inside_of(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)) > 0
    return float((inside & truth).sum() / max(1, (inside | truth).sum()))


if __name__ == "__main__":
    main()
