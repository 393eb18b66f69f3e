"""From a bundle to a TensorRT engine on a Jetson: the file, the command, and a check of both here.

TensorRT's integers are signed and symmetric: it refuses a zero point other than 0, unsigned
activations and quantized biases, all of which our int8 bundles have for onnxruntime's sake. So
fp16 is built from the fp32 bundle, and int8 from a second quantization of it, symmetric, made
here from calibration pictures. The engine itself is built on the device, for its own GPU.

Sources: TensorRT's "Working with Quantized Types"; operators.md of onnx-tensorrt for 8.5 (what it
lists is in every later version); opsets 9 to 20 are those of TensorRT 10.3, JetPack 6.1 and 6.2.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle
from edge.errors import SmartbinError, UsageError
from edge.preprocess import Tensor

VERSION = "10.3"
OPSETS = range(9, 21)
PRECISIONS = ("fp16", "int8")
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"  # where JetPack puts it
LISTED = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant
ConstantOfShape Conv ConvTranspose DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal
Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool
GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity
InstanceNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool LRN MatMul
Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg Not Or Pad Pow PRelu QuantizeLinear
Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Shrink Sigmoid Sign Slice
Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK
Transpose Trilu Unsqueeze Upsample Where Xor
"""
SUPPORTED = frozenset(LISTED.split())


@dataclass(frozen=True, slots=True)
class Checked:
    """What a dry check found; no fault means that nothing here speaks against the build."""

    operators: tuple[str, ...]
    input_shape: tuple[int, ...]
    opset: int
    faults: tuple[str, ...]


def check(network: bytes) -> Checked:
    """Operators, static shapes, opset and quantization, against TensorRT's published limits."""
    model = onnx.load_from_string(network)
    operators = tuple(sorted({node.op_type for node in model.graph.node}))
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    faults = [
        f"operator {name} is not in TensorRT's list" for name in operators if name not in SUPPORTED
    ]
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    faults += [f"operators of the domain {name} are unknown to TensorRT" for name in foreign]
    if opset not in OPSETS:
        faults.append(f"opset {opset}: TensorRT {VERSION} reads {OPSETS[0]} to {OPSETS[-1]}")
    faults += _shape_faults(model)
    faults += _quantization_faults(model)
    return Checked(operators, shape, opset, tuple(faults))


def _shape_faults(model: onnx.ModelProto) -> list[str]:
    faults = []
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if any(d.dim_param or d.dim_value <= 0 for d in value.type.tensor_type.shape.dim):
            faults.append(f"tensor {value.name} has a free dimension; all must be fixed")
    if model.graph.input[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        faults.append("the input is not float32; TensorRT takes bytes only into a cast")
    return faults[:5]


def _quantization_faults(model: onnx.ModelProto) -> list[str]:
    constants = {init.name: numpy_helper.to_array(init) for init in model.graph.initializer}
    kinds: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None:
            continue
        if zero.dtype != np.int8:
            kind = f"{zero.dtype} values; TensorRT takes int8 alone"
            kinds[kind] = kinds.get(kind, 0) + 1
        elif np.any(zero != 0):
            kind = "a zero point that is not 0"
            kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{count} quantize nodes have {kind}" for kind, count in kinds.items()]


def floating(network: bytes) -> bytes:
    """The fp32 network with a float32 input of 0..255 in place of bytes; the same answers."""
    model = onnx.load_from_string(network)
    given = model.graph.input[0].type.tensor_type
    if given.elem_type == TensorProto.FLOAT:
        return network
    given.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        if node.op_type == "Cast":
            inert = helper.make_node("Identity", list(node.input), list(node.output))
            node.CopyFrom(inert)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def symmetric(network: bytes, calibration: Sequence[Tensor]) -> bytes:
    """A floating network as int8 that TensorRT takes: signed, zero points 0, biases in float."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from trainer.quantize import Reader

    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "DedicatedQDQPair": False,
    }
    with tempfile.TemporaryDirectory(prefix="smartbin-tensorrt-") as folder:
        source, ready, out = (Path(folder) / name for name in ("in.onnx", "ready.onnx", "out.onnx"))
        source.write_bytes(network)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            out,
            Reader(np.concatenate(list(calibration))),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add"],
            extra_options=options,
        )
        return _clipped_first(onnx.load(out))


def _clipped_first(model: onnx.ModelProto) -> bytes:
    """Drop the pairs between a convolution and its ReLU6: ranges are those behind the clip.

    A symmetric range must else hold the negative values too, which the clip throws away.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for clip in [node for node in model.graph.node if node.op_type in ("Clip", "Relu")]:
        after = makers.get(clip.input[0])
        if after is None or after.op_type != "DequantizeLinear" or len(users[clip.input[0]]) > 1:
            continue
        before = makers[after.input[0]]
        clip.input[0] = before.input[0]
        model.graph.node.remove(after)
        model.graph.node.remove(before)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def command(onnx_path: Path, precision: str) -> str:
    """The line to type on the device; an engine of another device or version is of no use there."""
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: must be one of {', '.join(PRECISIONS)}")
    engine = onnx_path.with_suffix("").with_suffix(f".{precision}.engine")
    flags = ["--fp16"] if precision == "fp16" else ["--int8", "--fp16"]
    return shlex.join([TRTEXEC, f"--onnx={onnx_path}", f"--saveEngine={engine}", *flags])


def refuse_int8(bundle: Bundle) -> None:
    """Our int8 bundles are onnxruntime's; TensorRT's int8 is made from fp32."""
    if bundle.precision != "fp32":
        raise UsageError(
            f"{bundle.model_id}: is {bundle.precision}; TensorRT refuses its unsigned activations "
            "and zero points, name the fp32 bundle beside it"
        )


def refuse(found: Checked, name: str) -> None:
    """Raise SmartbinError with every fault that the check found."""
    if found.faults:
        raise SmartbinError(
            f"{name}: TensorRT {VERSION} would refuse it: {'; '.join(found.faults)}"
        )
