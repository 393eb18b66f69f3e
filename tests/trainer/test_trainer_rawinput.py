"""The network that takes bytes is the network that took floats."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch

from edge.preprocess import Preprocessing, prepare
from edge.runtime import Runtime
from trainer import export, quantize
from trainer.models import MEAN, STD, build
from trainer.rawinput import take_bytes

pytestmark = pytest.mark.trainer
SIZE_PX = 64
SPEC = Preprocessing(SIZE_PX, MEAN, STD)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, SIZE_PX, SIZE_PX, 3), np.uint8)


def exported() -> bytes:
    torch.manual_seed(0)
    return export.export(build("lite0", 4, blocks=3, head=16, weights="scratch").eval(), SIZE_PX)


def worst_difference(floats: bytes, spec: Preprocessing) -> float:
    """Largest difference of a logit over random pictures."""
    before, after = Runtime(floats, name="a"), Runtime(take_bytes(floats, spec), name="b")
    assert after.takes_bytes
    assert not before.takes_bytes
    return max(
        float(np.abs(before.run(prepare(p, spec)) - after.run(p[None])).max()) for p in pictures(5)
    )


def test_int8_answers_are_equal_to_the_bit() -> None:
    """Quantizing (byte - 127) / 128 gives the byte back, so nothing is computed otherwise."""
    examples = np.concatenate([prepare(p, SPEC) for p in pictures(16)])
    int8 = quantize.quantize_once(exported(), examples, quantize.VARIANTS[0])
    assert worst_difference(int8, SPEC) == 0


@pytest.mark.parametrize("variant", quantize.VARIANTS, ids=lambda variant: variant.name)
def test_no_way_of_calibration_puts_floats_before_the_network(variant: quantize.Variant) -> None:
    """Dull pictures: a learned range of the input would not be that of bytes, and cost a cast."""
    dull = [(64 + p // 2).astype(np.uint8) for p in pictures(16)]
    examples = np.concatenate([prepare(p, SPEC) for p in dull])
    int8 = quantize.quantize_once(exported(), examples, variant, SPEC)
    kinds = {node.op_type for node in onnx.load_from_string(take_bytes(int8, SPEC)).graph.node}
    assert not kinds & {"Cast", "Sub", "Div"}
    assert worst_difference(int8, SPEC) == 0
    assert quantize.byte_steps(Preprocessing(SIZE_PX, (123.675, 116.28, 103.53), SPEC.std)) == {}


def test_fp32_answers_are_equal_up_to_rounding() -> None:
    """The blocked stem adds the same products in another order."""
    assert worst_difference(exported(), SPEC) < 1e-4


def test_another_normalisation_goes_through_floats() -> None:
    """With ImageNet's mean and std the byte is not its own code; the answers still agree."""
    spec = Preprocessing(SIZE_PX, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    examples = np.concatenate([prepare(p, spec) for p in pictures(16)])
    assert worst_difference(exported(), spec) < 1e-4
    int8 = quantize.quantize_once(exported(), examples, quantize.VARIANTS[0])
    assert worst_difference(int8, spec) < 0.05
