"""A bundle looking at pictures as a bin does: cut out by a segmenter or whole, then judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.segmenters import Segmenter, build_segmenter
from edge.values import Crop, Decision, Frame, Item, Pixels, Prediction
from trainer.report_scores import decide_one

MEMORY_MB = 4000.0  # of rembg's process: no bin runs beside it, and its large networks need it


@dataclass(frozen=True, slots=True)
class Glance:
    """What came of one picture."""

    crop: Crop  # what the classifier saw
    prediction: Prediction
    decision: Decision


class Seer:
    """A classifier behind a segmenter."""

    def __init__(self, bundle: Bundle, segmenter: Segmenter) -> None:
        self._bundle, self._segmenter = bundle, segmenter
        self._classifier = Classifier(bundle)
        self.name = segmenter.name

    def look(self, pixels: Pixels) -> Glance:
        """(H, W, 3) uint8 RGB, as one frame without a box."""
        return self.judge(self.cut(pixels))

    def cut(self, pixels: Pixels) -> Crop:
        """The first half of a look: what the classifier is to see."""
        frame = Frame(pixels, captured_s=0.0, seq=1)
        return self._segmenter.cut(frame, Item((frame,), trigger_s=0.0, cause="frame"))

    def judge(self, crop: Crop) -> Glance:
        """The second half: what is decided of it."""
        prediction = self._classifier.look(crop)
        return Glance(crop, prediction, decide_one(self._bundle, prediction))


@contextmanager
def seer_of(
    bundle: Bundle,
    segmenter: str = "none",
    *,
    judge: str = "both",
    model: Path | None = None,
    session: str = "u2netp",
) -> Iterator[Seer]:
    """A seer whose segmenter, named as in config.toml, gives back its processes in the end.

    `model` and `session` are those of `build_segmenter`, which says what it raises.
    """
    cutter = build_segmenter(
        segmenter,
        judge=judge,
        model=model,
        session=session,
        patient=True,
        timeout_s=60.0,
        memory_mb=MEMORY_MB,
    )
    try:
        yield Seer(bundle, cutter)
    finally:
        cutter.close()
