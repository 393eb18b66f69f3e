"""From a network to a bundle: exported and quantized without losing its answers, read by edge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.bundle import load_bundle  # noqa: E402
from edge.classifier import Classifier  # noqa: E402
from edge.errors import SmartbinError  # noqa: E402
from edge.runtime import Runtime  # noqa: E402
from tests.trainer.runs import small_network as network  # noqa: E402
from tests.trainer.synthetic import TINY_RECIPE, write_photos  # noqa: E402
from trainer import bundles, export, quantize  # noqa: E402
from trainer.calibrate import Calibration  # noqa: E402
from trainer.checkpoint import Trained  # noqa: E402
from trainer.data import scan, split_random  # noqa: E402
from trainer.models import build  # noqa: E402
from trainer.pipeline import package, preprocessing_of, told_recipe  # noqa: E402
from trainer.recipe import parse_recipe  # noqa: E402

pytestmark = pytest.mark.trainer
SIZE_PX = 32


def inputs(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 3, SIZE_PX, SIZE_PX)).astype(np.float32)


def test_export_agrees_with_torch_and_has_no_batchnorm() -> None:
    """The ONNX gives torch's logits, with static shapes, its names, and BatchNorm folded."""
    import onnx

    net = network()
    data = export.export(net, SIZE_PX)
    model = onnx.load_from_string(data)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [value.name for value in model.graph.input] == ["pixels"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.ir_version <= 10
    batch = inputs(1)
    with torch.no_grad():
        expected = net(torch.from_numpy(batch)).numpy()
    assert np.allclose(Runtime(data, name="x").run(batch), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("/home/me/runs/first/best.pt", "first/best.pt"),
        ("runs/first/best.pt", "runs/first/best.pt"),
        ("package", "package"),
    ],
)
def test_a_card_tells_no_folder_of_the_machine_that_trained(start: str, told: str) -> None:
    """The weights that a training began with, wherever they lay there."""
    recipe = parse_recipe(f'[network]\nweights = "{start}"\n', where="here")
    assert told_recipe(recipe)["network"]["weights"] == told


def test_the_mean_over_places_is_exported_as_the_pooling_that_it_is() -> None:
    """onnxruntime computes that one in int8, and a ReduceMean in float, six times as long."""
    import onnx

    model = onnx.load_from_string(export.export(network(), SIZE_PX))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("GlobalAveragePool") == 1 and "ReduceMean" not in kinds


def test_export_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose ONNX gives other logits is never written."""
    monkeypatch.setattr(export, "_trace", lambda net, size: other)
    other = export_of(network(seed=1))
    with pytest.raises(SmartbinError, match="onnxruntime and torch differ"):
        export.export(network(seed=0), SIZE_PX)


def export_of(net: torch.nn.Module) -> bytes:
    from torch.onnx import export as onnx_export

    example = (torch.zeros(1, 3, SIZE_PX, SIZE_PX),)
    program = onnx_export(net, example, dynamo=True, verbose=False)
    model = program.model_proto
    model.ir_version = 9
    return bytes(model.SerializeToString())


def test_int8_agrees_with_fp32() -> None:
    """Static int8 keeps the label on nearly all inputs, in about a third of the bytes."""
    fp32 = export.export(network(), SIZE_PX)
    truth = np.zeros(64, np.int64)
    said: list[str] = []
    made = quantize.quantize(
        fp32,
        inputs(32),
        inputs(64, seed=1),
        truth,
        least_agreement=0.8,
        variants=quantize.VARIANTS[:2],
        say=said.append,
    )
    assert made.chosen.agreement >= 0.8
    assert made.chosen.rank == max(tried.rank for tried in made.tried)
    assert len(said) == 2
    assert b"QuantizeLinear" in made.onnx


def test_int8_that_disagrees_is_refused() -> None:
    """Under the stated share of equal labels nothing is written, and the share is told."""
    bad = quantize.Tried("minmax-u8", 0.5, 0.9, 0.1, 1)
    with pytest.raises(SmartbinError, match=r"on 90\.0% of .*least_agreement is 95\.0%"):
        quantize.refuse_disagreement(bad, 0.95)


def test_calibration_pictures_are_chosen_by_class() -> None:
    """As many of each class as there are; a rare class gives all it has."""
    targets = np.array([0] * 50 + [1] * 50 + [2] * 3)
    rows = quantize.calibration_rows(targets, 23, seed=0)
    assert np.bincount(targets[rows]).tolist() == [10, 10, 3]
    assert len(set(rows)) == 23


def test_a_bundle_is_read_back_by_edge(tmp_path: Path) -> None:
    """What the trainer writes, the edge loads; the next one there has a higher version."""
    calibration = Calibration(1.5, (0.5, 0.6, 0.7), 0.1, 0.1, 0.02, 0.9, 0.98)
    spec = preprocessing_of(parse_recipe(TINY_RECIPE, where="tiny"))
    labels = ("a", "b", "c")
    onnx = export.export(network(), SIZE_PX)
    model = bundles.Model(onnx, "fp32", labels, spec, calibration, [], {"recipe": {}})
    path = tmp_path / "models" / "s.fp32.onnx"
    bundle = bundles.write_bundle(path, model)
    assert (bundle.version, bundle.labels, bundle.thresholds) == (1, labels, (0.5, 0.6, 0.7))
    assert bundle.preprocessing == spec
    assert bundles.write_bundle(path, model).version == 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.fp32.json", "s.fp32.onnx"]
    assert Classifier(load_bundle(path)).labels == labels


def test_a_full_disk_leaves_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails half-way the bundle that was there still loads."""
    calibration = Calibration(1.5, (0.5, 0.6, 0.7), 0.1, 0.1, 0.02, 0.9, 0.98)
    spec = preprocessing_of(parse_recipe(TINY_RECIPE, where="tiny"))
    onnx = export.export(network(), SIZE_PX)
    model = bundles.Model(onnx, "fp32", ("a", "b", "c"), spec, calibration, [], {})
    path = tmp_path / "s.fp32.onnx"
    bundles.write_bundle(path, model)

    def full(target: Path, data: bytes) -> Path:
        if target.suffix == ".json":
            raise OSError(28, "No space left on device")
        return write(target, data)

    write = bundles._write_beside
    monkeypatch.setattr(bundles, "_write_beside", full)
    with pytest.raises(SmartbinError, match="No space left"):
        bundles.write_bundle(path, model)
    assert load_bundle(path).version == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.fp32.json", "s.fp32.onnx"]


