"""The report opens offline and says what was measured; maps show where the evidence lies."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.classifier import softmax
from edge.errors import SmartbinError, UsageError
from edge.pictures import read_picture
from edge.preprocess import network_input, prepare
from edge.runtime import Runtime
from tests.harness import ROOT
from tests.trainer.synthetic import TINY_RECIPE, write_photos
from trainer import report
from trainer.data import scan
from trainer.gradcam import Evidence, EvidenceError, ending, overlay, scaled, share_inside
from trainer.intervals import bootstrap_f1, mean_risk, reliability, risk_coverage
from trainer.report_scores import score, suspects
from trainer.scoring import calibration_error

SECTIONS = {
    *("headline", "confusion", "classes", "reliability", "risk", "backgrounds"),
    *("mistakes", "harm", "losses", "runs", "about"),
}
VOID = {"meta", "link", "img", "br"}
STUDENTS = [ROOT / "models" / f"student.{kind}.onnx" for kind in ("int8", "fp32")]


class Page(HTMLParser):
    """Tags that open and close, ids, and everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        self.fetched += [str(values[key]) for key in ("src", "srcset", "href") if key in values]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture
def wish(tmp_path: Path, write_bundle: Callable[..., Path]) -> report.Wish:
    """The colour-blindly sure tiny bundle, 9 photos of which one lies in the wrong folder."""
    root = write_photos(tmp_path, per_class=3)
    shutil.move(root / "red" / "red0.png", root / "blue" / "x<red>&0.png")
    return report.Wish(write_bundle(), scan(root), tmp_path / "out")


def quiet(text: str) -> None:
    """Nobody listens."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_page_parses_and_loads_nothing(wish: report.Wish) -> None:
    """Every section is there; each picture is inside; no script; the policy forbids the rest."""
    report.make(wish, quiet)
    text = (wish.out / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.ids == SECTIONS
    assert {url.partition(":")[0] if ":" in url else url[0] for url in page.fetched} <= {
        "data",
        "#",
    }
    assert sum(url.startswith("data:image/jpeg") for url in page.fetched) >= 3
    assert not page.tags & {"script", "iframe", "object", "embed"}
    assert "http://" not in text and "https://" not in text and "url(" not in text
    assert "default-src 'none'" in text
    assert str(wish.out.parent) not in text


def test_a_file_name_cannot_write_into_the_page(wish: report.Wish) -> None:
    """Names are data: angle brackets and ampersands come out as text."""
    report.make(wish, quiet)
    text = (wish.out / "report.html").read_text("utf-8")
    assert "x<red>" not in text
    assert "blue/x&lt;red&gt;&amp;0.png" in text


def test_the_csv_files_say_what_the_page_says(wish: report.Wish) -> None:
    """Columns, one line a picture, counts that add up, and the misfiled picture as suspect."""
    figures = report.make(wish, quiet)
    results = rows_of(wish.out / "evaluation_results.csv")
    probs = ["p_red", "p_green", "p_blue"]
    assert list(results[0]) == ["file", "truth", "found", *probs, "outcome", "loss_nats", "suspect"]
    assert len(results) == figures["n"] == 9
    assert figures["accuracy"] == pytest.approx(8 / 9)
    low, high = figures["accuracy_wilson_95"]
    assert low < 8 / 9 < high
    assert [row["file"] for row in results if row["suspect"] == "1"] == ["blue/x<red>&0.png"]
    for row in results:
        assert sum(float(row[key]) for key in probs) == pytest.approx(1, abs=1e-5)
    table = rows_of(wish.out / "confusion_matrix.csv")
    assert list(table[0]) == ["truth", "red", "green", "blue"]
    assert sum(int(row[c]) for row in table for c in ("red", "green", "blue")) == 9
    assert {path.name for path in wish.out.iterdir()} == {
        *("report.html", "confusion_matrix.csv", "evaluation_results.csv"),
        *("training_losses.csv", "training_stats.csv"),
    }


def test_runs_are_drawn_and_listed(wish: report.Wish, tmp_path: Path) -> None:
    """Losses of every run in one CSV, a line of stats each; the best epoch as training picks it."""
    for name, best in (("one", 0.5), ("two", 0.75)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "training_losses.csv").write_text(
            "epoch,px,lr,loss,val_accuracy,val_swapped,val_loss,seconds\n"
            f"1,32,1e-3,1.5,{best},,0.9,30\n2,32,1e-3,1.1,0.25,,1.2,30\n"
        )
        (folder / "recipe.toml").write_text(TINY_RECIPE)
    runs = (tmp_path / "one", tmp_path / "two")
    report.make(report.Wish(wish.bundle, wish.photos, wish.out, runs), quiet)
    losses = rows_of(wish.out / "training_losses.csv")
    assert [(row["run"], row["epoch"]) for row in losses] == [
        *(("one", "1"), ("one", "2"), ("two", "1"), ("two", "2"))
    ]
    stats = rows_of(wish.out / "training_stats.csv")
    assert [row["best_epoch"] for row in stats] == ["1", "1"]
    assert [row["best_val_accuracy"] for row in stats] == ["0.5", "0.75"]
    assert stats[0]["minutes"] == "1.0"
    assert "tiny" in (wish.out / "report.html").read_text("utf-8")


def test_masks_add_the_background_challenge(wish: report.Wish, tmp_path: Path) -> None:
    """Measured beside what the card says, and how much of the evidence lies on the item."""
    masks = tmp_path / "masks"
    report.make(report.Wish(wish.bundle, wish.photos, wish.out, masks=masks), quiet)
    text = (wish.out / "report.html").read_text("utf-8")
    assert "measured here" in text
    assert "Where the student looks" in text


def test_pictures_used_for_choosing_are_called_so(
    wish: report.Wish, write_bundle: Callable[..., Path]
) -> None:
    """A card that names these very pictures as its validation set brings a warning."""
    data = {"splits": {"val": {"pictures_sha256": wish.photos.sha256()}}}
    bundle = write_bundle(data=data)
    report.make(report.Wish(bundle, wish.photos, wish.out), quiet)
    text = (wish.out / "report.html").read_text("utf-8")
    assert "thresholds were chosen on" in text


def test_bad_folders_are_one_sentence(wish: report.Wish, tmp_path: Path) -> None:
    """A folder without a training, and an --out that is a file."""
    with pytest.raises(UsageError, match="holds no training"):
        report.make(report.Wish(wish.bundle, wish.photos, wish.out, (tmp_path,)), quiet)
    wish.out.write_text("in the way")
    with pytest.raises(UsageError, match="is a file"):
        report.make(wish, quiet)


def test_a_full_disk_leaves_no_half_page(
    wish: report.Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page comes last and whole; what was begun is removed."""

    def full(self: Path, text: str, *rest: object, **options: object) -> int:
        if "report" in self.name:
            raise OSError(28, "No space left on device")
        with self.open("w", encoding="utf-8", newline="") as file:
            return file.write(text)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SmartbinError, match="cannot be written \\(No space left on device\\)"):
        report.make(wish, quiet)
    assert not [path for path in wish.out.iterdir() if "report" in path.name]


