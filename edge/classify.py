"""Pictures from files through the bin's own segmenter, classifier and rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, abstain, decide
from edge.judge import with_note
from edge.pictures import read_picture
from edge.segmenters import Segmenter, WholeFrame
from edge.shipped import default_model
from edge.tray import TrayMemory
from edge.values import Crop, Decision, Frame, Item, Pixels, Prediction

NO_ROUTES = Routes("", {})


@dataclass(frozen=True, slots=True)
class Look:
    """All that came of one picture on the way to its decision."""

    path: Path
    pixels: Pixels
    crop: Crop
    prediction: Prediction | None  # None where nothing was judged
    decision: Decision


class PictureClassifier:
    """One picture, one vote."""

    def __init__(
        self,
        model: Path | None = None,
        *,
        segmenter: Segmenter | None = None,
        tray: TrayMemory | None = None,
        threads: int = 1,
    ) -> None:
        bundle = load_bundle(model or default_model())
        self.bundle = bundle
        self.classifier = Classifier(bundle, threads=threads)
        self._segmenter = segmenter or WholeFrame()
        self._tray = tray or TrayMemory()
        self._rules = Rules(
            bundle.labels,
            bundle.thresholds,
            bundle.min_margin,
            min_agreement=0,
            rejection=bundle.rejection,
        )

    def look(self, path: Path) -> Look:
        """Decide one picture and keep what led there; raises PictureError."""
        pixels = read_picture(path)
        frame = Frame(pixels, captured_s=0.0, seq=1, source=path.name)
        item = Item((frame,), trigger_s=0.0, cause="frame")
        if self._tray.is_empty(frame):  # as in the bin: then nothing is cut, and nothing judged
            empty = abstain("empty", routes=NO_ROUTES, reason="the scene is the empty tray")
            return Look(path, pixels, WholeFrame().cut(frame, item), None, empty)
        crop = self._segmenter.cut(frame, item)
        prediction = self.classifier.look(crop)
        decision = decide([prediction], rules=self._rules, routes=NO_ROUTES)
        noted = with_note(decision, [crop], [prediction], labels=self.bundle.labels)
        return Look(path, pixels, crop, prediction, noted)

    def classify(self, path: Path) -> dict[str, Any]:
        """The top three of a picture, JSON-ready; raises PictureError."""
        return as_row(self.look(path))


def as_row(look: Look) -> dict[str, Any]:
    """JSON-ready; says how the item was cut only where it was asked to be."""
    decision, crop = look.decision, look.crop
    row: dict[str, Any] = {
        "path": str(look.path),
        "outcome": decision.outcome,
        "label": decision.label,
        "confidence": round(decision.confidence, 4),
        "top": [[label, round(share, 4)] for label, share in decision.top],
    }
    if crop.segmenter != "none" or crop.note:
        row |= {
            "segmenter": crop.segmenter,
            "box": list(crop.box_xyxy),
            "quality": round(crop.quality, 3),
        }
    if crop.beside is not None:
        row["share"] = crop.share
    if crop.note:
        row["note"] = crop.note
    return row
