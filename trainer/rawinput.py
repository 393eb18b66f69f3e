"""Moves the normalisation, and the first convolution's stride, into an exported network.

The bundle's network then takes the squeezed picture as it is, (1, S, S, 3) uint8, and the bin
spends no time on floats. In an int8 network nothing is computed for it at all: with mean 127 and
std 128 the quantized input IS the byte. The 3x3 stride-2 stem on three channels becomes a 2x2
convolution on 2x2 pixels' twelve channels (space to depth, as in Ridnik et al., TResNet, WACV
2021, but with the same weights and the same sums): onnxruntime copies 12 bytes at a time for it
instead of 3. The blocks come of two halves of the rows, split and joined again: the one
transposition that says the same takes more than twice as long. The answers do not change by a bit
as int8, by rounding as fp32.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.preprocess import Preprocessing
from trainer.bundles import INPUT

BLOCK = 2  # pixels a side that the stem's stride steps over


def take_bytes(network: bytes, spec: Preprocessing, hw_px: tuple[int, int] | None = None) -> bytes:
    """A network for (1, 3, H, W) float32 as one for (1, H, W, 3) uint8 with the same answers.

    Without `hw_px` it is the square of `spec`.
    """
    hw_px = hw_px or (spec.size_px, spec.size_px)
    model = onnx.load_from_string(network)
    graph = model.graph
    first = next(node for node in graph.node if INPUT in node.input)
    quantized = first.op_type == "QuantizeLinear" and _is_identity(graph, first, spec)
    if quantized:
        fed = first.output[0]
        graph.node.remove(first)
    else:
        fed = "normalised"
        for node in graph.node:
            node.input[:] = [fed if name == INPUT else name for name in node.input]
    depth = _space_to_depth(graph, fed)
    arranged = fed if quantized else "arranged"
    steps = _arranged(graph, hw_px, depth=depth, out=arranged)
    if not quantized:
        steps += _normalised(graph, spec, arranged, fed, copies=BLOCK * BLOCK if depth else 1)
    for at, node in enumerate(steps):
        graph.node.insert(at, node)
    shape = [1, *hw_px, 3]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape))
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _is_identity(graph: onnx.GraphProto, node: onnx.NodeProto, spec: Preprocessing) -> bool:
    """Whether quantizing (byte - mean) / std gives the byte back."""
    scale, zero = (_constant(graph, name) for name in node.input[1:3])
    same = np.allclose([scale * std for std in spec.std], 1, atol=1e-6)
    return bool(same and zero.dtype == np.uint8 and all(zero == mean for mean in spec.mean))


def _space_to_depth(graph: onnx.GraphProto, fed: str) -> bool:
    """Rewrite the stem for 2x2 blocks where it is the one we know; false leaves it as it is."""
    stem = next(node for node in graph.node if node.op_type == "Conv")
    wanted = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "group": 1}
    found = {a.name: helper.get_attribute_value(a) for a in stem.attribute}
    if any(found.get(name, 1) != value for name, value in wanted.items()):
        return False
    makers = {name: node for node in graph.node for name in node.output}
    behind = [makers[name].input[0] if name in makers else name for name in stem.input[:2]]
    source, weights_name = behind
    if fed not in (source, stem.input[0]):
        return False
    place = next(init for init in graph.initializer if init.name == weights_name)
    weights = numpy_helper.to_array(place)  # (out, 3, 3, 3)
    place.CopyFrom(numpy_helper.from_array(_blocked(weights), weights_name))
    kept = [a for a in stem.attribute if a.name not in wanted]
    del stem.attribute[:]
    blocked = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 1, 1], "group": 1}
    stem.attribute.extend(kept + [helper.make_attribute(k, v) for k, v in blocked.items()])
    return True


def _blocked(weights: np.ndarray) -> np.ndarray:
    """Stride-2 weights (out, c, 3, 3) as (out, 4 c, 2, 2): tap 2 begins the next block."""
    out, channels = weights.shape[:2]
    blocks = np.zeros((out, BLOCK * BLOCK * channels, 2, 2), weights.dtype)
    for y in range(3):
        for x in range(3):
            at = ((y % BLOCK) * BLOCK + x % BLOCK) * channels
            blocks[:, at : at + channels, y // BLOCK, x // BLOCK] = weights[:, :, y, x]
    return blocks


def _arranged(
    graph: onnx.GraphProto, hw_px: tuple[int, int], *, depth: bool, out: str
) -> list[onnx.NodeProto]:
    """The steps from (1, H, W, 3) bytes to channels first, in blocks where the stem wants them."""
    if not depth:
        return [helper.make_node("Transpose", [INPUT], [out], perm=[0, 3, 1, 2])]
    high, wide = (side // BLOCK for side in hw_px)
    _add(graph, "pairs_of_rows", np.array([1, high, BLOCK, wide * BLOCK * 3], np.int64))
    _add(graph, "one_each", np.ones(BLOCK, np.int64))
    _add(graph, "pairs_of_pixels", np.array([1, high, wide, BLOCK * 3], np.int64))
    rows = ("upper", "lower")
    return [
        helper.make_node("Reshape", [INPUT, "pairs_of_rows"], ["in_pairs"]),
        helper.make_node("Split", ["in_pairs", "one_each"], [f"{r}_rows" for r in rows], axis=2),
        *(helper.make_node("Reshape", [f"{r}_rows", "pairs_of_pixels"], [r]) for r in rows),
        helper.make_node("Concat", rows, ["channels_last"], axis=3),
        helper.make_node("Transpose", ["channels_last"], [out], perm=[0, 3, 1, 2]),
    ]


def _normalised(
    graph: onnx.GraphProto, spec: Preprocessing, source: str, out: str, *, copies: int
) -> list[onnx.NodeProto]:
    mean, std = (np.tile(np.array(v, np.float32), copies) for v in (spec.mean, spec.std))
    _add(graph, "pixel_mean", mean.reshape(1, -1, 1, 1))
    _add(graph, "pixel_std", std.reshape(1, -1, 1, 1))
    return [
        helper.make_node("Cast", [source], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["as_float", "pixel_mean"], ["centred"]),
        helper.make_node("Div", ["centred", "pixel_std"], [out]),
    ]


def _add(graph: onnx.GraphProto, name: str, values: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))


def _constant(graph: onnx.GraphProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(init for init in graph.initializer if init.name == name))