@pytest.mark.parametrize("path", STUDENTS, ids=["int8", "fp32"])
def test_the_map_adds_up_to_the_logit(path: Path) -> None:
    """Of the shipped students: a map's mean plus the bias is the class's logit (CAM is exact)."""
    bundle = load_bundle(path)
    pixels = read_picture(sorted((ROOT / "edge" / "samples" / "stills").glob("*.jpg"))[0])
    evidence = Evidence(bundle)
    maps = evidence.maps(pixels)
    assert maps.shape == (len(bundle.labels), 14, 14)
    runtime = Runtime(bundle.onnx, name="student")
    spec = bundle.preprocessing
    logits = runtime.run(network_input(pixels, spec, takes_bytes=runtime.takes_bytes))[0]
    # int8 rounds the pooled features once more than the map does.
    close = 0.15 if bundle.precision == "int8" else 1e-3
    assert np.abs(maps.mean((1, 2)) + evidence.bias - logits).max() < close


def test_the_map_lights_up_on_the_patch(write_bundle: Callable[..., Path]) -> None:
    """Red top left, blue bottom right: each class's evidence lies on its own patch."""
    pixels = np.full((96, 96, 3), 127, np.uint8)
    pixels[8:40, 8:40] = (250, 0, 0)
    pixels[56:88, 56:88] = (0, 0, 250)
    red, _, blue = Evidence(load_bundle(write_bundle())).maps(pixels)
    assert np.unravel_index(red.argmax(), red.shape) < (16, 16)
    assert min(np.unravel_index(blue.argmax(), blue.shape)) >= 16
    heat = scaled(np.stack([red, blue]))
    assert heat.min() == 0 and heat.max() == 1
    mask = np.zeros((192, 256), np.uint8)
    mask[:96, :128] = 255
    assert share_inside(red, mask, pixels, 4 / 3) > 0.95
    assert share_inside(blue, mask, pixels, 4 / 3) < 0.05
    shown = overlay(pixels, heat[0], 60, 4 / 3)
    assert shown.shape == (60, 60, 3) and shown.dtype == np.uint8


def test_a_map_without_evidence_stays_dark() -> None:
    """Nothing in favour is 0 everywhere, never scaled up to a bright nothing."""
    assert scaled(np.full((1, 4, 4), -2, np.float32)).max() == 0