def test_package_writes_both_bundles_with_full_cards(tmp_path: Path) -> None:
    """fp32 and int8 share a version; metrics name data, split, n and their interval."""
    photos = scan(write_photos(tmp_path, per_class=8))
    train, val = split_random(photos, 0.5, 0)
    source = bundles.Source("made up", "ours", train, val, None, None)
    recipe = parse_recipe(TINY_RECIPE, where="tiny")
    net = build("lite0", 3, blocks=2, head=16, weights="scratch").eval()
    trained = Trained(net, recipe, photos.classes, 1, train.sha256())
    figures = package(trained, source, tmp_path / "masks", tmp_path / "out", "s", lambda text: None)
    for precision in ("fp32", "int8"):
        bundle = load_bundle(tmp_path / "out" / f"s.{precision}.onnx")
        card = bundle.card
        assert (bundle.version, bundle.precision) == (1, precision)
        assert card["metrics"][0]["value"] == pytest.approx(
            figures[precision]["accuracy"], abs=1e-4
        )
        assert {"metric", "data", "split", "n", "wilson_95"} <= set(card["metrics"][0])
        assert card["data"]["licence"] == "ours"
        assert sum(card["reference"]["confidences"]) == card["reference"]["n"] == len(val)
        assert card["parameters"] == bundles.parameters(bundle.onnx) > 1000
        assert str(tmp_path) not in json.dumps(card)


def test_the_same_weights_are_packed_for_a_smaller_picture(tmp_path: Path) -> None:
    """Everything of the bundle is of that side, and the card says what it was trained with."""
    train, val = split_random(scan(write_photos(tmp_path, per_class=8)), 0.5, 0)
    source = bundles.Source("made up", "ours", train, val, None, None)
    recipe = parse_recipe(TINY_RECIPE.replace("size_px = 32", "size_px = 64", 1), where="tiny")
    net = build("lite0", 3, blocks=2, head=16, weights="scratch").eval()
    trained = Trained(net, recipe, train.classes, 1, train.sha256())
    own_px = recipe.network.size_px
    assert trained.at(None) is trained and trained.at(own_px) is trained
    smaller = trained.at(own_px - 16)
    package(smaller, source, None, tmp_path / "out", "s", lambda text: None)
    bundle = load_bundle(tmp_path / "out" / "s.int8.onnx")
    assert bundle.preprocessing.size_px == own_px - 16
    picture = np.zeros((1, own_px - 16, own_px - 16, 3), np.uint8)
    assert Runtime(bundle.onnx, name="s").run(picture).shape == (1, 3)
    assert json.loads((tmp_path / "out/s.int8.json").read_text())["trained_size_px"] == own_px


def test_all_quick_goes_from_a_folder_to_a_bundle(tmp_path: Path) -> None:
    """One command, no network, JSON alone on standard output, a bundle that edge opens."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE)
    command = [sys.executable, "-m", "trainer.cli", "all", "--preset", "quick", "--json"]
    command += ["--data", str(write_photos(tmp_path, per_class=10)), "--recipe", str(recipe)]
    command += ["--masks", str(tmp_path / "masks"), "--run", str(tmp_path / "run")]
    command += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env={**os.environ, "COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    bundle = load_bundle(tmp_path / "out" / "student.int8.onnx")
    assert figures["int8"]["bytes"] == len(bundle.onnx)
    assert (tmp_path / "run" / "recipe.toml").exists()
    assert Classifier(bundle).labels == ("blue", "green", "red")
