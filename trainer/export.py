"""A trained network as ONNX: BatchNorm folded, static shape, and checked against torch."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge.errors import SmartbinError
from edge.runtime import Runtime
from trainer.bundles import INPUT, IR_VERSION, OUTPUT

OPSET = 18
# Sums of a few thousand float32 products differ in their last digits between two libraries.
TOLERANCE = 1e-3


Size = int | tuple[int, int]  # px: of a square, or height and width


def export(net: nn.Module, size_px: Size) -> bytes:
    """ONNX bytes of a network: `pixels` (1, 3, H, W) float32 to `logits` float32, (1, n) or a map.

    Raises SmartbinError where onnxruntime's logits differ from torch's.
    """
    folded = fold_batchnorm(net)
    data = _trace(folded, size_px)
    difference = parity(folded, data, size_px)
    if not difference < TOLERANCE:
        raise SmartbinError(
            f"export: onnxruntime and torch differ by {difference:.2g} in a logit, "
            f"{TOLERANCE:g} is allowed; this version of torch cannot export the network"
        )
    return data


def fold_batchnorm(net: nn.Module) -> nn.Module:
    """A copy for evaluation in which every BatchNorm is part of the convolution before it."""
    folded = copy.deepcopy(net).cpu().float().eval()
    for part in folded.modules():
        if not isinstance(part, nn.Sequential):
            continue
        for i in range(len(part) - 1):
            conv, norm = part[i], part[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                part[i], part[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return folded


def _shape(size_px: Size) -> tuple[int, int, int, int]:
    height_px, width_px = (size_px, size_px) if isinstance(size_px, int) else size_px
    return 1, 3, height_px, width_px


def _trace(net: nn.Module, size_px: Size) -> bytes:
    net = net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    example = torch.zeros(_shape(size_px))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    chatter = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(chatter), redirect_stderr(chatter):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = IR_VERSION
    _name_the_mean(model.graph)
    for node in model.graph.node:  # names of the author's source lines are nobody's business
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _name_the_mean(graph: onnx.GraphProto) -> None:
    """A mean over height and width as the pooling that it is: runtimes know that one as int8."""
    constants = {init.name: numpy_helper.to_array(init) for init in graph.initializer}
    for node in graph.node:
        if node.op_type != "ReduceMean" or node.input[1] not in constants:
            continue
        kept = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if kept and sorted(constants[node.input[1]].tolist()) in ([2, 3], [-2, -1]):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:], node.input[1:]


@torch.no_grad()
def parity(net: nn.Module, data: bytes, size_px: Size, trials: int = 4) -> float:
    """Greatest difference of a logit between torch and onnxruntime over random inputs."""
    runtime = Runtime(data, name="exported network")
    dice = np.random.default_rng(0)
    worst = 0.0
    for _ in range(trials):
        batch = dice.standard_normal(_shape(size_px)).astype(np.float32)
        expected = net(torch.from_numpy(batch)).numpy()
        worst = max(worst, float(np.abs(expected - runtime.run(batch)).max()))
    return worst
