"""What is handed to a Jetson is within TensorRT's published limits, and answers as before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from edge.errors import MissingExtraError, SmartbinError, UsageError  # noqa: E402
from edge.preprocess import Preprocessing  # noqa: E402
from edge.runtime import Runtime  # noqa: E402
from tests.harness import ROOT  # noqa: E402
from tests.trainer.synthetic import write_photos  # noqa: E402
from trainer import quantize, tensorrt  # noqa: E402
from trainer.cli import app  # noqa: E402
from trainer.export import export  # noqa: E402
from trainer.models import MEAN, STD, build  # noqa: E402
from trainer.rawinput import take_bytes  # noqa: E402

pytestmark = pytest.mark.trainer
SPEC = Preprocessing(32, MEAN, STD)


@pytest.fixture(scope="module")
def plain() -> bytes:
    """Two blocks of Lite0, from nothing: (1, 3, 32, 32) float32 to three logits."""
    torch.manual_seed(0)
    return export(build("lite0", 3, blocks=2, head=16, weights="scratch").eval(), 32)


@pytest.fixture(scope="module")
def bytewise(plain: bytes) -> bytes:
    return take_bytes(plain, SPEC)


def pictures(count: int) -> list[np.ndarray]:
    dice = np.random.default_rng(3)
    return [dice.integers(0, 256, (1, 32, 32, 3)).astype(np.float32) for _ in range(count)]


def test_a_floating_input_changes_no_answer(bytewise: bytes) -> None:
    """The same numbers as float32 instead of bytes give the same logits."""
    before, after = Runtime(bytewise, name="bytes"), Runtime(tensorrt.floating(bytewise), name="f")
    for view in pictures(4):
        assert np.allclose(before.run(view.astype(np.uint8)), after.run(view), atol=1e-5)
    assert tensorrt.check(tensorrt.floating(bytewise)).faults == ()


def test_symmetric_int8_is_within_the_limits(bytewise: bytes) -> None:
    """Signed, zero points 0, biases in float; close to the network it was made from."""
    floating = tensorrt.floating(bytewise)
    made = tensorrt.symmetric(floating, pictures(32))
    assert tensorrt.check(made).faults == ()
    assert "QuantizeLinear" in tensorrt.check(made).operators
    before, after = Runtime(floating, name="fp32"), Runtime(made, name="int8")
    wanted = np.concatenate([before.run(view) for view in pictures(16)])
    found = np.concatenate([after.run(view) for view in pictures(16)])
    assert np.abs(wanted - found).max() < 0.25 * np.abs(wanted).max()


def test_our_int8_bundles_are_onnxruntimes(plain: bytes) -> None:
    """Unsigned activations and zero points, which pay there, are what TensorRT refuses."""
    inputs = np.random.default_rng(0).standard_normal((16, 3, 32, 32)).astype(np.float32)
    faults = tensorrt.check(quantize.quantize_once(plain, inputs, quantize.VARIANTS[0])).faults
    assert any("uint8 values" in fault for fault in faults)


def model_of(node: onnx.NodeProto, *, shape: list[int | str], opset: int = 18) -> bytes:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", opset)]
    return bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())


@pytest.mark.parametrize(
    ("operator", "shape", "opset", "fault"),
    [
        ("Hardmax", [1, 4], 18, "operator Hardmax is not in TensorRT's list"),
        ("Relu", ["batch", 4], 18, "tensor x has a free dimension"),
        ("Relu", [1, 4], 21, "opset 21: TensorRT 10.3 reads 9 to 20"),
    ],
)
def test_what_tensorrt_would_refuse_is_named(
    operator: str, shape: list[int | str], opset: int, fault: str
) -> None:
    """An operator it has not, a free dimension, an opset that is too new: each by its name."""
    node = helper.make_node(operator, ["x"], ["y"])
    found = tensorrt.check(model_of(node, shape=shape, opset=opset))
    assert any(fault in told for told in found.faults)
    with pytest.raises(SmartbinError, match=r"s\.onnx: TensorRT 10\.3 would refuse it"):
        tensorrt.refuse(found, "s.onnx")


def test_the_command_names_file_and_engine() -> None:
    """What is typed on the device; an unknown precision is bad usage."""
    line = tensorrt.command(Path("out dir/student.int8.onnx"), "int8")
    assert line.startswith("/usr/src/tensorrt/bin/trtexec ")
    assert "'--saveEngine=out dir/student.int8.engine' --int8 --fp16" in line
    with pytest.raises(UsageError, match="fp16, int8"):
        tensorrt.command(Path("s.onnx"), "int4")


def run(*arguments: str) -> object:
    return CliRunner().invoke(app, ["tensorrt", *arguments])


def test_the_shipped_student_passes_the_dry_check(tmp_path: Path) -> None:
    """Both precisions are written, checked, and their command is printed."""
    bundle = ["--bundle", str(ROOT / "models" / "student.fp32.onnx"), "--out", str(tmp_path)]
    told = json.loads(run(*bundle, "--dry", "--json").stdout)
    assert told["command"].endswith("student.fp16.engine --fp16")
    assert tensorrt.check((tmp_path / "student.fp16.onnx").read_bytes()).faults == ()
    data = ["--precision", "int8", "--data", str(write_photos(tmp_path, per_class=6))]
    told = json.loads(run(*bundle, *data, "--pictures", "16", "--dry", "--json").stdout)
    assert told["labels_as_fp32"] > 0.8
    assert "QuantizeLinear" in told["operators"]


def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int8 bundle, int8 without pictures, and a machine without trtexec."""
    models = ROOT / "models"
    with pytest.raises(UsageError, match="name the fp32 bundle beside it"):
        raise run("--bundle", str(models / "student.int8.onnx"), "--dry").exception
    fp32 = ["--bundle", str(models / "student.fp32.onnx"), "--out", str(tmp_path)]
    with pytest.raises(UsageError, match="pictures to calibrate with"):
        raise run(*fp32, "--precision", "int8").exception
    monkeypatch.setattr(tensorrt, "TRTEXEC", "/nowhere/trtexec")
    with pytest.raises(MissingExtraError, match=r"/nowhere/trtexec: is not here; run this on the"):
        raise run(*fp32).exception
