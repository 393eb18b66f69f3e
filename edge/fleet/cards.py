"""What the cards of models say of their confidence: NAME.json beside NAME.onnx."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from edge.fleet.drift import CELLS, Card
from edge.shipped import default_model

log = logging.getLogger(__name__)


def read_cards(folder: str) -> dict[str, Card]:
    """Cards by model id (NAME@VERSION); those that cannot be read are told in the log."""
    where = Path(folder) if folder else default_model().parent
    cards = {}
    for path in sorted(where.glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            card = card_of(content)
            if card:
                cards[f"{path.stem}@{int(content['version'])}"] = card
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("fleet: %s is no model's card (%s)", path, error)
    return cards


def card_of(content: dict[str, Any]) -> Card | None:
    """What a card expects; None where it was not measured.

    A card may hold `reference`: {"confidences": [10 counts], "mean": ...}, the confidences on its
    validation pictures. Else a calibrated model's mean confidence is its accuracy (that is what
    calibrated means; the card's ece_after says how nearly).
    """
    reference = content.get("reference")
    if isinstance(reference, dict) and len(reference["confidences"]) == CELLS:
        counts = tuple(int(count) for count in reference["confidences"])
        return Card(mean=float(reference["mean"]), confidences=counts)
    for metric in content.get("metrics", ()):
        if metric.get("metric") == "accuracy":
            return Card(mean=float(metric["value"]))
    return None
