"""Where the files that come with smartbin lie, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

from edge.errors import SmartbinError

_PACKAGE = Path(__file__).resolve().parent
# A wheel carries the top-level files inside the package; a checkout has them beside it.
_ROOTS = (_PACKAGE / "_shipped", _PACKAGE.parent)


def shipped(name: str) -> Path:
    """The path of a shipped file, say models/student.int8.onnx; raises where it is missing."""
    for root in _ROOTS:
        if (root / name).exists():
            return root / name
    raise SmartbinError(f"{name}: not in this installation; install smartbin again")


def samples() -> Path:
    """The folder of the rendered sample frames."""
    return _PACKAGE / "samples"


def default_segmenter() -> Path:
    """The network of the segmenter `tiny` where config.toml names no other."""
    return shipped("models/segmenter.int8.onnx")


def default_model() -> Path:
    """The int8 student that is used where config.toml names no other."""
    return shipped("models/student.int8.onnx")
