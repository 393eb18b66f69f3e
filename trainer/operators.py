"""What int8 costs each operator: signal to quantization noise, int8 network against fp32's.

The ratio is that of Lin, Talathi and Annapureddy (Fixed Point Quantization of Deep Convolutional
Networks, ICML 2016): 10 log10 of the mean square of a tensor over that of its error, in dB; 6 dB
are one bit. Each operator is measured three times over, on the same pictures:

- own: fed with fp32's activations, so that what is lost is lost here, by the rounding of its
  weights and of its output;
- accumulated: its output in the int8 network, which has all errors before it as well;
- rounding: fp32's output put through the output's own scale and zero point, nothing else.

An operator is what ends in one quantized tensor: a ReLU6 that became the range of its
convolution's output counts with the convolution.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization.qdq_loss_debug import create_weight_matching
from onnxruntime.quantization.quant_utils import DEQUANT_OUTPUT_SUFFIX, TENSOR_NAME_QUANT_SUFFIX

from edge.errors import SmartbinError
from edge.preprocess import Input
from trainer import tables
from trainer.bundles import INPUT
from trainer.rounded import Point, points_of, taken_apart, told

LIMIT_DB = 150.0  # float32 itself has 146 dB: its 24 bits
# Of 42 operators of the student 16, 64 and 328 pictures gave the same first eight, their ratios by
# themselves within 1 dB.
PICTURES = 16
# Of the mean channel's power. A channel under it was switched off by its BatchNorm: its output is
# its bias, and no error of its weights (found: 1e-9, all rounded to 0) can be seen behind it.
FAINT = 1e-6
Array = npt.NDArray[np.float32]
Ratios = tuple[float | None, float | None, int | None]  # all of a weight, worst channel, which
UNKNOWN: Ratios = (None, None, None)
Tensors = dict[str, Array]
Feed = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Operator:
    """One line of the table; ratios in dB, of a perfect copy LIMIT_DB."""

    name: str  # of its weights' module, or of the node
    kind: str  # its ONNX operators, as Conv+Clip
    shape: str  # of its output, as 1x32x112x112
    own_db: float
    accumulated_db: float
    rounding_db: float
    weight_db: float | None = None
    worst_channel_db: float | None = None  # of its weights
    worst_channel: int | None = None


class Meter:
    """Sums the power of a tensor and of its errors over pictures."""

    def __init__(self) -> None:
        self.signal = 0.0
        self.noise: dict[str, float] = {}
        self.shape = ""

    def add(self, expected: Array, **found: Array) -> None:
        """A picture's tensor as fp32 has it, and as others have it."""
        self.shape = "x".join(map(str, expected.shape))
        self.signal += _power(expected)
        for name, values in found.items():
            self.noise[name] = self.noise.get(name, 0.0) + _power(values - expected)

    def db(self, name: str) -> float:
        return ratio_db(self.signal, self.noise[name])


def ratio_db(signal: float, noise: float) -> float:
    """10 log10 of two powers, within +-LIMIT_DB, so that a perfect copy has a number too."""
    if noise <= 0 or signal <= 0:
        return LIMIT_DB if noise <= 0 else -LIMIT_DB
    return float(np.clip(10 * np.log10(signal / noise), -LIMIT_DB, LIMIT_DB))


def _power(values: npt.NDArray[np.floating]) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def measure(
    fp32: bytes, int8: bytes, inputs: Sequence[Input], tick: Callable[[], object] = lambda: None
) -> list[Operator]:
    """Every operator of the int8 network, the one that loses most by itself first.

    `inputs` are single pictures as both networks take them. Raises SmartbinError where the two
    have no tensor in common. Networks that use one weight twice are not known to onnxruntime's
    matching, which raises errors of its own.
    """
    known, quantized = onnx.load_from_string(fp32), onnx.load_from_string(int8)
    points = points_of(known.graph, quantized.graph)
    if not points:
        raise SmartbinError(
            "operators: the int8 network has no rounded tensor that the fp32 network has too; "
            "both must come of one `smartbin-train quantize`"
        )
    weights = weight_ratios(fp32, int8)
    meters = {point.tensor: Meter() for point in points}
    for expected, whole, alone in _runs(known, quantized, points, inputs):
        for point in points:
            name = point.tensor
            meters[name].add(
                expected[name],
                own=alone[point.after],
                accumulated=whole[point.after],
                rounding=alone[point.given_rounded],
            )
        tick()
    found = [_operator(known.graph, point, meters[point.tensor], weights) for point in points]
    return sorted(found, key=lambda one: one.own_db)


