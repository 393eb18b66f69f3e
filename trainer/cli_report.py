"""`smartbin-train report` and `smartbin-train demo`, mounted by trainer.cli."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import UsageError

app = typer.Typer()

BundlePath = Annotated[Path, typer.Option("--bundle", help="NAME.onnx, with NAME.json beside it.")]
MAX_PORT = 65535


@app.command()
def report(
    bundle: BundlePath,
    data: Annotated[Path, typer.Option("--data", help="Folder with one folder per class.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the page and its CSV files.")],
    names: Annotated[
        Path | None, typer.Option("--names", help="List of file names, one a line.")
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Folder of a training; repeatable, the student's own first."),
    ] = None,
    teacher_run: Annotated[
        Path | None, typer.Option("--teacher-run", help="Folder of the teacher's training.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="CLASS/NAME.png: measure backgrounds as well.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=0, help="Misclassified pictures shown.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """One HTML page that opens offline: figures, charts, mistakes with maps, runs; CSV beside."""
    from trainer import report as maker
    from trainer.data import scan

    photos = scan(data, names)
    wish = maker.Wish(bundle, photos, out, tuple(run or ()), teacher_run, masks, most)
    figures = maker.make(wish, _say)
    print(json.dumps(figures) if as_json else _as_text(figures))


@app.command()
def reference(
    bundle: BundlePath,
    data: Annotated[Path, typer.Option("--data", help="Folder with one folder per class.")],
    names: Annotated[
        Path | None, typer.Option("--names", help="List of file names, one a line.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Put it into the bundle's card.")] = False,
) -> None:
    """How sure the bundle is on these pictures, by tenths: what a fleet's drift is told by."""
    from trainer import expect
    from trainer.data import scan
    from trainer.progress import bar

    photos = scan(data, names)
    with bar("evaluate", len(photos)) as tick:
        found = expect.measure(bundle, photos, names.stem if names else data.name, tick)
    if write:
        expect.write(bundle, found)
    print(json.dumps(found))


@app.command()
def demo(
    bundle: BundlePath,
    port: Annotated[int, typer.Option("--port", help="On this machine only.")] = 7860,
    segment: Annotated[
        str, typer.Option("--segment", help="How to cut the item out: tiny, none or rembg.")
    ] = "tiny",
    segment_model: Annotated[
        Path | None,
        typer.Option("--segment-model", help="An .onnx for tiny, or for rembg's u2net_custom."),
    ] = None,
    session: Annotated[str, typer.Option("--session", help="What rembg runs.")] = "u2netp",
) -> None:
    """A page on this machine: drop a picture, see what the student sees in it, and the cut-out."""
    from trainer import page

    if not 1 <= port <= MAX_PORT:
        raise UsageError(f"--port {port}: must be 1 to {MAX_PORT}")
    page.serve(bundle, port, _say, segmenter=segment, model=segment_model, session=session)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _as_text(figures: dict[str, Any]) -> str:
    low, high = figures["accuracy_wilson_95"]
    return (
        f"{figures['report']}: {figures['accuracy']:.2%} of {figures['n']} right "
        f"({low:.1%} to {high:.1%}), macro F1 {figures['macro_f1']:.3f}, "
        f"ECE {figures['ece_after']:.3f}"
    )
