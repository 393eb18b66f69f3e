"""How far from this core's own limits the network runs: products over its int8 rate, bytes over
its memory's.

Both rates are measured, with the same onnxruntime: the best that a large int8 product reaches, and
a plain copy. The floor counts every multiply-accumulate at that best rate, which no layer with few
channels can reach: the table beside it says where the time goes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import load_bundle
from edge.pictures import read_picture
from edge.preprocess import network_input
from edge.shipped import samples, shipped

SIDE = 1024  # of the product that the int8 rate is measured with
COPY_MB = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates of one core, and the network's distance from them."""

    macs: int  # multiply-accumulates of one picture
    weight_bytes: int
    activation_bytes: int  # written and read once, as int8
    int8_gmacs: float  # 10^9 multiply-accumulates a second
    copy_gbs: float  # 10^9 bytes a second
    p50_ms: float  # the network alone
    by_kind: dict[str, tuple[float, float]]  # milliseconds and 10^6 MACs, by kind of layer

    @property
    def arithmetic_ms(self) -> float:
        return self.macs / self.int8_gmacs / 1e6

    @property
    def memory_ms(self) -> float:
        return (self.weight_bytes + self.activation_bytes) / self.copy_gbs / 1e6

    @property
    def floor_ms(self) -> float:
        """Both at once, as a core does them."""
        return max(self.arithmetic_ms, self.memory_ms)


def limits(rounds: int = 300) -> Limits:
    """Measure this core, one thread, and the shipped int8 student on it."""
    bundle = load_bundle(shipped("models/student.int8.onnx"))
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(bundle.onnx))
    macs, weights, activations = count(model)
    spent, kinds = profile(bundle.onnx, rounds)
    by_kind = {
        kind: (ms, macs_of) for kind, (ms, macs_of) in _joined(kinds, kinds_of(model)).items()
    }
    return Limits(
        macs=macs,
        weight_bytes=weights,
        activation_bytes=activations,
        int8_gmacs=int8_rate(),
        copy_gbs=copy_rate(),
        p50_ms=spent,
        by_kind=by_kind,
    )


def count(model: onnx.ModelProto) -> tuple[int, int, int]:
    """Multiply-accumulates, bytes of the weights, and bytes of all activations as int8."""
    macs = sum(macs_of for _, macs_of in kinds_of(model).values())
    weights = sum(len(init.raw_data) for init in model.graph.initializer)
    shapes = _shapes(model)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "Add")]
    return macs, weights, sum(2 * int(np.prod(shapes[n.output[0]])) for n in layers)


def kinds_of(model: onnx.ModelProto) -> dict[str, tuple[str, int]]:
    """Of each convolution and product: its kind, and its multiply-accumulates."""
    shapes, found = _shapes(model), {}
    weights = {init.name: list(init.dims) for init in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    for node in model.graph.node:
        if node.op_type == "Conv":
            kernel = weights[node.input[1]]  # out, in a group, h, w
            places = int(np.prod(shapes[node.output[0]][2:]))
            kind = "depthwise" if kernel[1] == 1 else "1x1" if kernel[2] == 1 else "stem"
            found[node.name] = kind, int(np.prod(kernel)) * places
        elif node.op_type == "Gemm":
            found[node.name] = "last", int(np.prod(weights[node.input[1]]))
    return found


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    values = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def profile(network: bytes, rounds: int) -> tuple[float, dict[str, float]]:
    """Median milliseconds of a run, and milliseconds of each node by onnxruntime's own profile."""
    bundle = load_bundle(shipped("models/student.int8.onnx"))
    pixels = read_picture(samples() / "stills" / "can_wood.jpg")
    batch = network_input(pixels, bundle.preprocessing, takes_bytes=True)
    plain = _session(network)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        plain.run(None, {"pixels": batch})
        times.append((time.perf_counter() - began) * 1000)
    with tempfile.TemporaryDirectory() as folder:
        session = _session(network, f"{folder}/profile")
        for _ in range(50):
            session.run(None, {"pixels": batch})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["name"].removesuffix("_kernel_time")] += event["dur"] / 50 / 1000
    return float(np.median(times[rounds // 10 :])), dict(nodes)


def _joined(
    nodes: dict[str, float], kinds: dict[str, tuple[str, int]]
) -> dict[str, tuple[float, float]]:
    """Milliseconds and 10^6 MACs by kind; what is no layer is "other"."""
    table: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for kind, macs in kinds.values():
        table[kind][1] += macs / 1e6
    for name, ms in nodes.items():
        layer = name.split("_token_")[0]  # what onnxruntime adds to a fused node's name
        table[kinds[layer][0] if layer in kinds else "other"][0] += ms
    return {kind: (row[0], row[1]) for kind, row in table.items()}


def _session(network: bytes, profile_to: str = "") -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile_to:
        options.enable_profiling = True
        options.profile_file_prefix = profile_to
    return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def int8_rate(trials: int = 12) -> float:
    """10^9 multiply-accumulates a second of a large uint8 by int8 product, best of some trials."""
    weights = np.random.default_rng(0).integers(-127, 127, (SIDE, SIDE), np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "rate",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [SIDE, SIDE])],
        [numpy_helper.from_array(weights, "b")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = _session(model.SerializeToString())
    batch = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE), np.uint8)
    best = min(_seconds(lambda: session.run(None, {"a": batch})) for _ in range(trials))
    return SIDE**3 / best / 1e9


def copy_rate(trials: int = 12) -> float:
    """10^9 bytes a second read and written by a plain copy, best of some trials."""
    source = np.ones(COPY_MB * 1_000_000, np.uint8)
    target = np.empty_like(source)
    best = min(_seconds(lambda: np.copyto(target, source)) for _ in range(trials))
    return 2 * COPY_MB * 1e6 / best / 1e9


def _seconds(step: object) -> float:
    began = time.perf_counter()
    step()  # type: ignore[operator]
    return time.perf_counter() - began
