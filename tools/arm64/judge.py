"""Judges every sample still with the installed smartbin; one JSON object, for both machines.

Run by path in an environment that has smartbin: nothing of the checkout is imported.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.pictures import read_picture
from edge.preprocess import prepare
from edge.shipped import default_model, samples


def main() -> None:
    """Print what is made of every still."""
    bundle = load_bundle(default_model())
    classifier = Classifier(bundle)
    rules = Rules(
        bundle.labels,
        bundle.thresholds,
        bundle.min_margin,
        min_agreement=0,
        rejection=bundle.rejection,
    )
    stills = sorted((samples() / "stills").glob("*.jpg"))
    answer = {
        "machine": platform.machine(),
        "model": bundle.model_id,
        "stills": {path.name: judged(path, bundle, classifier, rules) for path in stills},
    }
    print(json.dumps(answer))


def judged(path: Path, bundle: Bundle, classifier: Classifier, rules: Rules) -> dict[str, Any]:
    """What the bin would decide, unrounded, with hashes of what it went through on the way."""
    pixels = read_picture(path)
    prediction = classifier.classify(pixels)
    decision = decide([prediction], rules=rules, routes=Routes("", {}))
    return {
        "outcome": decision.outcome,
        "label": decision.label,
        "confidence": decision.confidence,
        "probs": prediction.probs.tolist(),
        "pixels": digest(pixels),
        "input": digest(prepare(pixels, bundle.preprocessing)),
    }


def digest(array: npt.NDArray[Any]) -> str:
    """Equal for equal arrays."""
    return hashlib.sha256(array.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
