"""A model bundle: NAME.onnx and NAME.json, which must agree before a bin trusts them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import BundleError
from edge.evidence import Rejection, parse_rejection
from edge.preprocess import Preprocessing

FORMAT = 1  # of the JSON; a higher one is from a newer smartbin


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, held in memory so that a file swapped later cannot change it."""

    name: str  # file name without .onnx, say student.int8
    version: int  # monotonic; a higher one is newer
    labels: tuple[str, ...]  # in the order of the network's outputs
    preprocessing: Preprocessing
    temperature: float  # logits are divided by it (Guo et al. 2017)
    thresholds: tuple[float, ...]  # least calibrated confidence per label, 0..1
    min_margin: float  # least distance of the best two classes, 0..1
    precision: str  # int8 or fp32
    rejection: Rejection | None  # what is none of the classes; None in older bundles
    onnx: bytes
    card: dict[str, Any]  # the whole JSON: metrics, recipe, data, licence

    @property
    def model_id(self) -> str:
        """Name and version, as it stands in every decision."""
        return f"{self.name}@{self.version}"


def load_bundle(onnx_path: Path) -> Bundle:
    """Read and verify a bundle; raises BundleError that says which part is wrong.

    The number of outputs is checked where the network is opened (edge.classifier).
    """
    onnx, card = verified(onnx_path)
    path = onnx_path.with_suffix(".json")
    if card.get("kind") == "segmenter":
        raise BundleError(f"{path}: a segmenter's card; a classifier's is asked for here")
    return _bundle_of(card, onnx, onnx_path.stem, path)


def verified(onnx_path: Path) -> tuple[bytes, dict[str, Any]]:
    """Read a network and its card, which must name the network's hash; raises BundleError."""
    card_path = onnx_path.with_suffix(".json")
    onnx = _read(onnx_path)
    card = _parse_card(card_path, _read(card_path))
    found = hashlib.sha256(onnx).hexdigest()
    if card.get("sha256") != found:
        raise BundleError(
            f"{onnx_path}: sha256 is {found[:12]}..., {card_path.name} says "
            f"{str(card.get('sha256'))[:12]}...; the file is damaged or swapped, copy both again"
        )
    return onnx, card


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: model file cannot be read ({error.strerror}); "
            f"a bundle is NAME.onnx with NAME.json beside it"
        ) from error


def _parse_card(path: Path, data: bytes) -> dict[str, Any]:
    try:
        card = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error}); copy the bundle again") from error
    if not isinstance(card, dict):
        raise BundleError(f"{path}: must be a JSON object; copy the bundle again")
    if card.get("format") != FORMAT:
        raise BundleError(
            f"{path}: format = {card.get('format')!r}: this smartbin reads {FORMAT}; update one"
        )
    return card


def _bundle_of(card: dict[str, Any], onnx: bytes, name: str, path: Path) -> Bundle:
    try:
        labels = tuple(str(label) for label in card["labels"])
        spec = card["preprocessing"]
        bundle = Bundle(
            name=name,
            version=int(card["version"]),
            labels=labels,
            preprocessing=Preprocessing(
                size_px=int(spec["size_px"]),
                mean=_triple(spec["mean"]),
                std=_triple(spec["std"]),
                max_aspect=float(spec["max_aspect"]),
            ),
            temperature=float(card["temperature"]),
            thresholds=tuple(float(card["thresholds"][label]) for label in labels),
            min_margin=float(card["min_margin"]),
            precision=str(card["precision"]),
            rejection=_rejection(card, len(labels), path),
            onnx=onnx,
            card=card,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            f"{path}: {error!s} is missing or of the wrong kind; copy the bundle again"
        ) from error
    _check_values(bundle, path)
    return bundle


def _rejection(card: dict[str, Any], classes: int, path: Path) -> Rejection | None:
    try:
        return parse_rejection(card.get("reject"), classes)
    except ValueError as error:
        raise BundleError(f"{path}: {error}; copy the bundle again") from error


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _check_values(bundle: Bundle, path: Path) -> None:
    spec = bundle.preprocessing
    checks = (
        (2 <= len(bundle.labels) <= 1000, "labels: 2 to 1000 are allowed"),
        (len(set(bundle.labels)) == len(bundle.labels), "labels: one stands twice"),
        (all(bundle.labels), "labels: one is empty"),
        (16 <= spec.size_px <= 2048, "preprocessing.size_px: 16 to 2048 px is allowed"),
        (min(spec.std) > 0, "preprocessing.std: must be above 0"),
        (1 <= spec.max_aspect <= 10, "preprocessing.max_aspect: 1 to 10 is allowed"),
        (0 < bundle.temperature < 100, "temperature: above 0 and under 100 is allowed"),
        (all(0 <= t <= 1 for t in bundle.thresholds), "thresholds: 0 to 1 is allowed"),
        (0 <= bundle.min_margin <= 1, "min_margin: 0 to 1 is allowed"),
        (all(map(math.isfinite, (*spec.mean, *spec.std))), "preprocessing: must be finite"),
    )
    faults = [sentence for good, sentence in checks if not good]
    if faults:
        raise BundleError(f"{path}: {'; '.join(faults)}")
