"""The bundles in models/: what their cards promise, and, with the photos at hand, that it is so.

SMARTBIN_DATA is a folder with TrashNet's images/, masks/ and splits/; without it the photos'
tests are left out.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle import load_bundle
from tests.trainer.synthetic import write_photos
from trainer.background import challenge
from trainer.data import scan
from trainer.evaluate import evaluate

MODELS = Path(__file__).resolve().parents[2] / "models"
INT8, FP32 = MODELS / "student.int8.onnx", MODELS / "student.fp32.onnx"
DATA = os.environ.get("SMARTBIN_DATA")
with_photos = pytest.mark.skipif(DATA is None, reason="SMARTBIN_DATA names no folder of photos")


def val_list() -> Path:
    return Path(DATA or "") / "splits" / "official_val.txt"


def images() -> Path:
    return Path(DATA or "") / "images"


def test_the_student_is_under_one_million_bytes_and_parameters() -> None:
    """Both limits of the project hold for the int8 file that a bin loads."""
    bundle = load_bundle(INT8)
    assert len(bundle.onnx) == bundle.card["bytes"] <= 1_000_000
    assert bundle.card["parameters"] <= 1_000_000


@pytest.mark.parametrize("path", [INT8, FP32], ids=["int8", "fp32"])
def test_cards_say_where_the_figures_come_from(path: Path) -> None:
    """Every metric names data, split, n and interval; licence, hashes, seeds and recipe stand."""
    card = load_bundle(path).card
    for metric in card["metrics"]:
        assert metric["data"].startswith("TrashNet")
        assert metric["split"] == "official_val"
        assert metric["wilson_95"][0] <= metric["value"] <= metric["wilson_95"][1]
    assert "MIT" in card["data"]["licence"]
    assert {"file", "sha256", "n"} <= set(card["data"]["splits"]["train"])
    assert card["seeds"]
    assert card["recipe"]["network"]["size_px"] == card["preprocessing"]["size_px"]


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_cards_name_no_path_of_the_machine_that_trained(path: Path) -> None:
    """Neither the card nor the network holds an absolute path."""
    for text in (path.with_suffix(".json").read_bytes(), path.read_bytes()):
        for folder in (b"/home/", b"/root/", b"/work/", b"/tmp/", b"site-packages"):
            assert folder not in text


@pytest.mark.parametrize("name", ["student", "student-organic"])
def test_no_float_stands_before_an_int8_student(name: str) -> None:
    """A cast of the picture and its normalisation would cost half the network's time again."""
    onnx = pytest.importorskip("onnx")
    network = onnx.load(MODELS / f"{name}.int8.onnx").graph
    assert not {node.op_type for node in network.node} & {"Cast", "Sub", "Div"}


@with_photos
def test_the_student_reaches_its_target_on_official_val() -> None:
    """92 % or more as int8, and exactly the figure that its card states."""
    result = evaluate(INT8, scan(images(), val_list()))
    stated = load_bundle(INT8).card["metrics"][0]
    assert result.n == stated["n"] == 328
    assert result.accuracy == pytest.approx(stated["value"], abs=1e-5)
    assert result.accuracy >= 0.92


@with_photos
def test_the_student_knows_a_brown_table() -> None:
    """The background challenge gives what the card states."""
    found = challenge(INT8, scan(images(), val_list()), Path(DATA or "") / "masks")
    stated = {m["metric"]: m["value"] for m in load_bundle(INT8).card["metrics"]}
    assert found["brown"] == pytest.approx(100 * stated["background brown"], abs=0.01)


@with_photos
def test_classify_agrees_with_evaluate_to_the_picture(tmp_path: Path) -> None:
    """`smartbin classify --json` and `smartbin-train evaluate` name the same class for all 328."""
    photos = scan(images(), val_list())
    evaluate(INT8, photos, tmp_path / "p.csv")
    found = {row["file"]: row["found"] for row in csv.DictReader((tmp_path / "p.csv").open())}
    command = [sys.executable, "-m", "edge.cli", "classify", "--json", *map(str, photos.paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(photos)
    for row in rows:
        path = Path(row["path"])
        assert row["top"][0][0] == found[f"{path.parent.name}/{path.name}"]


def test_the_student_opens_on_any_folder_of_its_labels(tmp_path: Path) -> None:
    """Photos it has never seen get an answer, right or wrong, and the counts add up."""
    root = write_photos(tmp_path, per_class=1)
    for colour, label in (("blue", "glass"), ("green", "metal"), ("red", "paper")):
        (root / colour).rename(root / label)
    result = evaluate(INT8, scan(root))
    assert sum(map(sum, result.confusion)) == result.n == 3
