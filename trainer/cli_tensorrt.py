"""`smartbin-train tensorrt`, mounted by trainer.cli."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import MissingExtraError, SmartbinError, UsageError
from trainer.options import AsJson, BundlePath, Names

app = typer.Typer()


@app.command()
def tensorrt(
    bundle: BundlePath,
    precision: Annotated[str, typer.Option(help="fp16 or int8.")] = "fp16",
    data: Annotated[
        Path | None, typer.Option(help="For int8: labelled pictures to calibrate with.")
    ] = None,
    names: Names = None,
    pictures: Annotated[int, typer.Option(min=16, help="For int8: so many of them.")] = 128,
    out: Annotated[Path, typer.Option("--out", help="Folder of the ONNX file and the engine.")] = (
        Path("runs/tensorrt")
    ),
    dry: Annotated[
        bool, typer.Option("--dry", help="Check and print the command; build nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A TensorRT engine for a Jetson: the ONNX file it takes, checked; then built, or told how.

    Works on any machine with --dry; without it, on the Jetson itself.
    """
    from edge.bundle import load_bundle
    from trainer import tensorrt as maker

    found = load_bundle(bundle)
    maker.refuse_int8(found)
    target = out / f"{found.name.removesuffix('.fp32')}.{precision}.onnx"
    line = maker.command(target, precision)
    network, agreement = maker.floating(found.onnx), None
    if precision == "int8":
        if data is None:
            raise UsageError("--precision int8: name --data, labelled pictures to calibrate with")
        network, agreement = _quantized(found, network, data, names, pictures)
    checked = maker.check(network)
    maker.refuse(checked, target.name)
    from trainer.audit_run import save_whole

    save_whole(target, network)
    result = {
        "onnx": str(target),
        "command": line,
        "tensorrt": maker.VERSION,
        "operators": list(checked.operators),
        "input": list(checked.input_shape),
        "opset": checked.opset,
        "labels_as_fp32": agreement,
    }
    if not dry:
        _build(line)
    print(json.dumps(result) if as_json else _as_text(result))


def _quantized(
    bundle: Any, network: bytes, data: Path, names: Path | None, count: int
) -> tuple[bytes, float]:
    """Symmetric int8, and the share of the same pictures on which it says fp32's label."""
    import numpy as np

    from edge.pictures import read_picture
    from edge.preprocess import squeeze
    from edge.runtime import Runtime
    from trainer import tensorrt as maker
    from trainer.data import scan, thin_out
    from trainer.progress import bar

    photos = thin_out(scan(data, names), count, 0)
    inputs = []
    with bar("prepare calibration", len(photos)) as tick:
        for path in photos.paths:
            inputs.append(squeeze(read_picture(path), bundle.preprocessing)[None].astype("float32"))
            tick()
    made = maker.symmetric(network, inputs)
    before, after = Runtime(network, name="fp32"), Runtime(made, name="symmetric int8")
    same = [before.run(x).argmax() == after.run(x).argmax() for x in inputs]
    return made, float(np.mean(same))


def _build(line: str) -> None:
    program = shlex.split(line)[0]
    if shutil.which(program) is None:
        raise MissingExtraError(
            f"{program}: is not here; run this on the Jetson, or with --dry and then there: {line}"
        )
    if subprocess.run(shlex.split(line), stdout=sys.stderr).returncode:
        raise SmartbinError("trtexec failed; its last lines above say why")


def _as_text(result: dict[str, Any]) -> str:
    share = result["labels_as_fp32"]
    lines = [
        f"{result['onnx']}: opset {result['opset']}, input {tuple(result['input'])} float32 0..255",
        f"all {len(result['operators'])} operators are in TensorRT {result['tensorrt']}'s list: "
        + ", ".join(result["operators"]),
    ]
    if share is not None:
        lines.append(f"labels as fp32 on the calibration pictures: {share:.1%}")
    return "\n".join([*lines, "on the Jetson, with this file:", result["command"]])
