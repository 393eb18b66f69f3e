"""The segmenter `tiny`: smartbin's own network, int8, for any background."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from edge.bundle import verified
from edge.errors import BundleError
from edge.preprocess import Input, centre_crop, resize_down
from edge.runtime import Runtime
from edge.segmenters.base import LEAST_QUALITY, Cutting, Matte, certainty
from edge.segmenters.cutout import Mask
from edge.values import Pixels

KIND = "segmenter"  # of the card
OUTPUTS = ("logits", "probability")


@dataclass(frozen=True, slots=True)
class MaskNet:
    """A verified segmenter, held in memory."""

    name: str  # file name without .onnx
    version: int
    width_px: int  # of the input
    height_px: int
    mean: tuple[float, float, float]  # RGB, on the 0..255 scale
    std: tuple[float, float, float]
    output: str  # logits or probability
    threshold: float  # probability from which a pixel is item
    onnx: bytes
    card: Mapping[str, Any]  # the whole JSON: metrics, recipe, licence


def load_mask_net(onnx_path: Path) -> MaskNet:
    """Read and verify a segmenter; raises BundleError that says which part is wrong."""
    onnx, card = verified(onnx_path)
    path = onnx_path.with_suffix(".json")
    if card.get("kind") != KIND:
        raise BundleError(f"{path}: kind: must be {KIND!r}; is this a classifier's card?")
    try:
        net = MaskNet(
            name=onnx_path.stem,
            version=int(card["version"]),
            width_px=int(card["input"]["width_px"]),
            height_px=int(card["input"]["height_px"]),
            mean=_triple(card["mean"]),
            std=_triple(card["std"]),
            output=str(card["output"]),
            threshold=float(card["threshold"]),
            onnx=onnx,
            card=card,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            f"{path}: {error!s} is missing or of the wrong kind; copy the segmenter again"
        ) from error
    _check_values(net, path)
    return net


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _check_values(net: MaskNet, path: Path) -> None:
    checks = (
        (16 <= net.width_px <= 1024, "input.width_px: 16 to 1024 px is allowed"),
        (16 <= net.height_px <= 1024, "input.height_px: 16 to 1024 px is allowed"),
        (min(net.std) > 0, "std: must be above 0"),
        (all(map(math.isfinite, (*net.mean, *net.std))), "mean and std: must be finite"),
        (net.output in OUTPUTS, f"output: one of {', '.join(OUTPUTS)} is allowed"),
        (0 < net.threshold < 1, "threshold: above 0 and under 1 is allowed"),
    )
    faults = [sentence for good, sentence in checks if not good]
    if faults:
        raise BundleError(f"{path}: {'; '.join(faults)}")


class TinySegmenter(Cutting):
    """The network opened for use; ready, and warm, when the constructor returns."""

    name = "tiny"

    def __init__(
        self, net: MaskNet, *, threads: int = 1, least_quality: float = LEAST_QUALITY
    ) -> None:
        super().__init__(least_quality=least_quality)
        self._net = net
        self._runtime = Runtime(net.onnx, name=f"{net.name}@{net.version}", threads=threads)
        self._scale = 1 / np.array(net.std, np.float32)
        self._offset = np.array(net.mean, np.float32)
        self._levels = _levels_of(net.threshold)
        self._check_shapes()
        self.matte(np.zeros((net.height_px, net.width_px, 3), np.uint8))  # the first run allocates

    def matte(self, pixels: Pixels) -> Matte:
        """(H, W, 3) to the network's mask; what lies outside the middle 4:3 is no item."""
        turned = pixels.shape[0] > pixels.shape[1]  # seen from above, an item has no upright
        upright = cast(Pixels, cv2.transpose(pixels)) if turned else pixels
        middle = centre_crop(upright, self._net.width_px / self._net.height_px)
        mask = self._mask_of(self._runtime.run(self._input_of(middle)))
        mask = _padded(mask, middle, upright)
        return Matte(cast(Mask, cv2.transpose(mask)) if turned else mask, certainty(mask))

    def _input_of(self, pixels: Pixels) -> Input:
        """(h, w, 3) to the network's input, in bytes where it takes them."""
        small = resize_down(pixels, self._net.width_px, self._net.height_px)
        if self._runtime.takes_bytes:
            return small[None]
        normalised = (small.astype(np.float32) - self._offset) * self._scale
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)

    def _mask_of(self, output: Any) -> Mask:
        """(1, 1, h, w) logits or probabilities to (h, w) uint8, the threshold at the middle."""
        values = np.nan_to_num(output[0, 0], nan=0.0)
        if self._net.output == "logits":
            values = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
        levels = np.clip(values * 255, 0, 255).astype(np.uint8)
        return cast(Mask, cv2.LUT(levels, self._levels))

    def _check_shapes(self) -> None:
        net, shape = self._net, self._runtime.input_shape
        given = (1, net.height_px, net.width_px, 3)
        if not self._runtime.takes_bytes:
            given = (1, 3, net.height_px, net.width_px)
        fits = len(shape) == 4 and all(
            want == has or not isinstance(want, int) for want, has in zip(shape, given, strict=True)
        )
        outputs = self._runtime.output_shape
        if not fits:
            raise BundleError(
                f"{net.name}: the network takes {shape}, its card says {given}; "
                "the JSON belongs to another network"
            )
        if len(outputs) != 4 or (isinstance(outputs[1], int) and outputs[1] != 1):
            raise BundleError(
                f"{net.name}: the network gives {outputs}, a mask is (1, 1, h, w); "
                "is this a classifier?"
            )


def _levels_of(threshold: float) -> Mask:
    """By probability in 255ths, the mask value: the threshold becomes 0.5, the ends stay."""
    share = np.arange(256) / 255
    below = share / threshold * 0.5
    above = 0.5 + (share - threshold) / (1 - threshold) * 0.5
    return np.round(np.where(share < threshold, below, above) * 255).astype(np.uint8)


def _padded(mask: Mask, middle: Pixels, whole: Pixels) -> Mask:
    """Add the ends that the network did not see, as background."""
    if middle.shape == whole.shape:
        return mask
    rows = round(mask.shape[0] * (whole.shape[0] / middle.shape[0] - 1) / 2)
    columns = round(mask.shape[1] * (whole.shape[1] / middle.shape[1] - 1) / 2)
    return cast(
        Mask,
        cv2.copyMakeBorder(mask, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=0),
    )
