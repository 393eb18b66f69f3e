"""Evaluation and the background challenge run the edge's own classifier, without torch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.errors import UsageError
from edge.pictures import read_picture
from tests.trainer.synthetic import write_photos
from trainer.background import challenge
from trainer.data import scan
from trainer.evaluate import as_text, evaluate

BLOCK_TORCH = "import sys; sys.modules['torch'] = None; from trainer.cli import main; main()"


def train_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    """smartbin-train as on a machine without torch."""
    command = [sys.executable, "-c", BLOCK_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_evaluate_says_what_the_classifier_says(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """Labels and probabilities in the CSV are those of edge's Classifier, to the picture."""
    bundle, photos = write_bundle(), scan(write_photos(tmp_path))
    result = evaluate(bundle, photos, tmp_path / "p.csv")
    classifier = Classifier(load_bundle(bundle))
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert len(rows) == result.n == len(photos)
    hits = 0
    for row, path in zip(rows, photos.paths, strict=True):
        probs = classifier.classify(read_picture(path)).probs
        found = classifier.labels[int(probs.argmax())]
        assert row["file"] == f"{path.parent.name}/{path.name}"
        assert row["found"] == found
        told = [float(row[f"p_{label}"]) for label in classifier.labels]
        assert np.allclose(told, probs, atol=1e-6)
        hits += found == path.parent.name
    assert result.accuracy == hits / len(photos)


def test_labels_are_matched_by_name(tmp_path: Path, write_bundle: Callable[..., Path]) -> None:
    """The bundle's order of labels need not be the folders'; the tiny network knows colours."""
    result = evaluate(write_bundle(), scan(write_photos(tmp_path)))
    assert result.labels == ("red", "green", "blue")
    assert result.accuracy == 1.0


def test_a_class_the_bundle_does_not_know_is_refused(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """A folder that is none of the labels is one sentence, not a wrong figure."""
    root = write_photos(tmp_path)
    (root / "red").rename(root / "magenta")
    with pytest.raises(UsageError, match="class magenta is none of the bundle's labels"):
        evaluate(write_bundle(), scan(root))


def test_the_text_tells_the_intervals(tmp_path: Path, write_bundle: Callable[..., Path]) -> None:
    """The accuracy and each class's recall stand with their 95 % interval, six of six as such."""
    text = as_text(evaluate(write_bundle(), scan(write_photos(tmp_path, per_class=2))))
    assert "100.00% of 6 right (95 % interval 61.0% to 100.0%), macro F1 1.000" in text
    assert text.count("recall 1.000 (0.342 to 1.000)  n 2") == 3  # two of two


def test_challenge_counts_good_masks_only(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """Photos without a good mask count in no variant; the gap is to the worst of the three."""
    root = write_photos(tmp_path)
    (tmp_path / "masks" / "red" / "red1.png").unlink()
    found = challenge(write_bundle(), scan(root), tmp_path / "masks")
    assert found["n"] == 17
    worst = min(found["brown"], found["random"], found["cardboard"])
    assert found["gap"] == pytest.approx(found["original"] - worst)
    assert found == challenge(write_bundle(), scan(root), tmp_path / "masks")


def test_evaluate_and_background_need_no_torch(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """Both commands print JSON alone on standard output where torch is not installed."""
    bundle, root = write_bundle(), write_photos(tmp_path, per_class=2)
    done = train_cli("evaluate", "--bundle", bundle, "--data", root, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n"], found["accuracy"], found["wilson_95"][1]) == (6, 1.0, 1.0)
    assert found["wilson_95"][0] == pytest.approx(0.6097, abs=1e-4)  # six of six
    masks = tmp_path / "masks"
    done = train_cli("background", "--bundle", bundle, "--data", root, "--masks", masks, "--json")
    assert done.returncode == 0, done.stderr
    keys = {"n", "original", "brown", "random", "cardboard", "gap"}
    assert keys <= set(json.loads(done.stdout))


def test_training_without_torch_says_what_to_install(tmp_path: Path) -> None:
    """One sentence that names the extra, exit code 1, no traceback."""
    done = train_cli("distill", "--data", write_photos(tmp_path), "--run", tmp_path / "run")
    assert done.returncode == 1
    assert "pip install 'smartbin[trainer]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("evaluate", "--bundle", "no.onnx", "--data", "{root}"), 1, "no.onnx: model file"),
        (("evaluate", "--bundle", "no.onnx", "--data", "nowhere"), 2, "nowhere: no such folder"),
        (("all", "--data", "{root}", "--preset", "huge"), 2, "--preset huge: must be one of"),
        (("distill", "--data", "{root}", "--run", "r", "--recipe", "x"), 2, "no such recipe"),
        (("distill", "--data", "{root}", "--run", "r", "--set", "lr"), 2, "SECTION.KEY=VALUE"),
    ],
)
def test_bad_usage_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """Exit 2 for what was asked wrongly, 1 for what went wrong; never a traceback."""
    root = str(write_photos(tmp_path, per_class=1))
    done = train_cli(*(a.replace("{root}", root) for a in arguments))
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_objects_that_training_has_seen_are_told_apart(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """By the audit's groups: one picture shares its group with one trained on, the others not."""
    photos = write_photos(tmp_path / "photos", per_class=2)
    names = [f"{path.parent.name}/{path.name}" for path in scan(photos).paths]
    trained, judged = tmp_path / "train.txt", tmp_path / "val.txt"
    trained.write_text(names[0] + "\n")
    judged.write_text("\n".join(names[1:]) + "\n")
    rows = [f"{name},{0 if i < 2 else i},1" for i, name in enumerate(names)]
    groups = tmp_path / "groups.csv"
    groups.write_text("\n".join(["picture,group,pictures_in_group", *rows]) + "\n")
    asked = ["evaluate", "--bundle", write_bundle(), "--data", photos, "--names", judged]
    both = ["--groups", groups, "--train-names", trained]
    told = train_cli(*asked, *both, "--json")
    assert told.returncode == 0, told.stderr
    parts = json.loads(told.stdout)["groups"]
    assert (parts["known"]["n"], parts["new"]["n"]) == (1, len(names) - 2)
    assert parts["known"]["accuracy"] == parts["new"]["accuracy"] == 1.0
    assert parts["known"]["wilson_95"][0] < parts["new"]["wilson_95"][0]
    assert "group not in training: 100.00% of" in train_cli(*asked, *both).stdout
    alone = train_cli(*asked, "--groups", groups)
    assert alone.returncode == 2 and "--train-names" in alone.stderr
