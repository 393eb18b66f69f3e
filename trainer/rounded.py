"""Where an int8 network rounds, and the same network taken apart there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper


@dataclass(frozen=True, slots=True)
class Point:
    """A tensor of the float network that the int8 network rounds, and what makes it there."""

    tensor: str
    before: str  # in the int8 network, unrounded
    after: str  # rounded, as float32
    scale: str
    zero: str
    nodes: tuple[onnx.NodeProto, ...]  # from the rounded tensors before it to `before`

    @property
    def given(self) -> str:
        """In the network taken apart: the float network's tensor, which is fed."""
        return f"given:{self.tensor}"

    @property
    def given_rounded(self) -> str:
        """In the network taken apart: the same, rounded."""
        return f"rounded:{self.tensor}"


def points_of(known: onnx.GraphProto, quantized: onnx.GraphProto) -> list[Point]:
    """The rounded tensors of the int8 graph that the float graph computes too, in its order.

    The rounding of the picture itself is left out: it is no operator's.
    """
    fed = {value.name for value in quantized.input}
    there = {name for node in known.node for name in node.output}
    makers = {name: node for node in quantized.node for name in node.output}
    back: dict[str, onnx.NodeProto] = {}
    for node in quantized.node:
        if node.op_type == "DequantizeLinear":
            back.setdefault(node.input[0], node)
    points = []
    for node in quantized.node:
        if node.op_type != "QuantizeLinear" or node.output[0] not in back:
            continue
        before, after = str(node.input[0]), str(back[node.output[0]].output[0])
        # The network's output keeps its name behind the rounding, all others before it.
        tensor = before if before in there else after
        chain = tuple(_chain(makers, before, set()))
        if tensor in there and not any(fed & set(one.input) for one in chain):
            points.append(Point(tensor, before, after, node.input[1], node.input[2], chain))
    return points


def _chain(
    makers: dict[str, onnx.NodeProto], tensor: str, seen: set[str]
) -> Iterator[onnx.NodeProto]:
    """The nodes between the rounded tensors and this one, in the order they run, each once."""
    node = makers.get(tensor)
    if node is None or node.op_type == "DequantizeLinear" or tensor in seen:
        return
    seen.update(node.output)
    for name in node.input:
        yield from _chain(makers, name, seen)
    yield node


def taken_apart(quantized: onnx.ModelProto, points: Sequence[Point]) -> onnx.ModelProto:
    """The int8 network whose operators read the float network's tensors, not one another's.

    Inputs are the network's own and every point's `given`; outputs every point's `after`, what
    its operator makes of them with int8 weights, rounded, and `given_rounded`.
    """
    apart = onnx.ModelProto()
    apart.CopyFrom(quantized)
    del apart.graph.output[:]
    feeds = {point.after: point.given for point in points}
    for node in apart.graph.node:
        node.input[:] = [feeds.get(name, name) for name in node.input]
    for point in points:
        scaled, whole = [point.scale, point.zero], f"{point.given_rounded}:int8"
        apart.graph.node.extend(
            [
                helper.make_node("QuantizeLinear", [point.given, *scaled], [whole]),
                helper.make_node("DequantizeLinear", [whole, *scaled], [point.given_rounded]),
            ]
        )
        apart.graph.input.append(float_value(point.given))
        apart.graph.output.extend([float_value(point.after), float_value(point.given_rounded)])
    return apart


def told(model: onnx.ModelProto, wanted: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are these float32 tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(float_value(name) for name in wanted)
    return copy


def float_value(name: str) -> onnx.ValueInfoProto:
    """A float32 tensor of any shape."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
