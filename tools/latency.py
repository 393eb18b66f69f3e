"""Milliseconds of the shipped students on one core, int8 and fp32 interleaved in one run.

python -m tools.latency [--runs 400]
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from edge.bundle import load_bundle
from edge.pictures import read_picture
from edge.preprocess import network_input
from edge.runtime import Runtime
from edge.shipped import samples, shipped


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    pixels = read_picture(samples() / "stills" / "can_wood.jpg")
    bundles = {p: load_bundle(shipped(f"models/student.{p}.onnx")) for p in ("int8", "fp32")}
    spec = bundles["int8"].preprocessing
    runtimes = {p: Runtime(b.onnx, name=b.model_id, threads=1) for p, b in bundles.items()}
    raw = runtimes["int8"].takes_bytes
    batch = network_input(pixels, spec, takes_bytes=raw)
    steps = {f"network, {p}": (lambda r=r: r.run(batch)) for p, r in runtimes.items()}
    steps["preprocessing of 512x384"] = lambda: network_input(pixels, spec, takes_bytes=raw)
    large = cv2.resize(pixels, (1280, 720))
    steps["preprocessing of 1280x720"] = lambda: network_input(large, spec, takes_bytes=raw)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs):
        for name, step in steps.items():  # interleaved: a noisy moment meets all alike
            started_s = time.perf_counter()
            step()
            times[name].append((time.perf_counter() - started_s) * 1000)
    for name, spent in times.items():
        p50, p10, p90 = np.percentile(spent[runs // 10 :], (50, 10, 90))
        print(f"{name:<26} p50 {p50:5.2f} ms   p10 {p10:5.2f}   p90 {p90:5.2f}")


if __name__ == "__main__":
    main()
