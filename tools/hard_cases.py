"""Draws docs/images/hard-cases.jpg: ten hard cases, judged without and with a segmenter.

python -m tools.hard_cases [--bundle ONNX] [--segmenter tiny] [--out docs/images/hard-cases.jpg]

The pictures are the project's own renders. Hard means that the whole frame and the cut-out are told
apart most, whatever is right: the ten whose probabilities differ most, no item more than twice and
no surface more than three times. So the sheet is as good or bad as the networks are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.bundle import load_bundle
from edge.canvas import FAINT, INK, Canvas, Colour
from edge.pictures import read_picture
from edge.shipped import default_model
from edge.values import Pixels, Prediction
from trainer.factorial import repeated
from trainer.rendered import Picture, load
from trainer.seer import Glance, seer_of

CASES, COLUMNS = 10, 2
MOST_OF_ITEM, MOST_OF_SURFACE = 2, 3
SHOWN_W, SHOWN_H = 200, 150
GAP, TEXT_H, LINE_H, HEAD_H = 16, 64, 19, 52
CELL_W, CELL_H = 2 * SHOWN_W + 8, SHOWN_H + TEXT_H
RIGHT: Colour = (26, 127, 75)
WRONG: Colour = (190, 50, 40)
QUALITY = 82  # of the JPEG


@dataclass(frozen=True, slots=True)
class Case:
    """One picture with both answers."""

    picture: Picture
    pixels: Pixels
    glance: Glance
    labels: tuple[str, ...]

    @property
    def whole(self) -> Prediction:
        """Of the frame alone."""
        parts = self.glance.prediction.parts
        return parts[1] if parts else self.glance.prediction

    @property
    def cut(self) -> Prediction:
        """Of the cut-out alone."""
        parts = self.glance.prediction.parts
        return parts[0] if parts else self.glance.prediction

    @property
    def apart(self) -> float:
        """How far the two looks are from each other: half the sum of differences, 0..1."""
        return float(np.abs(self.whole.probs - self.cut.probs).sum()) / 2

    @property
    def answers(self) -> dict[str, Prediction]:
        """By what was judged."""
        return {"frame": self.whole, "cut-out": self.cut, "both": self.glance.prediction}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a bundle's .onnx; else the shipped one")
    parser.add_argument("--segmenter", default="tiny")
    parser.add_argument("--frames", type=Path, default=Path("tests/data/challenge"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/hard-cases.jpg"))
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle or default_model())
    with seer_of(bundle, arguments.segmenter) as seer:
        cases = []
        for picture in repeated(load(arguments.frames)):
            pixels = read_picture(picture.path)
            cases.append(Case(picture, pixels, seer.look(pixels), bundle.labels))
    chosen = hardest(cases)
    sheet = draw(chosen, bundle.model_id, arguments.segmenter)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(arguments.out), sheet.pixels[..., ::-1], options):
        raise SystemExit(f"{arguments.out}: cannot be written")
    right = {
        way: sum(_is_right(case, case.answers[way]) for case in chosen) for way in chosen[0].answers
    }
    print(f"{arguments.out}: right of {len(chosen)}: {right}")


def hardest(cases: list[Case]) -> list[Case]:
    """Those whose looks differ most, of several items and surfaces."""
    items: Counter[str] = Counter()
    surfaces: Counter[str] = Counter()
    chosen: list[Case] = []
    for case in sorted(cases, key=lambda case: -case.apart):
        item, surface = case.picture.item, case.picture.surface
        if items[item] < MOST_OF_ITEM and surfaces[surface] < MOST_OF_SURFACE:
            items[item] += 1
            surfaces[surface] += 1
            chosen.append(case)
    return chosen[:CASES]


def draw(cases: list[Case], model_id: str, segmenter: str) -> Canvas:
    """Two columns of frame and cut-out, each with both answers below."""
    rows = -(-len(cases) // COLUMNS)
    canvas = Canvas(COLUMNS * (CELL_W + GAP) + GAP, HEAD_H + rows * (CELL_H + GAP))
    words = f"{model_id}: the whole frame, what {segmenter} cuts out, and both"
    canvas.text(words, GAP, 32, size=17, bold=True)
    for number, case in enumerate(cases):
        x = GAP + number % COLUMNS * (CELL_W + GAP)
        _cell(canvas, case, x, HEAD_H + number // COLUMNS * (CELL_H + GAP))
    return canvas


def _cell(canvas: Canvas, case: Case, x: int, y: int) -> None:
    crop = case.glance.crop
    canvas.picture(case.pixels, x, y, SHOWN_W, SHOWN_H)
    if crop.mask is not None:
        canvas.picture(crop.pixels, x + SHOWN_W + 8, y, SHOWN_W, SHOWN_H)
    else:
        canvas.text("not cut out", x + SHOWN_W + 24, y + SHOWN_H // 2, size=14, ink=FAINT)
    below = y + SHOWN_H + 18
    canvas.text(f"{case.picture.label} on {case.picture.surface}", x, below, size=14, bold=True)
    for row, (way, said) in enumerate(case.answers.items()):
        line = below + row * LINE_H
        canvas.text(way, x + SHOWN_W + 8, line, size=14, ink=FAINT)
        _answer(canvas, case, said, x + SHOWN_W + 80, line)


def _answer(canvas: Canvas, case: Case, said: Prediction, x: int, y: int) -> None:
    best = int(said.probs.argmax())
    ink = RIGHT if _is_right(case, said) else WRONG
    end = canvas.text(f"{case.labels[best]} ", x, y, size=14, ink=ink, bold=True)
    canvas.text(f"{said.probs[best]:.0%}", end, y, size=14, ink=INK)


def _is_right(case: Case, said: Prediction) -> bool:
    return case.labels[int(np.argmax(said.probs))] == case.picture.label


if __name__ == "__main__":
    main()
