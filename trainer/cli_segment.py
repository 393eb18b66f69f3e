"""`smartbin-train segmenter` and `segmenter-eval`, mounted by trainer.cli."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.options import (
    AsJson,
    Cache,
    Data,
    DataName,
    Device,
    Licence,
    Names,
    Out,
    RecipeName,
    RunFolder,
    Settings,
    TrainNames,
    ValNames,
)
from trainer.progress import bar

app = typer.Typer()

CutMasks = Annotated[
    Path, typer.Option("--masks", help="CLASS/NAME.png, 0 background to 255 item, for each photo.")
]
Bundle = Annotated[
    Path, typer.Option("--bundle", help="NAME.onnx of a segmenter, with NAME.json beside it.")
]
Against = Annotated[
    Path | None, typer.Option("--against", help="A U^2-Net such as rembg's u2netp.onnx.")
]


@app.command()
def segmenter(
    data: Data,
    masks: CutMasks,
    run: RunFolder,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    recipe: RecipeName = "segmenter",
    settings: Settings = None,
    out: Out = Path("models"),
    data_name: DataName = "unnamed",
    data_licence: Licence = "not stated",
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train `tiny`, which cuts items out, from photos and masks; a killed run goes on.

    Writes OUT/segmenter.int8.onnx with its card, and RUN/segmenter.html.
    """
    from trainer.cli import device_of, overrides_of, source_of
    from trainer.segment.recipe import find

    chosen = find(recipe, overrides_of(settings))
    seed = chosen.fit.seed
    source = source_of(data, train_names, val_names, seed, data_name, data_licence)
    from trainer.segment import pipeline, scoring

    folders = pipeline.Folders(masks, run, out, cache)
    packed, page = pipeline.make(chosen, source, folders, device_of(device), _say)
    figures = {
        "bundle": str(packed.path),
        "report": str(page),
        "bytes": packed.card["bytes"],
        "threshold": packed.card["threshold"],
        "int8_variant": packed.tried[0].name,
        "int8_agreement": packed.tried[0].agreement,
        **scoring.results(packed.scores),
    }
    print(json.dumps(figures) if as_json else _as_text(figures))


@app.command("segmenter-eval")
def segmenter_eval(
    bundle: Bundle,
    data: Data,
    masks: CutMasks,
    names: Names = None,
    against: Against = None,
    as_json: AsJson = False,
) -> None:
    """IoU on photos and other surfaces, and milliseconds, beside another network's."""
    from trainer.data import scan
    from trainer.segment import compare

    contenders = [compare.ours(bundle)]
    if against is not None:
        contenders.append(compare.saliency_net(against))
    photos = scan(data, names)
    with bar("segment", len(photos) * (1 + 2 * len(contenders))) as tick:
        answers = compare.compare(contenders, photos, masks, tick)
    if not as_json:
        print(compare.as_text(answers))
        return
    found = dict(answers[0])
    if against is not None:
        found["against"] = answers[1]
    print(json.dumps(found))


def _as_text(figures: dict[str, Any]) -> str:
    photos, swapped, empty = figures["photos"], figures["swapped"], figures["empty"]
    return (
        f"{figures['bundle']}: {figures['bytes']:,} bytes; IoU {photos['iou_mean']:.3f} on "
        f"{photos['n']} photos ({photos['over_0.9']:.0%} over 0.9), {swapped['iou_mean']:.3f} on "
        f"other surfaces, {empty['seen_as_empty']:.1%} of the empty scenes seen as empty\n"
        f"int8 ({figures['int8_variant']}) draws fp32's masks with an IoU of "
        f"{figures['int8_agreement']:.3f}\n{figures['report']}: the report"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
