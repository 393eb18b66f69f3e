"""`smartbin-train operators`, mounted by trainer.cli."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import UsageError
from trainer.options import AsJson, BundlePath, Data, Names

STRANGER_DB = 10.0  # rounding to 8 bits leaves 40 dB of a weight, another training's about 0
app = typer.Typer()


@app.command("operators")
def list_operators(
    bundle: BundlePath,
    data: Data,
    names: Names = None,
    fp32: Annotated[
        Path | None,
        typer.Option("--fp32", help="Of the same `quantize`; default: NAME.fp32.onnx beside it."),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="So many, alike of each class.")] = 16,
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV file of all operators, worst first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What int8 costs each operator of a bundle, in dB against its fp32 form, worst first."""
    from edge.bundle import load_bundle
    from edge.pictures import read_picture
    from edge.preprocess import network_input
    from trainer import operators
    from trainer.audit_run import save_whole
    from trainer.data import scan
    from trainer.progress import bar
    from trainer.quantize import calibration_rows

    plain, int8 = load_bundle(_fp32_of(bundle, fp32)), load_bundle(bundle)
    takes_bytes = _refuse_strangers(plain, int8)
    photos = scan(data, names)
    photos = photos.subset(calibration_rows(photos.targets, pictures, 0))
    spec = int8.preprocessing
    inputs = [network_input(read_picture(p), spec, takes_bytes=takes_bytes) for p in photos.paths]
    with bar("operators", len(inputs)) as tick:
        rows = operators.measure(plain.onnx, int8.onnx, inputs, tick)
    if out is not None:
        save_whole(out, operators.as_csv(rows))
    print(json.dumps([asdict(row) for row in rows]) if as_json else operators.as_text(rows))


def _refuse_strangers(plain: Any, int8: Any) -> bool:
    """Whether the two take bytes; raises UsageError where they cannot be of one `quantize`."""
    from edge.runtime import Runtime
    from trainer import operators

    kinds = [(Runtime(b.onnx, name=b.name).takes_bytes, b.preprocessing) for b in (plain, int8)]
    found = operators.weight_ratios(plain.onnx, int8.onnx).values()
    ratios = [whole for whole, *_ in found if whole is not None]
    if kinds[0] != kinds[1] or not ratios or min(ratios) < STRANGER_DB:
        raise UsageError(
            f"--bundle {int8.name}: is no int8 form of {plain.name}, its inputs or weights are "
            "others; name the fp32 bundle that the same `quantize` wrote with --fp32"
        )
    return kinds[1][0]


def _fp32_of(bundle: Path, fp32: Path | None) -> Path:
    if fp32 is not None:
        return fp32
    if not bundle.name.endswith(".int8.onnx"):
        raise UsageError(f"--bundle {bundle}: is not named NAME.int8.onnx; name --fp32 as well")
    return bundle.with_name(bundle.name.removesuffix(".int8.onnx") + ".fp32.onnx")
