"""Crop in, calibrated class probabilities out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.preprocess import prepare
from edge.runtime import Runtime
from edge.values import Pixels, Prediction


class Classifier:
    """A bundle opened for use; ready, and warm, when the constructor returns."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self._bundle = bundle
        self._runtime = Runtime(bundle.onnx, name=bundle.model_id, threads=threads)
        self._check_shapes()
        # The first run allocates; pay for it before an item waits.
        side = bundle.preprocessing.size_px
        self.classify(np.zeros((side, side, 3), np.uint8))

    @property
    def labels(self) -> tuple[str, ...]:
        return self._bundle.labels

    def classify(self, pixels: Pixels) -> Prediction:
        """(H, W, 3) uint8 RGB to probabilities, (n,) float32 in the order of `labels`."""
        logits = self._runtime.run(prepare(pixels, self._bundle.preprocessing))[0]
        return Prediction(probs=softmax(logits / self._bundle.temperature))

    def _check_shapes(self) -> None:
        size = self._bundle.preprocessing.size_px
        shape = self._runtime.output_shape
        outputs = shape[-1] if len(shape) == 2 else shape
        if outputs != len(self._bundle.labels):
            raise BundleError(
                f"{self._bundle.model_id}: {len(self._bundle.labels)} labels for a network "
                f"with {outputs} outputs; the JSON belongs to another network"
            )
        if tuple(self._runtime.input_shape[1:]) != (3, size, size):
            raise BundleError(
                f"{self._bundle.model_id}: the network takes {self._runtime.input_shape}, "
                f"preprocessing gives (1, 3, {size}, {size}); the JSON belongs to another network"
            )


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Stable softmax over the last axis, float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