def test_another_ending_is_refused_with_a_way_out() -> None:
    """A network without pooling and a linear layer: one sentence that names --run."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["pixels"], ["logits"])],
        "other",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3, 8, 8))],
    )
    with pytest.raises(EvidenceError, match="--run"):
        ending(helper.make_model(graph), "other")


def test_intervals_and_curves() -> None:
    """Against cases that can be counted by hand."""
    table = np.diag([40, 40, 20])
    assert bootstrap_f1(table).macro == (1.0, 1.0)
    table[0, 1], table[0, 0] = 10, 30
    found = bootstrap_f1(table)
    assert found == bootstrap_f1(table)
    assert found.per_class[0][0] < 2 * 30 / (40 + 30) < found.per_class[0][1]
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]], np.float32)
    truth = np.array([0, 0, 1, 1])
    coverage, risk = risk_coverage(probs, truth)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert mean_risk(coverage, risk) == pytest.approx((1 / 3 + 1 / 4) / 4)
    bins = reliability(probs, truth)
    error = sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / 4
    assert error == pytest.approx(calibration_error(probs, truth), abs=1e-6)


def test_confident_learning_flags_the_sure_ones_only() -> None:
    """Another class must be as likely as it is on its own pictures."""
    probs = np.array([[0.95, 0.05], [0.9, 0.1], [0.97, 0.03], [0.6, 0.4], [0.1, 0.9]], np.float32)
    assert suspects(probs, np.array([0, 0, 1, 1, 1])).tolist() == [False, False, True, False, False]


def test_temperature_is_taken_out_again(
    wish: report.Wish, write_bundle: Callable[..., Path]
) -> None:
    """`uncalibrated` is the softmax of the raw logits, though only probabilities are kept."""
    bundle = load_bundle(write_bundle(temperature=2.5))
    scored = score(bundle, wish.photos)
    runtime = Runtime(bundle.onnx, name="tiny")
    raw = [
        softmax(runtime.run(prepare(read_picture(path), bundle.preprocessing))[0])
        for path in wish.photos.paths
    ]
    assert np.allclose(scored.uncalibrated, np.stack(raw), atol=1e-5)


def tiny_run(folder: Path) -> Path:
    """A run of an untrained tiny network, as `distill` leaves it."""
    import torch

    from trainer import checkpoint
    from trainer.recipe import parse_recipe

    torch.manual_seed(3)
    recipe = parse_recipe(TINY_RECIPE, where="tiny")
    net = checkpoint.network(recipe, 3)
    folder.mkdir()
    content = {"recipe": recipe.to_toml(), "classes": ["blue", "green", "red"], "epoch": 1}
    checkpoint.save(folder / "best.pt", {**content, "data_sha256": "0", "state": net.state_dict()})
    return folder


@pytest.mark.trainer
def test_grad_cam_is_the_positive_part_of_cam(tmp_path: Path) -> None:
    """For pooling and one linear layer both maps are the same up to a factor."""
    torch = pytest.importorskip("torch")
    from trainer.checkpoint import load_trained
    from trainer.gradcam import grad_cam

    net = load_trained(tiny_run(tmp_path / "run") / "best.pt").net
    batch = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        features = net.head(net.blocks(net.stem(torch.from_numpy(batch))))[0]
        cam = torch.einsum("nk,khw->nhw", net.classifier[3].weight, features).clamp_min(0)
    found = grad_cam(net, batch, [0, 2])
    places = features.shape[1] * features.shape[2]
    assert places > 1
    assert np.allclose(found, cam[[0, 2]].numpy() / places, atol=1e-6)


@pytest.mark.trainer
def test_a_run_and_a_teacher_are_asked_in_the_bundles_order(
    wish: report.Wish, tmp_path: Path
) -> None:
    """The checkpoint's classes are in another order than the bundle's; maps and hits follow."""
    pytest.importorskip("torch")
    run, teacher = tiny_run(tmp_path / "run"), tiny_run(tmp_path / "teacher")
    wish = report.Wish(wish.bundle, wish.photos, wish.out, (run,), teacher)
    material = report.gather(wish, quiet)
    judged = material.judged["run"]
    assert np.allclose(judged.probs.sum(1), 1, atol=1e-5)
    assert material.teacher is not None
    assert np.array_equal(judged.probs, material.teacher.probs)
    captions = [picture.caption for picture in material.mistakes[0].pictures]
    assert captions[:3] == ["picture", "student: red", "student: blue"]
    assert captions[3].startswith("teacher: ")
    assert "Grad-CAM of run" in material.map_words


@pytest.mark.trainer
def test_a_run_of_other_classes_is_refused(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    """A sentence with both lists of labels."""
    pytest.importorskip("torch")
    from trainer.report_runs import TorchNet

    with pytest.raises(UsageError, match="compares networks of the same classes"):
        TorchNet("run", tiny_run(tmp_path / "run"), ("red", "green", "violet"))


def test_the_command_prints_json_alone(
    wish: report.Wish, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures on standard output, everything else on standard error."""
    from typer.testing import CliRunner

    from trainer.cli_report import app

    arguments = ["report", "--bundle", wish.bundle, "--data", wish.photos.root, "--out", wish.out]
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n"] == 9
