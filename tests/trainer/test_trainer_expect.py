"""What a card says of the confidence that its bins are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.fleet.cards import read_cards
from edge.fleet.drift import tenths
from edge.shipped import default_model
from tests.harness import ROOT
from trainer import bundles, expect

pytestmark = pytest.mark.trainer
PROBS = np.array([[0.97, 0.03], [0.05, 0.95], [0.6, 0.4], [1.0, 0.0], [0.49999, 0.50001]])


def test_the_monitor_reads_what_the_trainer_measured(tmp_path: Path) -> None:
    """Written into a card, the reference comes back as the monitor's own counts; the network, its
    hash and its version stay."""
    shipped = load_bundle(default_model())
    path = tmp_path / "student.int8.onnx"
    card = {key: value for key, value in shipped.card.items() if key != "reference"}
    bundles.write_pair(path, shipped.onnx, card)
    reference = expect.reference_of(PROBS, "val")
    written = expect.write(path, reference)
    assert (written.version, written.onnx) == (shipped.version, shipped.onnx)
    (found,) = read_cards(str(tmp_path)).values()
    assert found.confidences == tenths(PROBS.max(1)) == (0, 0, 0, 0, 0, 1, 1, 0, 0, 3)
    assert found.mean == pytest.approx(PROBS.max(1).mean(), abs=1e-5)


def test_shipped_cards_hold_their_reference() -> None:
    """The default student's cards say how sure it was on the validation list."""
    for name in ("student.int8.json", "student.fp32.json"):
        card = json.loads((ROOT / "models" / name).read_text())
        reference = card["reference"]
        assert sum(reference["confidences"]) == reference["n"] == card["data"]["splits"]["val"]["n"]
