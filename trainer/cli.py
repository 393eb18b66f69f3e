"""`smartbin-train`: the model factory; exit 0 ok, 1 run-time fault, 2 bad usage or recipe."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import MissingExtraError, SmartbinError, UsageError
from trainer import (
    cli_challenge,
    cli_data,
    cli_learn,
    cli_operators,
    cli_release,
    cli_report,
    cli_segment,
    cli_tensorrt,
    cli_train,
)
from trainer.options import (
    AsJson,
    BundleName,
    BundlePath,
    Cache,
    Data,
    DataName,
    Device,
    Licence,
    Masks,
    Names,
    Out,
    RunFolder,
    Settings,
    TrainNames,
    ValNames,
)
from trainer.progress import bar

# Before torch is loaded: OpenMP threads that spin while they wait made every operation last a
# time slice of 8 ms on a machine shared with other work; asleep they cost 0.1 ms.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    help="The model factory: a folder of labelled pictures becomes a verified int8 bundle.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.registered_commands += cli_data.app.registered_commands
app.registered_commands += cli_train.app.registered_commands
app.registered_commands += cli_tensorrt.app.registered_commands
app.registered_commands += cli_operators.app.registered_commands
app.registered_commands += cli_learn.app.registered_commands
app.registered_commands += cli_release.app.registered_commands
app.registered_commands += cli_challenge.app.registered_commands
app.registered_commands += cli_report.app.registered_commands
app.registered_commands += cli_segment.app.registered_commands
TRAINER_PACKAGES = frozenset({"torch", "onnx", "onnxscript", "optuna", "rich"})


def main() -> None:
    """Entry point: a SmartbinError is a sentence on standard error, never a traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINER_PACKAGES:
            raise
        wanted = MissingExtraError(
            f"smartbin-train needs {error.name} for this: pip install 'smartbin[trainer]'"
        )
        print(wanted, file=sys.stderr)
        sys.exit(wanted.exit_code)
    except SmartbinError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def say(text: str) -> None:
    """A line for the person at the terminal; standard output stays for results."""
    print(text, file=sys.stderr, flush=True)


@app.command()
def evaluate(
    bundle: BundlePath,
    data: Data,
    names: Names = None,
    csv: Annotated[Path | None, typer.Option(help="Probabilities of each picture.")] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="audit's groups.csv: objects in --train-names are told apart."),
    ] = None,
    train_names: TrainNames = None,
    as_json: AsJson = False,
) -> None:
    """Score a bundle on labelled pictures, through the very code that runs in the bin."""
    from trainer import evaluate as scorer
    from trainer import kin
    from trainer.data import scan

    photos = scan(data, names)
    sides = kin.sides(data, photos, groups, train_names)
    with bar("evaluate", len(photos)) as tick:
        truth, found, labels = scorer.answers(bundle, photos, csv, tick)
    result = scorer.report(truth, found, labels)
    told = kin.parted(truth == found, *sides) if sides else None
    if as_json:
        print(json.dumps(result.as_dict() | ({"groups": told.as_dict()} if told else {})))
    else:
        print("\n".join([scorer.as_text(result)] + ([told.as_text()] if told else [])))


@app.command()
def quantize(
    data: Data,
    run: RunFolder,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    out: Out = Path("models"),
    name: BundleName = "student",
    size_px: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=1024,
            help="Side of the picture, where other than trained with: smaller is sooner.",
        ),
    ] = None,
    data_name: DataName = "unnamed",
    data_licence: Licence = "not stated",
    as_json: AsJson = False,
) -> None:
    """Export a training, make it int8, calibrate and measure it, and write both bundles.

    Every operator's int8 error goes to NAME.int8.operators.csv beside them, worst first.
    """
    from trainer import pipeline
    from trainer.checkpoint import load_trained

    trained = load_trained(run / "best.pt").at(size_px)
    seed = trained.recipe.training.seed
    source = source_of(data, train_names, val_names, seed, data_name, data_licence)
    figures = pipeline.package(trained, source, masks, out, name, say)
    print(json.dumps(figures) if as_json else _figures_text(figures, out, name))


