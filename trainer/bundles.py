"""Writes NAME.onnx and NAME.json, the pair that edge.bundle reads; half a bundle is never left."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from edge.bundle import FORMAT, Bundle, load_bundle
from edge.errors import BundleError, SmartbinError
from edge.preprocess import Preprocessing
from trainer.calibrate import RULE, Calibration
from trainer.data import PhotoSet

INPUT, OUTPUT = "pixels", "logits"  # (1, 3, S, S) float32 or, as shipped, (1, S, S, 3) uint8
IR_VERSION = 9  # onnxruntime 1.18, the oldest that the edge allows, reads up to 10


@dataclass(frozen=True, slots=True)
class Source:
    """The pictures a bundle was made from, as its card tells them."""

    name: str
    licence: str
    train: PhotoSet
    val: PhotoSet
    train_list: Path | None
    val_list: Path | None

    def card(self) -> dict[str, Any]:
        """Names and hashes only: no path of the machine that trained."""
        return {
            "name": self.name,
            "licence": self.licence,
            "sha256": self.train.sha256(),
            "splits": {
                "train": _split(self.train, self.train_list),
                "val": _split(self.val, self.val_list),
            },
        }


def _split(photos: PhotoSet, names_file: Path | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"n": len(photos), "pictures_sha256": photos.sha256()}
    if names_file is not None:
        entry["file"] = names_file.name
        entry["sha256"] = hashlib.sha256(names_file.read_bytes()).hexdigest()
    return entry


@dataclass(frozen=True, slots=True)
class Model:
    """One network to be written, and what is known of it."""

    onnx: bytes
    precision: str  # int8 or fp32
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    metrics: list[dict[str, Any]]
    notes: dict[str, Any]  # recipe, seeds, data, and whatever else the card is to say


def card_of(model: Model, version: int) -> dict[str, Any]:
    """The JSON beside the network."""
    spec, calibration = model.preprocessing, model.calibration
    return {
        "format": FORMAT,
        "version": version,
        "labels": list(model.labels),
        "preprocessing": {
            "size_px": spec.size_px,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "max_aspect": spec.max_aspect,
        },
        "temperature": calibration.temperature,
        "thresholds": dict(zip(model.labels, calibration.thresholds, strict=True)),
        "min_margin": calibration.min_margin,
        "precision": model.precision,
        "sha256": hashlib.sha256(model.onnx).hexdigest(),
        "bytes": len(model.onnx),
        "parameters": parameters(model.onnx),
        "metrics": model.metrics,
        "calibration": {
            "rule": RULE,
            "ece_before": round(calibration.ece_before, 5),
            "ece_after": round(calibration.ece_after, 5),
            "coverage": round(calibration.coverage, 5),
            "selective_accuracy": round(calibration.selective_accuracy, 5),
        },
        **model.notes,
        "commit": commit(),
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def write_bundle(path: Path, model: Model, version: int | None = None) -> Bundle:
    """Write `path` (NAME.onnx) and its card, and read both back as the edge will.

    The default version is one above that of the bundle it replaces. A reader between the two
    moves sees hashes that disagree, and refuses.
    """
    finish(path)
    return _write_pair(path, model.onnx, card_of(model, version or next_version(path)))


def amend(path: Path, changes: dict[str, Any], network: bytes | None = None) -> Bundle:
    """Change keys of a bundle's card, and perhaps its network, one version up; read both back.

    A key changed to None goes.
    """
    bundle = load_bundle(path)
    onnx_bytes = network or bundle.onnx
    merged = {**bundle.card, **changes, "version": bundle.version + 1}
    card = {key: value for key, value in merged.items() if value is not None}
    card |= {"sha256": hashlib.sha256(onnx_bytes).hexdigest(), "bytes": len(onnx_bytes)}
    return _write_pair(path, onnx_bytes, card)


def _write_pair(path: Path, network: bytes, card: dict[str, Any]) -> Bundle:
    write_pair(path, network, card)
    return load_bundle(path)


def write_pair(path: Path, network: bytes, card: dict[str, Any]) -> None:
    """NAME.onnx and NAME.json, of whatever kind; what stood there stays where it fails.

    Both are whole beside their places before either is moved there, the card first: a kill leaves
    no network without its own card, and what it interrupted is finished by the next start.
    """
    finish(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        parts = [(path.with_suffix(".json"), text.encode()), (path, network)]
        partials = [_write_beside(target, data) for target, data in parts]
        for partial, (target, _) in zip(partials, parts, strict=True):
            partial.replace(target)
    except OSError as error:
        for target in (path, path.with_suffix(".json")):
            _partial(target).unlink(missing_ok=True)
        raise SmartbinError(f"{path}: bundle cannot be written ({error.strerror})") from error


def finish(path: Path) -> None:
    """Move a network to its card that a kill parted from it; remove what was left half-written."""
    card, network = path.with_suffix(".json"), _partial(path)
    if not _partial(card).exists() and network.exists() and card.exists():
        wanted = re.search(r'"sha256": "([0-9a-f]{64})"', card.read_text("utf-8", "replace"))
        if wanted and wanted[1] == hashlib.sha256(network.read_bytes()).hexdigest():
            network.replace(path)
    for left in (_partial(card), network):
        left.unlink(missing_ok=True)


def next_version(path: Path) -> int:
    """One above the bundle that stands there; 1 where none, or a damaged one, does."""
    try:
        return load_bundle(path).version + 1
    except BundleError:
        return 1


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _write_beside(path: Path, data: bytes) -> Path:
    with _partial(path).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return _partial(path)


def parameters(network: bytes) -> int:
    """Weights and biases of an ONNX network; scales, zero points and shapes are not counted."""
    model = onnx.load_from_string(network)
    sizes = {init.name: numpy_helper.to_array(init).size for init in model.graph.initializer}
    behind = {node.output[0]: node.input[0] for node in model.graph.node if _is_dequantize(node)}
    counted = {
        behind.get(name, name)
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul")
        for name in node.input
    }
    return sum(sizes[name] for name in counted if name in sizes)


def _is_dequantize(node: onnx.NodeProto) -> bool:
    return str(node.op_type) == "DequantizeLinear"


def commit() -> str | None:
    """The commit of the checkout the trainer runs from; None where it was installed."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