def _operator(
    known: onnx.GraphProto,
    point: Point,
    meter: Meter,
    weights: dict[str, Ratios],
) -> Operator:
    kinds = [str(node.op_type) for node in point.nodes]
    last = next(node for node in known.node if point.tensor in node.output)
    if last.op_type != kinds[-1]:  # the activation that the output's range stands for
        kinds.append(str(last.op_type))
    fed = (name.removesuffix(DEQUANT_OUTPUT_SUFFIX) for node in point.nodes for name in node.input)
    used = next((name for name in fed if name in weights), None)
    own = weights[used] if used else UNKNOWN
    name = used.removesuffix(".weight") if used else str(point.nodes[0].name)
    ratios = [meter.db(which) for which in ("own", "accumulated", "rounding")]
    return Operator(name, "+".join(kinds), meter.shape, *ratios, *own)


def _runs(
    known: onnx.ModelProto,
    quantized: onnx.ModelProto,
    points: Sequence[Point],
    inputs: Sequence[Input],
) -> Iterator[tuple[Tensors, Tensors, Tensors]]:
    """For each picture: fp32's tensors, the int8 network's, and those of its operators alone."""
    after, rounded = [p.after for p in points], [p.given_rounded for p in points]
    plain = _runner(known, [point.tensor for point in points])
    whole = _runner(quantized, after)
    alone = _runner(taken_apart(quantized, points), [*after, *rounded])
    for picture in inputs:
        feed: Feed = {INPUT: picture}
        expected = plain(feed)
        given = {point.given: expected[point.tensor] for point in points}
        yield expected, whole(feed), alone({**feed, **given})


def _runner(model: onnx.ModelProto, wanted: Sequence[str]) -> Callable[[Feed], Tensors]:
    """Runs the network up to the wanted tensors."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # Without it, an x86 without VNNI adds the saturation of its kernels to the errors.
    options.add_session_config_entry("session.x64quantprecision", "1")
    network = told(model, wanted).SerializeToString()
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return lambda feed: dict(zip(wanted, session.run(list(wanted), feed), strict=True))


def weight_ratios(fp32: bytes, int8: bytes) -> dict[str, Ratios]:
    """By the name of a weight: dB of all of it, of its worst output channel, and which that is."""
    with tempfile.TemporaryDirectory(prefix="smartbin-operators-") as folder:
        paths = [Path(folder) / name for name in ("fp32.onnx", "int8.onnx")]
        for path, network in zip(paths, (fp32, int8), strict=True):
            path.write_bytes(network)
        matched = create_weight_matching(*map(str, paths))
    axes = _channel_axes(onnx.load_from_string(int8).graph)
    found: dict[str, Ratios] = {}
    for name, pair in matched.items():
        wanted, got = pair["float"], pair["dequantized"]
        if wanted.ndim < 2:  # a bias: 32 bits, none of its error can be seen
            continue
        if wanted.shape != got.shape:  # one's stem takes blocks of pixels (trainer.rawinput)
            found[name] = UNKNOWN
            continue
        worst_db, worst = _worst_channel(*(np.moveaxis(w, axes[name], 0) for w in (wanted, got)))
        found[name] = (ratio_db(_power(wanted), _power(wanted - got)), worst_db, worst)
    return found


def _channel_axes(quantized: onnx.GraphProto) -> dict[str, int]:
    """The axis of each weight's output channels, along which its scales stand."""
    return {
        node.input[0].removesuffix(TENSOR_NAME_QUANT_SUFFIX): next(
            (a.i for a in node.attribute if a.name == "axis"), 0
        )
        for node in quantized.node
        if node.op_type == "DequantizeLinear"
    }


def _worst_channel(wanted: Array, got: Array) -> tuple[float, int]:
    """The channel, of the first axis, whose weights lose most; those next to nothing left out."""
    least = FAINT * _power(wanted) / len(wanted)
    ratios = [
        ratio_db(_power(w), _power(w - g)) if _power(w) >= least else LIMIT_DB
        for w, g in zip(wanted, got, strict=True)
    ]
    worst = int(np.argmin(ratios))
    return ratios[worst], worst


def as_csv(rows: Sequence[Operator]) -> bytes:
    """The table, worst first; dB with two decimals."""
    return tables.as_csv(rows, Operator, decimals=2)


def as_text(rows: Sequence[Operator], most: int = 5) -> str:
    """The worst, a line each, for people."""
    lines = [f"the {min(most, len(rows))} of {len(rows)} operators that int8 costs most:"]
    for row in rows[:most]:
        line = f"  {row.name} ({row.kind}, {row.shape}): {row.own_db:.1f} dB by itself, "
        line += f"{row.accumulated_db:.1f} dB with all before it, "
        line += f"output's rounding {row.rounding_db:.1f} dB"
        if row.weight_db is not None:
            line += f", weights {row.weight_db:.1f} dB (worst channel {row.worst_channel_db:.1f})"
        lines.append(line)
    return "\n".join(lines)
