"""The table of what int8 costs each operator: whole, finite, and right about who is to blame."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from edge.errors import SmartbinError, UsageError  # noqa: E402
from tests.trainer.runs import small_network  # noqa: E402
from tests.trainer.synthetic import TINY_RECIPE, write_photos  # noqa: E402
from trainer import bundles, cli, export, operators, quantize  # noqa: E402
from trainer.checkpoint import Trained  # noqa: E402
from trainer.data import scan, split_random  # noqa: E402
from trainer.models import build  # noqa: E402
from trainer.pipeline import package  # noqa: E402
from trainer.recipe import parse_recipe  # noqa: E402

pytestmark = pytest.mark.trainer
SIZE_PX = 32
SPOILED = "blocks.1.body.0.0"


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """A float network and its int8 form, both for (1, 3, 32, 32) float32."""
    fp32 = export.export(small_network(batches=5), SIZE_PX)
    return fp32, quantize.quantize_once(fp32, pictures(32), quantize.VARIANTS[0])


def pictures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 3, SIZE_PX, SIZE_PX)).astype(np.float32)


def measured(fp32: bytes, int8: bytes) -> list[operators.Operator]:
    return operators.measure(fp32, int8, list(pictures(4, seed=1)[:, None]))


def spoiled(int8: bytes, times: float) -> bytes:
    """The output of one convolution rounded in steps `times` as coarse."""
    model = onnx.load_from_string(int8)
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        maker = makers.get(node.input[0])
        weights = [] if maker is None else list(maker.input)
        if node.op_type == "QuantizeLinear" and any(w.startswith(SPOILED) for w in weights):
            scale = next(i for i in model.graph.initializer if i.name == node.input[1])
            coarse = numpy_helper.to_array(scale) * np.float32(times)
            scale.CopyFrom(numpy_helper.from_array(coarse, scale.name))
            return bytes(model.SerializeToString())
    raise AssertionError(f"no convolution {SPOILED}")


def test_one_row_for_each_convolution(pair: tuple[bytes, bytes]) -> None:
    """Every convolution, sum, mean and the last layer has one row, all numbers are finite."""
    rows = measured(*pair)
    nodes = [node.op_type for node in onnx.load_from_string(pair[0]).graph.node]
    kinds = [row.kind.partition("+")[0] for row in rows]
    for kind in ("Conv", "Add", "Gemm"):
        assert kinds.count(kind) == nodes.count(kind) > 0
    assert len({row.name for row in rows}) == len(rows)
    assert [row.own_db for row in rows] == sorted(row.own_db for row in rows)
    for row in rows:
        ratios = (row.own_db, row.accumulated_db, row.rounding_db, row.weight_db or 0.0)
        assert all(map(math.isfinite, ratios))
        assert (row.weight_db is not None) == row.kind.startswith(("Conv", "Gemm"))


def test_shapes_and_ratios_are_those_of_the_tensors(pair: tuple[bytes, bytes]) -> None:
    """The last layer's accumulated ratio is that of the two networks' logits."""
    last = next(row for row in measured(*pair) if row.kind == "Gemm")
    assert last.shape == "1x3"
    inputs = pictures(4, seed=1)
    expected, found = (quantize.logits_of(network, inputs) for network in pair)
    ratio = 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum())
    assert last.accumulated_db == pytest.approx(ratio, abs=0.2)  # kernels round a half either way


def test_a_spoiled_scale_comes_first_and_alone(pair: tuple[bytes, bytes]) -> None:
    """Its own ratio falls by the coarser steps; others keep theirs, those behind it inherit."""
    before = {row.name: row for row in measured(*pair)}
    rows = measured(pair[0], spoiled(pair[1], 16))
    after = {row.name: row for row in rows}
    assert rows[0].name == SPOILED
    assert after[SPOILED].own_db < before[SPOILED].own_db - 6
    assert after[SPOILED].rounding_db < before[SPOILED].rounding_db - 12
    for name, row in before.items():
        if name != SPOILED:
            assert after[name].own_db == pytest.approx(row.own_db, abs=1e-6)
    assert after["stem.0.1"].accumulated_db == pytest.approx(before["stem.0.1"].accumulated_db)
    assert after["blocks.1.body.2.1"].accumulated_db < before["blocks.1.body.2.1"].accumulated_db


def test_a_channel_that_is_switched_off_is_no_worst_channel() -> None:
    """Weights of 1e-9 are all rounded to 0, and nobody sees it: their channel is passed over."""
    wanted = np.ones((3, 1, 2, 2), np.float32)
    wanted[1] = 1e-9
    got = wanted.copy()
    got[1], got[2] = 0, 0.99
    db, channel = operators._worst_channel(wanted, got)
    assert (channel, db) == (2, pytest.approx(40.0, abs=1e-3))


def test_powers_without_noise_have_a_number_too() -> None:
    """A perfect copy has LIMIT_DB, an error where there is no signal its negative."""
    assert operators.ratio_db(2.0, 0.0) == operators.LIMIT_DB
    assert operators.ratio_db(0.0, 1.0) == -operators.LIMIT_DB
    assert operators.ratio_db(100.0, 1.0) == 20.0


def test_networks_of_two_kinds_are_refused(pair: tuple[bytes, bytes]) -> None:
    """A network that is not quantized has nothing to list, and the sentence says what to do."""
    with pytest.raises(SmartbinError, match=r"no rounded tensor .* one `smartbin-train quantize`"):
        measured(pair[0], pair[0])


@dataclass(frozen=True)
class Packed:
    """What a `quantize` left: folders of pictures and bundles, its figures, what it said."""

    root: Path
    out: Path
    trained: Trained
    source: bundles.Source
    figures: dict[str, Any]
    said: list[str]

    def operators(self, *more: object) -> Any:
        """`smartbin-train operators` on the bundle."""
        bundle = self.out / "s.int8.onnx"
        given = ["--bundle", bundle, "--data", self.root / "images", "--names", self.root / "v.txt"]
        return CliRunner().invoke(cli.app, ["operators", *map(str, [*given, *more])])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    root = tmp_path_factory.mktemp("packed")
    photos = scan(write_photos(root, per_class=8))
    train, val = split_random(photos, 0.5, 0)
    (root / "v.txt").write_text("".join(f"{path.name}\n" for path in val.paths))
    source = bundles.Source("made up", "ours", train, val, None, None)
    recipe = parse_recipe(TINY_RECIPE, where="tiny")
    net = build("lite0", 3, blocks=2, head=16, weights="scratch").eval()
    said: list[str] = []
    trained = Trained(net, recipe, photos.classes, 1, train.sha256())
    figures = package(trained, source, None, root / "out", "s", said.append)
    return Packed(root, root / "out", trained, source, figures, said)


def test_quantize_writes_the_table(packed: Packed) -> None:
    """The CSV stands whole beside the bundles, and its first rows are said."""
    table = packed.out / "s.int8.operators.csv"
    assert packed.figures["operators"] == str(table)
    first = next(csv.DictReader(table.open()))
    assert any(f"{first['name']} ({first['kind']}" in text for text in packed.said)
    assert not list(packed.out.glob("*.partial"))


def test_a_table_that_fails_costs_no_bundle(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both bundles stand, one sentence says why there is no table, and an older one is not left."""

    def fails(*given: object) -> None:
        raise RuntimeError("tensors of one name\nand a trace")

    monkeypatch.setattr(operators, "measure", fails)
    said: list[str] = []
    stale = tmp_path / "s.int8.operators.csv"
    stale.write_text("of another network")
    figures = package(packed.trained, packed.source, None, tmp_path, "s", said.append)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"s.{precision}.{end}" for precision in ("fp32", "int8") for end in ("onnx", "json")
    }
    assert said[-1].endswith("for this network (RuntimeError: tensors of one name)")
    assert "operator" not in cli._figures_text(figures, tmp_path, "s")


