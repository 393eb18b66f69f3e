"""Draw the decision on a picture, as in the README.

python -m tools.draw_decision edge/samples/stills/can_wood.jpg docs/images/decision.jpg
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np

from edge.classify import PictureClassifier
from edge.config import EXAMPLE_ROUTES
from edge.pictures import read_picture
from edge.values import Pixels

SCALE = 2  # the samples are 512 px wide, a README shows more
BAR_PX = 112
WHITE, GREEN, GREY = (255, 255, 255), (90, 200, 90), (150, 150, 150)


def draw(source: Path) -> Pixels:
    """The picture with a bar below it: class, confidence, route, milliseconds, top three."""
    classifier = PictureClassifier()
    classifier.classify(source)  # the first is slower; the second is what a bin would see
    started_s = time.perf_counter()
    row = classifier.classify(source)
    ms = (time.perf_counter() - started_s) * 1000
    pixels = read_picture(source)
    height, width = pixels.shape[0] * SCALE, pixels.shape[1] * SCALE
    big = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    bar = np.full((BAR_PX, width, 3), 24, np.uint8)
    is_sorted = row["outcome"] == "sorted"
    route = EXAMPLE_ROUTES.get(row["label"], "residual") if is_sorted else "residual"
    head = f"{row['outcome']}: {row['label']}  {row['confidence']:.0%}   ->  {route}"
    _text(bar, head, (24, 46), 1.1, GREEN if is_sorted else WHITE)
    rest = "   ".join(f"{label} {share:.1%}" for label, share in row["top"])
    _text(bar, f"{rest}      {ms:.1f} ms with reading the file", (24, 90), 0.7, GREY)
    return np.vstack([big, bar])


def _text(
    canvas: Pixels, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 2, cv2.LINE_AA)


def main() -> None:
    """Read the first argument, write the second."""
    source, target = map(Path, sys.argv[1:3])
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = cv2.cvtColor(draw(source), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(target), drawn, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
