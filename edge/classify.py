"""Pictures from files through the bin's own classifier and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.pictures import read_picture
from edge.shipped import default_model


class PictureClassifier:
    """One picture, one vote."""

    def __init__(self, model: Path | None = None, *, threads: int = 1) -> None:
        bundle = load_bundle(model or default_model())
        self._classifier = Classifier(bundle, threads=threads)
        self._rules = Rules(
            bundle.labels,
            bundle.thresholds,
            bundle.min_margin,
            min_agreement=0,
            rejection=bundle.rejection,
        )

    def classify(self, path: Path) -> dict[str, Any]:
        """The top three of a picture, JSON-ready; raises PictureError."""
        prediction = self._classifier.classify(read_picture(path))
        decision = decide([prediction], rules=self._rules, routes=Routes("", {}))
        return {
            "path": str(path),
            "outcome": decision.outcome,
            "label": decision.label,
            "confidence": round(decision.confidence, 4),
            "top": [[label, round(share, 4)] for label, share in decision.top],
        }
