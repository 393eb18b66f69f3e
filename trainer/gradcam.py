"""Where in a picture a network sees a class: CAM from ONNX, Grad-CAM from torch.

CAM: Zhou et al., CVPR 2016. Grad-CAM: Selvaraju et al., ICCV 2017. For a network that ends in
convolution, mean over places and one linear layer, as the students do, both say the same up to a
factor, and CAM is exact: the map's mean plus the bias is the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle
from edge.errors import SmartbinError
from edge.preprocess import Tensor, centre_crop, network_input
from edge.runtime import Runtime
from edge.values import Pixels

if TYPE_CHECKING:
    from torch import nn

Heat = npt.NDArray[np.float32]  # (h, w), the network's last grid of places
FEATURES = "features_of_the_evidence_map"
# What changes neither the order nor, beyond rounding, the size of what it carries.
CARRIERS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Flatten", "Reshape", "Squeeze", "Identity", "Dropout"}
)
POOLS = frozenset({"GlobalAveragePool", "ReduceMean"})


class EvidenceError(SmartbinError):
    """The network is not built so that a map can be read off it."""


class Evidence:
    """The class evidence maps of a bundle; ready when the constructor returns."""

    def __init__(self, bundle: Bundle) -> None:
        model = onnx.load_from_string(bundle.onnx)
        place, self.weights, self.bias = ending(model, bundle.model_id)
        self._spec = bundle.preprocessing
        self._runtime = Runtime(expose(model, place), name=f"{bundle.model_id}, evidence map")

    def maps(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (n, h, w): each place's part in each class's logit."""
        batch = network_input(pixels, self._spec, takes_bytes=self._runtime.takes_bytes)
        features = self._runtime.run(batch)[0]
        if features.ndim != 3 or features.shape[0] != self.weights.shape[1]:
            raise EvidenceError(f"evidence map: the last features have shape {features.shape}")
        return np.asarray(np.einsum("nk,khw->nhw", self.weights, features), np.float32)


def ending(
    model: onnx.ModelProto, name: str
) -> tuple[str, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Name of the last feature map, weights (n, k) and bias (n,) of the linear layer behind it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    bias: npt.NDArray[np.float32] | None = None
    node = _behind(makers, model.graph.output[0].name)
    if node is not None and node.op_type == "Add":
        bias = constant(model, node.input[1])
        node = _behind(makers, node.input[0])
    if node is not None and node.op_type in ("Gemm", "MatMul"):
        weights = constant(model, node.input[1])
        pool = _behind(makers, node.input[0])
        if weights is not None and pool is not None and pool.op_type in POOLS:
            rows = _attribute(node, "transB") == 1
            if len(node.input) > 2:
                bias = constant(model, node.input[2])
            matrix = weights if rows else weights.T
            return (
                pool.input[0],
                matrix,
                np.zeros(len(matrix), np.float32) if bias is None else bias,
            )
    raise EvidenceError(
        f"{name}: no evidence map, for the network does not end in a mean over places and one "
        "linear layer; name the training's folder with --run to have Grad-CAM instead"
    )


def _behind(makers: dict[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    node = makers.get(name)
    while node is not None and node.op_type in CARRIERS:
        node = makers.get(node.input[0])
    return node


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def constant(model: onnx.ModelProto, name: str) -> npt.NDArray[np.float32] | None:
    """A weight by name, brought back from int8 where it was quantized; None if none is there."""
    stored = {init.name: init for init in model.graph.initializer}
    if name in stored:
        return numpy_helper.to_array(stored[name]).astype(np.float32)
    node = next((n for n in model.graph.node if name in n.output), None)
    if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in stored:
        return None
    parts = [numpy_helper.to_array(stored[i]).astype(np.float32) for i in node.input]
    values, scale, zero = parts[0], parts[1], parts[2] if len(parts) > 2 else np.float32(0)
    if scale.ndim:  # per channel
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)]
        scale, zero = scale.reshape(shape), np.reshape(zero, shape)
    return np.asarray((values - zero) * scale, np.float32)


def expose(model: onnx.ModelProto, place: str) -> bytes:
    """A copy in memory that gives the features at `place` instead of the logits."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.node.append(helper.make_node("Identity", [place], [FEATURES]))
    copy.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, None))
    return bytes(copy.SerializeToString())


def grad_cam(net: nn.Module, batch: Tensor, classes: Sequence[int]) -> npt.NDArray[np.float32]:
    """(1, 3, S, S) normalised pixels to (len(classes), h, w), 0 or more: Grad-CAM of each class.

    Taken at the last layer that still has places, which is found by watching one forward pass, so
    that any network of convolutions will do.
    """
    import torch

    last: list[torch.Tensor] = []

    def watch(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            last[:] = [output]

    hooks = [part.register_forward_hook(watch) for part in net.modules()]
    try:
        with torch.enable_grad():
            logits = net(torch.from_numpy(batch).requires_grad_(True))[0]
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise EvidenceError("Grad-CAM: no layer of the network has places left")
    maps = []
    for label in classes:
        (slope,) = torch.autograd.grad(logits[label], last[0], retain_graph=True)
        weighed = (slope.mean((2, 3), keepdim=True) * last[0]).sum(1)[0]
        maps.append(weighed.detach().clamp_min(0).numpy())
    return np.stack(maps).astype(np.float32)


def scaled(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(m, h, w) maps of one picture to 0..1 by their common peak, so that they can be compared.

    What speaks against a class is 0; maps without anything in favour stay 0.
    """
    positive = np.maximum(maps, 0)
    peak = float(positive.max(initial=0.0))
    return np.asarray(positive / peak if peak > 0 else positive, np.float32)


def overlay(pixels: Pixels, heat: Heat | None, width_px: int, max_aspect: float) -> Pixels:
    """The part of a picture that the network saw, `width_px` wide, under a (h, w) 0..1 map."""
    seen = centre_crop(pixels, max_aspect)
    height_px = max(1, round(width_px * seen.shape[0] / seen.shape[1]))
    small = cv2.resize(seen, (width_px, height_px), interpolation=cv2.INTER_AREA)
    if heat is None:
        return np.asarray(small, np.uint8)
    smooth = np.clip(cv2.resize(heat, (width_px, height_px), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (0.25 + 0.55 * smooth)[..., None]  # dimmed where nothing speaks for the class
    return np.asarray(small * (1 - share) + colours * share, np.uint8)


def share_inside(heat: Heat, mask: npt.NDArray[np.uint8], pixels: Pixels, aspect: float) -> float:
    """Share of a map's positive evidence that lies on the item (Wang et al., Score-CAM, 2020).

    `mask` (h, w) 0..255 covers the whole of `pixels`; the map covers what the network saw of it.
    """
    height, width = pixels.shape[:2]
    whole = np.asarray(cv2.resize(mask, (width, height)), np.uint8)
    seen = centre_crop(whole, aspect)
    item = cv2.resize(seen, heat.shape[::-1], interpolation=cv2.INTER_AREA) / 255
    positive = np.maximum(heat, 0)
    total = float(positive.sum())
    return float((positive * item).sum()) / total if total > 0 else 0.0
