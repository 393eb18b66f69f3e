"""Milliseconds of the shipped students on one core, int8 and fp32 interleaved in one run.

python -m tools.latency [--rounds 400] [--models DIR]

Each round runs every step some times in a row. The first of a row finds the cache full of another
step's weights, as in a bin that has just captured and segmented; the others find their own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge.bundle import load_bundle
from edge.pictures import read_picture
from edge.preprocess import network_input
from edge.runtime import Runtime
from edge.shipped import samples, shipped

IN_A_ROW = 5
Spent = dict[str, list[float]]  # ms of every run of a step, by its name


def steps_of(folder: Path) -> dict[str, Callable[[], object]]:
    """What is timed: both precisions of the student in a folder of models, and preprocessing."""
    pixels = read_picture(samples() / "stills" / "can_wood.jpg")
    bundles = {p: load_bundle(folder / f"student.{p}.onnx") for p in ("int8", "fp32")}
    spec = bundles["int8"].preprocessing
    runtimes = {p: Runtime(b.onnx, name=b.model_id, threads=1) for p, b in bundles.items()}
    raw = runtimes["int8"].takes_bytes
    batch = network_input(pixels, spec, takes_bytes=raw)
    large = cv2.resize(pixels, (1280, 720))
    steps: dict[str, Callable[[], object]] = {
        f"network, {p}": (lambda r=r: r.run(batch)) for p, r in runtimes.items()
    }
    steps["preprocessing of 512x384"] = lambda: network_input(pixels, spec, takes_bytes=raw)
    steps["preprocessing of 1280x720"] = lambda: network_input(large, spec, takes_bytes=raw)
    return steps


def timed(steps: dict[str, Callable[[], object]], rounds: int) -> tuple[Spent, Spent]:
    """Milliseconds of the first of each row, and of the others; the first rounds only warm up."""
    first: Spent = {name: [] for name in steps}
    others: Spent = {name: [] for name in steps}
    warm_up = rounds // 10
    for round_ in range(rounds + warm_up):
        for name, step in steps.items():  # interleaved: a noisy moment meets all alike
            for place in range(IN_A_ROW):
                started_s = time.perf_counter()
                step()
                spent_ms = (time.perf_counter() - started_s) * 1000
                if round_ >= warm_up:
                    (others if place else first)[name].append(spent_ms)
    return first, others


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise argparse.ArgumentTypeError(f"{rounds}: must be 1 or more")
    return rounds


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=_rounds, default=400)
    parser.add_argument("--models", type=Path, default=shipped("models/student.int8.onnx").parent)
    chosen = parser.parse_args()
    first, others = timed(steps_of(chosen.models), chosen.rounds)
    print(f"{'ms, 10th to 90th pct':<26} {'in a row':<28} after another step")
    for name in first:
        row, turns = (
            "p50 {1:5.2f}  ({0:.2f} to {2:.2f})".format(*np.percentile(spent[name], (10, 50, 90)))
            for spent in (others, first)
        )
        print(f"{name:<26} {row:<28} {turns}")


if __name__ == "__main__":
    main()
