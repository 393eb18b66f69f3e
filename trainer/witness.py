"""Opens a bundle's network so that its features can be seen beside its logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edge.bundle import Bundle
from edge.errors import SmartbinError
from edge.evidence import softmax_of
from edge.preprocess import network_input
from edge.runtime import FEATURES, Runtime
from edge.values import Pixels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of m pictures."""

    logits: Floats  # (m, n), calibrated: divided by the bundle's temperature
    features: Floats | None  # (m, k) that the last layer sees; None where it has none to show

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def probs(self) -> Floats:
        """(m, n) as the bin has them."""
        return np.stack([softmax_of(row) for row in self.logits])

    def rows(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Answers:
        """Only these pictures."""
        return Answers(self.logits[which], None if self.features is None else self.features[which])

    @staticmethod
    def joined(parts: Iterable[Answers]) -> Answers:
        """One after the other; features only where every part has them."""
        some = list(parts)
        shown = [part.features for part in some if part.features is not None]
        features = np.concatenate(shown) if len(shown) == len(some) else None
        return Answers(np.concatenate([part.logits for part in some]), features)


class Witness:
    """A bundle opened for measuring; looks at pictures with the edge's own preprocessing."""

    def __init__(self, bundle: Bundle) -> None:
        self._spec, self._temperature = bundle.preprocessing, np.float32(bundle.temperature)
        try:
            network = with_features(bundle.onnx)
        except NoFeaturesError:
            network = bundle.onnx
        self._runtime = Runtime(network, name=bundle.model_id)

    def look(self, pixels: Pixels) -> Answers:
        """One picture, (H, W, 3) uint8 RGB, as `Answers` of one row."""
        batch = network_input(pixels, self._spec, takes_bytes=self._runtime.takes_bytes)
        if not self._runtime.features:
            return Answers(self._runtime.run(batch) / self._temperature, None)
        logits, features = self._runtime.run_with_features(batch)
        return Answers(logits / self._temperature, features)


class NoFeaturesError(SmartbinError):
    """The network does not end in one linear layer."""


def with_features(network: bytes) -> bytes:
    """The same network with what its last linear layer sees as a second output, `features`.

    Raises NoFeaturesError where it ends otherwise. No weight is added: some hundred bytes.
    """
    model = onnx.load_from_string(network)
    if FEATURES in [output.name for output in model.graph.output]:
        return network
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Add"):
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        raise NoFeaturesError("the network does not end in one linear layer")
    seen, width = node.input[0], _width(model, node)
    # Before its rounding to int8, where it is rounded: the float is computed anyway.
    while seen in makers and makers[seen].op_type in ("QuantizeLinear", "DequantizeLinear"):
        seen = makers[seen].input[0]
    model.graph.node.append(helper.make_node("Identity", [seen], [FEATURES]))
    shape = helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, (1, width))
    model.graph.output.append(shape)
    return bytes(model.SerializeToString())


def _width(model: onnx.ModelProto, linear: onnx.NodeProto) -> int:
    """Inputs of a linear layer, by the shape of its weights."""
    shapes = {init.name: list(init.dims) for init in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    name = linear.input[1]
    while name not in shapes and name in makers:
        name = makers[name].input[0]
    if len(shapes.get(name, ())) != 2:
        raise NoFeaturesError("the weights of the last layer are not in the network")
    turned = any(a.name == "transB" and a.i == 1 for a in linear.attribute)
    return int(shapes[name][1 if turned else 0])
