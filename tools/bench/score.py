"""How right each contender is, on the same pictures, squeezed by the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.pictures import read_picture
from edge.preprocess import Preprocessing, squeeze
from edge.values import Pixels
from tools.bench.runners import Contender, opened
from trainer.background import album_of
from trainer.background_views import KINDS, SWAPS
from trainer.data import PhotoSet
from trainer.scoring import Labels, report, wilson

SPEC = Preprocessing(224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # squeezing needs its size alone


@dataclass(frozen=True, slots=True)
class Exam:
    """Pictures with their classes; `swapped` by kind of background, where there are masks."""

    labels: tuple[str, ...]
    squares: npt.NDArray[np.uint8]  # (n, S, S, 3)
    truth: Labels
    swapped: dict[str, npt.NDArray[np.uint8]]
    swapped_truth: Labels


@dataclass(frozen=True, slots=True)
class Score:
    """Shares 0..1; the gap in points, original minus the worst background."""

    n: int
    hits: int
    macro_f1: float
    gap: float | None = None
    worst: float | None = None  # percent on the worst background

    @property
    def accuracy(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.n)


def exam(photos: PhotoSet, masks: Path | None) -> Exam:
    """Decode, lay on other backgrounds and squeeze everything once."""
    squares = np.stack([squeeze(read_picture(path), SPEC) for path in photos.paths])
    if masks is None:
        return Exam(photos.classes, squares, photos.targets, {}, np.empty(0, np.int64))
    album = album_of(photos, masks)
    rows = list(album.rows())
    swapped = {kind: np.stack([_view(album.view(row, kind)) for row in rows]) for kind in SWAPS}
    return Exam(photos.classes, squares, photos.targets, swapped, photos.targets[rows])


def _view(pixels: Pixels | None) -> Pixels:
    assert pixels is not None  # every photo with a good mask has these views
    return squeeze(pixels, SPEC)


def score(contender: Contender, asked: Exam, tick: Callable[[], object] = lambda: None) -> Score:
    """Its classes must be those of the folders, in their order."""
    runner = opened(contender)

    def answers(squares: npt.NDArray[np.uint8]) -> Labels:
        found = []
        for square in squares:
            found.append(int(runner.run(runner.feed(square)).argmax()))
            tick()
        return np.array(found, np.int64)

    found = answers(asked.squares)
    told = report(asked.truth, found, asked.labels)
    hits = int((found == asked.truth).sum())
    if not asked.swapped:
        return Score(len(found), hits, told.macro_f1)
    right = {
        kind: 100 * float((answers(squares) == asked.swapped_truth).mean())
        for kind, squares in asked.swapped.items()
    }
    worst = min(right[kind] for kind in KINDS)
    return Score(len(found), hits, told.macro_f1, right["original"] - worst, worst)