@app.command("all")
def run_all(
    data: Data,
    preset: Annotated[
        str,
        typer.Option(
            help="quick: 500 pictures, 2 epochs; dev: 1500, 6 epochs; full: the whole recipe; "
            "custom: your --recipe."
        ),
    ] = "quick",
    pictures: Annotated[
        int | None, typer.Option(min=4, help="At most so many, instead of the preset's.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Folder of the training.")] = None,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    recipe: Annotated[str | None, typer.Option(help="Instead of the preset's recipe.")] = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the bundles.")] = None,
    name: BundleName = "student",
    data_name: DataName = "unnamed",
    data_licence: Licence = "not stated",
    cache: Cache = Path("runs/cache"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """From a folder to a verified int8 bundle in one go."""
    from trainer.presets import preset_of
    from trainer.recipe import find_recipe

    wanted = preset_of(preset, recipe, pictures)
    chosen = find_recipe(wanted.recipe, overrides_of(settings))
    seed, most = chosen.training.seed, wanted.pictures
    source = source_of(data, train_names, val_names, seed, data_name, data_licence, most)
    from trainer import pipeline
    from trainer.checkpoint import load_trained

    folder = run or Path("runs") / preset
    folders = pipeline.Folders(folder, cache, masks)
    where = device_of(device)
    best = pipeline.train_student(chosen, source, folders, device=where, say=say)
    target = out or folder / "bundle"
    figures = pipeline.package(load_trained(best), source, masks, target, name, say)
    print(json.dumps(figures) if as_json else _figures_text(figures, target, name))


def overrides_of(settings: list[str] | None) -> dict[str, Any]:
    """["training.epochs=3"] to {"training.epochs": 3}; the recipe checks names and bounds."""
    found: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals or key.count(".") != 1:
            raise UsageError(f"--set {setting}: must be SECTION.KEY=VALUE, as training.epochs=3")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def device_of(wanted: str) -> str:
    """The device to train on; auto takes a GPU where there is one."""
    import torch

    there = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if there else "cpu"
    if wanted.startswith("cuda") and not there:
        raise UsageError(f"--device {wanted}: no CUDA device is here; use --device cpu")
    if wanted != "cpu" and not wanted.startswith("cuda"):
        raise UsageError(f"--device {wanted}: must be auto, cpu or cuda")
    return wanted


def source_of(
    data: Path,
    train_names: Path | None,
    val_names: Path | None,
    seed: int,
    data_name: str = "unnamed",
    licence: str = "not stated",
    most: int | None = None,
) -> Any:
    """Both lists, or neither: then 15 % of each class are drawn for validation."""
    from trainer.bundles import Source
    from trainer.data import scan, split_random, thin_out

    if (train_names is None) != (val_names is None):
        raise UsageError("--train-names and --val-names: give both lists or neither")
    if train_names is None:
        photos = scan(data)
        train, val = split_random(thin_out(photos, most or len(photos), seed), 0.15, seed)
    else:
        train, val = scan(data, train_names), scan(data, val_names)
        if most is not None:
            train = thin_out(train, max(len(train.classes), round(most * 0.85)), seed)
            val = thin_out(val, max(len(val.classes), round(most * 0.15)), seed)
    return Source(data_name, licence, train, val, train_names, val_names)


def _figures_text(figures: dict[str, Any], out: Path, name: str) -> str:
    from trainer.scoring import share_text

    lines = []
    for precision in ("fp32", "int8"):
        found = figures[precision]
        scored = share_text(found["accuracy"], found["n"])
        line = f"{out / name}.{precision}.onnx: {scored} on validation"
        line += f", ECE {found['ece']:.3f}, {found['bytes']:,} bytes"
        if "background" in found:
            line += f", brown table {found['background']['brown']:.1f} %"
        lines.append(line)
    agreement = figures["int8_label_agreement"]
    lines.append(f"int8 ({figures['int8_variant']}) says what fp32 says on {agreement:.2%}")
    if "operators" in figures:
        lines.append(f"every operator's int8 error: {figures['operators']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