def test_a_bundle_gives_the_table_again(packed: Packed, tmp_path: Path) -> None:
    """`operators` finds on the bundles, whose networks take bytes, what `quantize` found."""
    done = packed.operators("--out", tmp_path / "again.csv", "--json")
    assert done.exit_code == 0, done.output
    wanted = list(csv.DictReader((packed.out / "s.int8.operators.csv").open()))
    again = {row["name"]: row for row in csv.DictReader((tmp_path / "again.csv").open())}
    told = {row["name"] for row in json.loads(done.stdout)}
    assert told == set(again) == {row["name"] for row in wanted}
    for row in wanted:
        for key in ("own_db", "accumulated_db", "rounding_db"):
            assert float(again[row["name"]][key]) == pytest.approx(float(row[key]), abs=0.3)


def test_a_bundle_of_another_training_is_refused(packed: Packed, tmp_path: Path) -> None:
    """Weights that differ by more than rounding are another network's; so says the command."""
    other = tmp_path / "other.fp32.onnx"
    shutil.copy(packed.out / "s.fp32.onnx", other)
    shutil.copy(packed.out / "s.fp32.json", other.with_suffix(".json"))
    model = onnx.load(other)
    for init in model.graph.initializer:
        if init.name.endswith(".weight"):
            turned = -numpy_helper.to_array(init)
            init.CopyFrom(numpy_helper.from_array(turned, init.name))
    bundles.amend(other, {}, model.SerializeToString())
    done = packed.operators("--fp32", other)
    assert isinstance(done.exception, UsageError)
    assert "s.int8: is no int8 form of other.fp32" in str(done.exception)


def test_a_bundle_of_another_name_wants_its_fp32_named(tmp_path: Path) -> None:
    """Without NAME.int8.onnx there is no telling where the fp32 form is."""
    command = ["operators", "--bundle", str(tmp_path / "net.onnx"), "--data", str(tmp_path)]
    done = CliRunner().invoke(cli.app, command)
    assert isinstance(done.exception, UsageError)
    assert "is not named NAME.int8.onnx; name --fp32 as well" in str(done.exception)
