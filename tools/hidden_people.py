"""How well faces are hidden before a picture is kept: python -m tools.hidden_people --face-model F

Portraits and patches are yours, and none is in the repository; two that anyone has come inside
packages: skimage/data/astronaut.png (NASA, public domain) of scikit-image, and
matplotlib/mpl-data/sample_data/grace_hopper.jpg (US Navy, public domain) of matplotlib; 100 other
people, small and grey, are the first half of scikit-image's lfw_subset.npy.

    --portrait astronaut.png:150,25,290,195 --portrait grace_hopper.jpg:150,60,375,360
    --patches lfw_subset.npy

Each head is pasted, with a soft edge, into rendered empty frames, away from their border, so that
only the face finder can hide it. It counts as hidden where nine tenths of its ellipse are.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.pictures import list_pictures, read_picture
from edge.uncertain.blur import WORK_W, PeopleHider
from edge.values import Pixels
from tests.harness import ROOT

FRAMES = ROOT / "tests" / "data" / "challenge" / "empty"
HEIGHTS_PX = (16, 24, 32, 48, 64, 96)  # of a head, in a frame of 320 x 240
TURNS_DEG = (0, 30, 60, 90, 180)  # 180: seen from above by a camera that looks down
LIGHTS = {"dark": 0.2, "dim": 0.5, "as taken": 1.0, "blown out": 1.8}
USUAL_PX = 48
ENOUGH = 0.9  # of a head's pixels
EVERY = 6  # of the frames, for all eight surfaces


@dataclass(frozen=True, slots=True)
class Head:
    """(h, w, 3) uint8 RGB, and where in it the head is, 0..1."""

    pixels: Pixels
    inside: npt.NDArray[np.float32]  # (h, w)


def head_of(pixels: Pixels) -> Head:
    """A head that fills its picture."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1)
    return Head(pixels, np.clip((1 - radius) / 0.15, 0, 1).astype(np.float32))


def portrait(text: str) -> Head:
    """`FILE:x0,y0,x1,y1`, the box of the whole head in pixels."""
    name, _, box = text.rpartition(":")
    try:
        x0, y0, x1, y1 = (int(part) for part in box.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write FILE:x0,y0,x1,y1") from None
    return head_of(np.ascontiguousarray(read_picture(Path(name))[y0:y1, x0:x1]))


def patches(path: Path) -> tuple[list[Head], list[Head]]:
    """Faces and other things of scikit-image's lfw_subset.npy: (200, 25, 25) grey, 0..1."""
    rows = np.asarray(np.load(path) * 255, np.uint8)
    heads = [head_of(np.repeat(row[..., None], 3, axis=2)) for row in rows]
    return heads[: len(heads) // 2], heads[len(heads) // 2 :]


def pasted(frame: Pixels, head: Head, height_px: int, turn_deg: float, light: float) -> Head:
    """The frame with the head in its middle, and where the head is."""
    height, width = frame.shape[:2]
    scale = height_px / head.pixels.shape[0]
    turn = cv2.getRotationMatrix2D(
        (head.pixels.shape[1] / 2, head.pixels.shape[0] / 2), turn_deg, 1
    )
    turn = turn * scale
    turn[:, 2] += (np.array([width, height]) - scale * np.array(head.pixels.shape[1::-1])) / 2
    shrunk = cv2.GaussianBlur(head.pixels, (0, 0), max(0.01, 0.4 / scale))
    shown = cv2.warpAffine(shrunk, turn, (width, height))
    inside = cv2.warpAffine(head.inside, turn, (width, height))
    out = frame + (shown.astype(np.float32) - frame) * inside[..., None]
    return Head(np.clip(out * light, 0, 255).astype(np.uint8), np.asarray(inside, np.float32))


def hidden(hider: PeopleHider, scene: Head) -> bool:
    """Whether nobody would know who that was."""
    region = hider.people(scene.pixels) > 0
    place = cv2.resize(scene.inside, region.shape[::-1]) > 0.5
    return bool(region[place].mean() >= ENOUGH)


def share(
    hider: PeopleHider,
    heads: Sequence[Head],
    frames: Sequence[Pixels],
    height_px: int,
    turn_deg: float = 0.0,
    light: float = 1.0,
) -> tuple[int, int]:
    """How many of all heads on all frames are hidden."""
    scenes = (pasted(f, head, height_px, turn_deg, light) for head in heads for f in frames)
    found = [hidden(hider, scene) for scene in scenes]
    return sum(found), len(found)


def said(found: tuple[int, int]) -> str:
    """With the 95 % interval by Wilson."""
    hits, n = found
    z2 = 1.96**2
    middle = (hits + z2 / 2) / (n + z2)
    half = 1.96 / (n + z2) * math.sqrt(hits * (n - hits) / n + z2 / 4)
    return f"{hits / n:.0%} ({max(0.0, middle - half):.0%} to {min(1.0, middle + half):.0%})"


def table(head: str, rows: Sequence[Sequence[object]]) -> None:
    """In Markdown."""
    print(f"\n| {head} |\n|{'---|' * (head.count('|') + 1)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--face-model", required=True, help="CenterFace's .onnx")
    parser.add_argument("--portrait", type=portrait, action="append", default=[])
    parser.add_argument("--patches", type=Path)
    asked = parser.parse_args()
    hider = PeopleHider("people", asked.face_model)
    # Without its edge nothing of a frame is taken for a hand.
    frames = [read_picture(path) for path in list_pictures(FRAMES)[::EVERY]]
    frames = [frame for frame in frames if not hider.people(frame).any()]
    print(f"{len(frames)} empty frames, {WORK_W} px wide, in which nothing is hidden by itself")
    if asked.portrait:
        heads = asked.portrait
        table(
            "head, px high | " + " | ".join(f"turned {turn} deg" for turn in TURNS_DEG),
            [
                (px, *(said(share(hider, heads, frames, px, turn)) for turn in TURNS_DEG))
                for px in HEIGHTS_PX
            ],
        )
        rows = [(k, said(share(hider, heads, frames, USUAL_PX, 0, v))) for k, v in LIGHTS.items()]
        table(f"light, {USUAL_PX} px, upright | hidden", rows)
    if asked.patches:
        faces, others = patches(asked.patches)
        rows = [
            (px, *(said(share(hider, each, frames[:1], px)) for each in (faces, others)))
            for px in HEIGHTS_PX[2:]
        ]
        table(f"{len(faces)} other people, grey, 25 px of detail | hidden | no face, hidden", rows)


if __name__ == "__main__":
    main()
