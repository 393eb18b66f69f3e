"""`smartbin-train gather` and `learn`: what was uncertain in the field becomes training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import UsageError
from trainer.options import (
    AsJson,
    Cache,
    Data,
    Device,
    Masks,
    RunFolder,
    Settings,
    TrainNames,
    ValNames,
)

app = typer.Typer()
Export = Annotated[Path, typer.Argument(help="The .zip of the monitor, or its folder.")]
Base = Annotated[Path, typer.Option("--base", help="best.pt of the student that runs.")]
Batches = Annotated[list[Path], typer.Option("--batch", help="Folder of `gather`; repeatable.")]


@app.command()
def gather(
    export: Export,
    out: Annotated[Path, typer.Option("--out", help="A new folder for this batch.")],
    classes: Annotated[str, typer.Option(help="What the bins sort, as a,b,c.")] = (
        "cardboard,glass,metal,paper,plastic,trash"
    ),
) -> None:
    """Relabelled pictures of the monitor as a folder to train on, with where all came from."""
    from trainer.gather import gather as run

    found = run(export, out, [name.strip() for name in classes.split(",")])
    counts = ", ".join(f"{name} {n}" for name, n in sorted(found.pictures.items()))
    total = sum(found.pictures.values())
    print(f"{out}: {total} pictures in {found.groups} groups ({counts}); {found.unknown} fit none")


@app.command()
def learn(
    data: Data,
    run: RunFolder,
    base: Base,
    batch: Batches,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    recipe: Annotated[str, typer.Option("--recipe", help="A shipped recipe, or .toml.")] = "learn",
    settings: Settings = None,
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Teach a student batches from the field; say what each gained, and lost on the old data."""
    from trainer.cli import device_of, overrides_of, source_of
    from trainer.recipe import find_recipe

    chosen = find_recipe(recipe, overrides_of(settings))
    source = source_of(data, train_names, val_names, chosen.training.seed)
    from trainer import learn as learning
    from trainer.pipeline import Folders

    if not batch:
        raise UsageError("--batch: name at least one folder that `gather` wrote")
    found = learning.learn(
        base,
        source,
        batch,
        Folders(run, cache, masks),
        chosen,
        device=device_of(device),
        say=lambda text: typer.echo(text, err=True),
    )
    print(json.dumps([one.as_dict() for one in found]) if as_json else learning.as_text(found))


@app.command()
def blend(
    data: Data,
    first: Annotated[Path, typer.Option("--first", help="best.pt of one training.")],
    second: Annotated[Path, typer.Option("--second", help="best.pt or last.pt of another.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the blend's best.pt.")],
    val_names: ValNames = None,
    masks: Masks = None,
    by_photos: Annotated[
        bool, typer.Option("--by-photos", help="Choose by the photos, not by swapped ones too.")
    ] = False,
) -> None:
    """Weights between two trainings of one network, the share chosen on validation."""
    from trainer.blend import blend as run
    from trainer.checkpoint import load_trained
    from trainer.data import scan
    from trainer.pipeline import preprocessing_of
    from trainer.val import build_val

    spec = preprocessing_of(load_trained(first).recipe)
    val = build_val(scan(data, val_names), spec, masks)
    run(first, second, val, out, by_photos=by_photos, say=typer.echo)
    typer.echo(f"{out / 'best.pt'}: to go on from, or for `quantize --run {out}`")


@app.command()
def extra(
    data: Data,
    photos: Annotated[Path, typer.Option("--photos", help="Folder of the extra photos.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder of links and lists.")],
    train_names: TrainNames = None,
    checked: Annotated[
        Path | None, typer.Option("--list", help="CSV of checked labels; else AquaTrash's.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Before the names of the extra photos.")] = "aqua",
) -> None:
    """Lay photos with checked labels beside a data set, a part of them as a field check."""
    from importlib import resources

    from trainer.data import scan
    from trainer.extra import assemble

    names = list(scan(data, train_names).names)
    shipped = Path(str(resources.files("trainer") / "lists" / "aquatrash.csv"))
    counts = assemble(data, names, photos, checked or shipped, out, prefix)
    typer.echo(
        f"{out}: {len(names)} + {counts['train']} to train on (train.txt), {counts['field']} in "
        f"{out / 'field'}, for evaluate alone"
    )
