"""Which form of the network this hardware runs best: measured once, remembered, used by `run`.

The fingerprint holds what the measurement depends on; another processor, onnxruntime or bundle and
the choice is void.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.bundle import Bundle, load_bundle
from edge.errors import BundleError
from edge.runtime import Engine, version

log = logging.getLogger(__name__)
FORMAT = 1
PRECISIONS = ("int8", "fp32")


@dataclass(frozen=True, slots=True)
class Choice:
    """A variant of the network and how it is run."""

    precision: str
    engine: Engine


def siblings(onnx_path: Path) -> dict[str, Path]:
    """The bundles of one model by precision: NAME.int8.onnx and NAME.fp32.onnx."""
    stem, _, precision = onnx_path.stem.rpartition(".")
    if precision not in PRECISIONS:
        return {"": onnx_path}
    found = {p: onnx_path.with_name(f"{stem}.{p}.onnx") for p in PRECISIONS}
    return {p: path for p, path in found.items() if path.exists()}


def fingerprint(bundles: list[Bundle]) -> str:
    """Sixteen digits that change with the processor, onnxruntime and the networks."""
    parts = [_processor(), platform.machine(), str(os.cpu_count()), version()]
    parts += sorted(hashlib.sha256(bundle.onnx).hexdigest() for bundle in bundles)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def remember(path: Path, mark: str, choice: Choice) -> None:
    """Write the choice whole or not at all; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"format": FORMAT, "fingerprint": mark, **asdict(choice)}))
    partial.replace(path)


def recall(path: Path, mark: str) -> Choice | None:
    """The choice for this very hardware; None where there is none, or it was for another."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT or content["fingerprint"] != mark:
            return None
        return Choice(str(content["precision"]), Engine(**content["engine"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: cannot be read (%s); run `smartbin bench` again", path, error)
        return None


def chosen(bundle_path: Path, memory: Path) -> tuple[Bundle, Engine | None]:
    """The bundle and engine that `smartbin bench` found best here; else the bundle as named.

    Raises BundleError where the named bundle cannot be read.
    """
    named = load_bundle(bundle_path)
    if not memory.exists():
        return named, None
    found = {}
    for precision, path in siblings(bundle_path).items():
        try:
            found[precision] = load_bundle(path)
        except BundleError as error:
            log.warning("%s; it takes no part", error)
    choice = recall(memory, fingerprint(list(found.values())))
    if choice is None or choice.precision not in found:
        return named, None
    return found[choice.precision], choice.engine


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return platform.processor()
    wanted = ("model name", "CPU implementer", "CPU part", "Hardware", "Model")
    lines = {line.strip() for line in text.splitlines() if line.startswith(wanted)}
    return "\n".join(sorted(lines))
