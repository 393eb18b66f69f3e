"""Crop in, calibrated class probabilities out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.evidence import features_of
from edge.fusion import fused
from edge.preprocess import network_input
from edge.runtime import Engine, Runtime
from edge.values import Crop, Pixels, Prediction


class Classifier:
    """A bundle opened for use; ready, and warm, when the constructor returns."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, engine: Engine | None = None) -> None:
        """`engine` goes before `threads`."""
        self._bundle = bundle
        self._runtime = Runtime(bundle.onnx, name=bundle.model_id, threads=threads, engine=engine)
        self._check_shapes()
        # The first run allocates; pay for it before an item waits.
        side = bundle.preprocessing.size_px
        self.classify(np.zeros((side, side, 3), np.uint8))

    @property
    def labels(self) -> tuple[str, ...]:
        return self._bundle.labels

    def look(self, crop: Crop) -> Prediction:
        """What a crop shows, fused with its whole frame where that is judged beside it."""
        found = self.classify(crop.pixels)
        if crop.beside is None:
            return found
        return fused(cut=found, whole=self.classify(crop.beside), share=crop.share)

    def classify(self, pixels: Pixels) -> Prediction:
        """(H, W, 3) uint8 RGB to probabilities, (n,) float32 in the order of `labels`."""
        spec = self._bundle.preprocessing
        batch = network_input(pixels, spec, takes_bytes=self._runtime.takes_bytes)
        rejection = self._bundle.rejection
        if rejection is None or not rejection.needs_features:
            logits, features = self._runtime.run(batch)[0], None
        else:
            logits, features = (rows[0] for rows in self._runtime.run_with_features(batch))
        calibrated = logits / np.float32(self._bundle.temperature)
        evidence = None if rejection is None else rejection.evidence(calibrated, features)
        return Prediction(softmax(calibrated), evidence)

    def _check_shapes(self) -> None:
        size = self._bundle.preprocessing.size_px
        shape = self._runtime.output_shape
        outputs = shape[-1] if len(shape) == 2 else shape
        if outputs != len(self._bundle.labels):
            raise BundleError(
                f"{self._bundle.model_id}: {len(self._bundle.labels)} labels for a network "
                f"with {outputs} outputs; the JSON belongs to another network"
            )
        self._check_features()
        given = (1, size, size, 3) if self._runtime.takes_bytes else (1, 3, size, size)
        if tuple(self._runtime.input_shape[1:]) != given[1:]:
            raise BundleError(
                f"{self._bundle.model_id}: the network takes {self._runtime.input_shape}, "
                f"preprocessing gives {given}; the JSON belongs to another network"
            )

    def _check_features(self) -> None:
        rejection = self._bundle.rejection
        wanted = None if rejection is None else features_of(rejection)
        if wanted is not None and self._runtime.features != wanted:
            raise BundleError(
                f"{self._bundle.model_id}: reject takes {wanted} features, the network gives "
                f"{self._runtime.features}; the JSON belongs to another network"
            )


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Stable softmax over the last axis, float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
