"""`smartbin-train teacher`, `distill` and `recipes`, mounted by trainer.cli."""

from __future__ import annotations

import json
from dataclasses import asdict
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
    RecipeName,
    RunFolder,
    Settings,
    TrainNames,
    ValNames,
)

app = typer.Typer()


@app.command()
def teacher(
    data: Data,
    run: RunFolder,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    recipe: RecipeName = "teacher-lite2",
    settings: Settings = None,
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
) -> None:
    """Train any recipe as a teacher, by the student's own loop; a killed run goes on."""
    best = _train(data, run, (train_names, val_names), masks, recipe, [], settings, cache, device)
    _say(f"{best}: ready for `smartbin-train distill --teacher {best}`")


@app.command()
def distill(
    data: Data,
    run: RunFolder,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    recipe: RecipeName = "smartbin",
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="best.pt of a teacher; repeatable, their logits are averaged; without one, the "
            "recipe's own teacher, or plain fine-tuning."
        ),
    ] = None,
    settings: Settings = None,
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
) -> None:
    """Train a student, with soft targets where there is a teacher; a killed run goes on.

    Several processes, on GPUs or hosts: torchrun --nproc-per-node 2 -m -- trainer.cli distill ...
    """
    named = list(teacher or [])
    best = _train(
        data, run, (train_names, val_names), masks, recipe, named, settings, cache, device
    )
    _say(f"{best}: ready for `smartbin-train quantize --run {run}`")


def _train(
    data: Path,
    run: Path,
    lists: tuple[Path | None, Path | None],
    masks: Path | None,
    recipe: str,
    teachers: list[Path],
    settings: list[str] | None,
    cache: Path,
    device: str,
) -> Path:
    from trainer.cli import device_of, overrides_of, source_of
    from trainer.recipe import find_recipe

    chosen = find_recipe(recipe, overrides_of(settings))
    source = source_of(data, *lists, chosen.training.seed)
    from trainer import parallel, pipeline

    folders = pipeline.Folders(run, cache, masks)
    with parallel.world(device_of(device)) as world:
        return pipeline.train_student(
            chosen,
            source,
            folders,
            teachers=teachers,
            device=world.device,
            say=_say if world.writes else _nothing,
            world=world,
        )


@app.command()
def compare(
    data: Data,
    run: RunFolder,
    recipe: Annotated[str, typer.Option("--recipes", help="Names or .toml files, as a,b,c.")],
    epochs: Annotated[int, typer.Option(min=1, help="The same for all of them.")],
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    size_px: Annotated[
        int | None, typer.Option("--size-px", help="One input size for all; else each its own.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(help="At most so many, classes in proportion.")
    ] = None,
    scratch: Annotated[
        bool,
        typer.Option(help="From nothing where weights cannot be had; the table says so."),
    ] = False,
    settings: Settings = None,
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Several recipes on one split with one budget of epochs; the table, as CSV and Markdown."""
    from trainer.cli import device_of, overrides_of, source_of
    from trainer.recipe import find_recipe

    chosen = [find_recipe(name, overrides_of(settings)) for name in recipe.split(",")]
    if len({found.name for found in chosen}) < len(chosen):
        raise UsageError(f"--recipes {recipe}: two have one name; their runs would share a folder")
    seed = chosen[0].training.seed
    source = source_of(data, train_names, val_names, seed, most=pictures)
    from trainer import compare as runner
    from trainer import pipeline

    budget = runner.Budget(epochs, size_px, scratch)
    folders = pipeline.Folders(run, cache, masks)
    rows = runner.compare(chosen, source, folders, budget, device=device_of(device), say=_say)
    print(json.dumps([asdict(row) for row in rows]) if as_json else runner.as_markdown(rows))


@app.command()
def search(
    data: Data,
    run: RunFolder,
    trials: Annotated[int, typer.Option(min=1, help="In all, those of before counted.")],
    recipe: RecipeName = "smartbin",
    storage: Annotated[Path, typer.Option(help="SQLite file; a killed search goes on.")] = Path(
        "search.db"
    ),
    space: Annotated[
        Path | None, typer.Option(help="TOML, a table space.SECTION.KEY each; default: 6 settings.")
    ] = None,
    best: Annotated[Path, typer.Option(help="Where the best recipe is written.")] = Path(
        "best.toml"
    ),
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    pictures: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    settings: Settings = None,
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Look for better settings with Optuna: pruned, resumable, the best written as a recipe."""
    from trainer import search as searcher
    from trainer.cli import device_of, overrides_of, source_of
    from trainer.recipe import Recipe, find_recipe

    chosen = find_recipe(recipe, overrides_of(settings))
    dials = searcher.read_space(space)
    source = source_of(data, train_names, val_names, chosen.training.seed, most=pictures)
    from trainer import checkpoint, pipeline

    def train(tried: Recipe, folder: Path, report: searcher.Report) -> float:
        folders = pipeline.Folders(folder, cache, masks)
        where = device_of(device)
        pipeline.train(tried, source, folders, device=where, say=_nothing, watch=report)
        return float(checkpoint.load(folder / "last.pt")["best"][0])

    found = searcher.Search(chosen, dials, storage, train=train, folder=run, say=_say)
    result = found.run(trials)
    searcher.write_best(result, best)
    line = {"best": result.best, "recipe": str(best), "finished": result.finished}
    counted = {**line, "pruned": result.pruned, "failed": result.failed}
    print(json.dumps(counted) if as_json else f"{best}: {result.best:.2%} on validation")


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """The shipped recipes, a line each; their files say where each comes from."""
    from trainer.recipe import recipe_summaries

    found = recipe_summaries()
    if as_json:
        print(json.dumps(found))
        return
    width = max(map(len, found))
    for name, summary in found.items():
        print(f"{name:<{width}}  {summary}")


def _say(text: str) -> None:
    from trainer.cli import say

    say(text)


def _nothing(text: str) -> None:
    """The other processes of a training are silent."""
