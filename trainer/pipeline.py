"""The order of work, from a folder of pictures to a verified bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import load_bundle
from edge.preprocess import Preprocessing, Tensor
from trainer import bundles, operators, quantize
from trainer.audit_run import save_whole
from trainer.augment import Augmenter, Cutouts
from trainer.backbones import normalisation
from trainer.background import KINDS, challenge
from trainer.bundles import Model, Source
from trainer.calibrate import calibrate
from trainer.checkpoint import Trained
from trainer.data import MAX_ASPECT, check_classes, load_masks, load_pixels
from trainer.evaluate import logits_of, predict, truth_of
from trainer.expect import reference_of
from trainer.export import export
from trainer.memory import keep_freed_memory, memory_advice
from trainer.parallel import ALONE, World
from trainer.progress import bar
from trainer.rawinput import take_bytes
from trainer.recipe import Recipe, find_recipe
from trainer.scoring import Labels, accuracy_entry, report
from trainer.segment.truth import is_whole
from trainer.surfaces import training_bank
from trainer.teachers import load as load_teachers
from trainer.train import Run, TrainSet, Watch
from trainer.val import build_val

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run reads and writes."""

    run: Path
    cache: Path
    masks: Path | None


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """What the edge must do to a picture for this recipe's network."""
    mean, std = normalisation(recipe.network)
    return Preprocessing(recipe.network.size_px, mean, std, MAX_ASPECT)


def train(
    recipe: Recipe,
    source: Source,
    folders: Folders,
    *,
    teachers: Sequence[Path] = (),
    device: str,
    say: Say,
    world: World = ALONE,
    watch: Watch = lambda epoch, score: None,
) -> Path:
    """Train, or go on where a killed training stopped; returns the best checkpoint.

    Several teachers are asked as one, their logits averaged. `watch` is called after every epoch.
    """
    check_classes(source.train, source.val)
    if device == "cpu":
        keep_freed_memory()
    teaching = load_teachers(teachers, source.train.classes, recipe.network)
    say = say if world.writes else _silent
    with memory_advice(recipe):
        with world.first_first():
            data = _train_set(recipe, source, folders, device, say)
        with bar("decode validation", len(source.val), shown=world.writes) as tick:
            val = build_val(source.val, preprocessing_of(recipe), folders.masks, tick)
        run = Run(recipe, data, val, folders.run, teacher=teaching, device=device, world=world)
        steps = run.steps_per_epoch
        total = recipe.training.epochs * steps
        with bar("train", total, run.epoch * steps, shown=world.writes) as tick:
            best = run.fit(tick, watch)
    why = f", none better in {recipe.training.patience_epochs}: stopped" if run.stale else ""
    say(f"best of {run.epoch} epochs: {run.best[0]:.2%} on validation (mean of surfaces){why}")
    return best


def train_student(
    recipe: Recipe,
    source: Source,
    folders: Folders,
    *,
    teachers: Sequence[Path] = (),
    device: str,
    say: Say,
    world: World = ALONE,
    adapt: Callable[[Recipe], Recipe] = lambda recipe: recipe,
) -> Path:
    """As `train`; where the recipe names a teacher and none is given, that is trained first.

    `adapt` may change the teacher's recipe, as a comparison does.
    """
    if recipe.soft.teacher and not teachers:
        own = adapt(find_recipe(recipe.soft.teacher))
        if world.writes:
            say(f"no --teacher: first the recipe's own, {own.name}")
        there = replace(folders, run=folders.run / "teacher")
        teachers = [train(own, source, there, device=device, say=say, world=world)]
    return train(recipe, source, folders, teachers=teachers, device=device, say=say, world=world)


def _silent(text: str) -> None:
    """What the other processes of a training say."""


def _train_set(recipe: Recipe, source: Source, folders: Folders, device: str, say: Say) -> TrainSet:
    with bar("decode training", len(source.train)) as tick:
        pixels = load_pixels(source.train, folders.cache, tick)
    cutouts = None
    if folders.masks is None:
        say("no --masks: backgrounds are not swapped, and the student will know one table only")
    elif recipe.augment.swap_share > 0:
        masks, good = load_masks(source.train, folders.masks)
        if recipe.augment.whole_only:
            good &= np.array([is_whole(*pair) for pair in zip(pixels, masks, strict=True)])
        bank = training_bank(recipe.augment.bank, recipe.training.seed)
        cutouts = Cutouts(masks, good, bank)
        say(f"{good.mean():.0%} of the training pictures have a mask good enough to swap with")
    mean, std = normalisation(recipe.network)
    augmenter = Augmenter(
        pixels, recipe.augment, mean=mean, std=std, cutouts=cutouts, device=device
    )
    train_set = source.train
    return TrainSet(augmenter, train_set.targets, train_set.classes, train_set.sha256())


def package(
    trained: Trained, source: Source, masks: Path | None, out: Path, name: str, say: Say
) -> dict[str, Any]:
    """Export, quantize, calibrate, measure, and write NAME.fp32 and NAME.int8 into `out`.

    Returns what was measured, for the table of experiments. Nothing is written into `out` before
    everything has been measured; the table of operators, NAME.int8.operators.csv, comes last.
    """
    spec = preprocessing_of(trained.recipe)
    fp32 = export(trained.net, spec.size_px)
    with bar("prepare validation", len(source.val)) as tick:
        val = quantize.prepared(source.val, spec, tick)
    truth = truth_of(source.val, trained.classes)
    examples = _calibration_inputs(trained.recipe, source)
    least = trained.recipe.int8.least_agreement
    int8 = quantize.quantize(fp32, examples, val, truth, least_agreement=least, spec=spec, say=say)
    figures: dict[str, Any] = {
        "int8_label_agreement": int8.chosen.agreement,
        "int8_variant": int8.chosen.name,
    }
    notes = _notes(trained, source, int8)
    models = []
    for precision, onnx, logits in (
        ("fp32", fp32, logits_of(fp32, val)),
        ("int8", int8.onnx, int8.logits),
    ):
        network = take_bytes(onnx, spec)
        calibration = calibrate(logits, truth)
        model = Model(network, precision, trained.classes, spec, calibration, [], notes)
        metrics, measured = measure(model, source, masks)
        told = {**notes, "reference": measured.pop("reference")}
        models.append(replace(model, metrics=metrics, notes=told))
        figures[precision] = {**measured, "bytes": len(network)}
    for model in models:  # what a kill interrupted before
        bundles.finish(out / f"{name}.{model.precision}.onnx")
    version = max(bundles.next_version(out / f"{name}.{m.precision}.onnx") for m in models)
    for model in models:
        bundles.write_bundle(out / f"{name}.{model.precision}.onnx", model, version)
    table = out / f"{name}.int8.operators.csv"
    try:
        lost = _operators(fp32, int8.onnx, val, truth)
    except Exception as error:  # onnxruntime's own share no base, and the bundles are good
        why = str(error).splitlines()[0] if str(error) else "no reason given"
        say(f"no table of operators for this network ({type(error).__name__}: {why})")
        table.unlink(missing_ok=True)  # one of another network would be taken for this one's
        return figures
    say(operators.as_text(lost))
    save_whole(table, operators.as_csv(lost))
    return {**figures, "operators": str(table)}


def _operators(fp32: bytes, int8: bytes, val: Tensor, truth: Labels) -> list[operators.Operator]:
    """Every operator's error on a few validation pictures of each class."""
    rows = quantize.calibration_rows(truth, operators.PICTURES, 0)
    with bar("operators", len(rows)) as tick:
        pictures = [val[i : i + 1] for i in rows]
        return operators.measure(quantize.preprocessed(fp32), int8, pictures, tick)


def _calibration_inputs(recipe: Recipe, source: Source) -> Tensor:
    count, seed = recipe.int8.calibration_pictures, recipe.training.seed
    chosen = quantize.calibration_rows(source.train.targets, count, seed)
    with bar("prepare calibration", len(chosen)) as tick:
        return quantize.prepared(source.train.subset(chosen), preprocessing_of(recipe), tick)


def _notes(trained: Trained, source: Source, int8: quantize.Quantized) -> dict[str, Any]:
    return {
        "recipe": told_recipe(trained.recipe),
        "seeds": {"training": trained.recipe.training.seed},
        "best_epoch": trained.epoch,
        **trained.notes,
        "data": source.card(),
        "agreement": {
            "int8_labels_as_fp32": round(int8.chosen.agreement, 5),
            "chosen": int8.chosen.name,
            "tried": [asdict(tried) for tried in int8.tried],
        },
        "chosen_by": "validation: best epoch, calibration variant, temperature and thresholds",
    }


def told_recipe(recipe: Recipe) -> dict[str, Any]:
    """As a card tells it: of a file of weights its folder and name, not where it lay here."""
    told = recipe.as_dict()
    start = Path(told["network"]["weights"])
    if start.is_absolute():
        told["network"]["weights"] = "/".join(start.parts[-2:])
    return told


def measure(
    model: Model, source: Source, masks: Path | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score a bundle before it is shipped, through the edge; (card entries, plain figures)."""
    split = source.val_list.stem if source.val_list else "random validation split"
    with tempfile.TemporaryDirectory(prefix="smartbin-measure-") as folder:
        path = Path(folder) / f"student.{model.precision}.onnx"
        bundles.write_bundle(path, model, 1)
        with bar(f"evaluate {model.precision}", len(source.val)) as tick:
            probs = predict(load_bundle(path), source.val, tick)
        scored = report(truth_of(source.val, model.labels), probs.argmax(1), model.labels)
        hits = round(scored.accuracy * scored.n)
        entries = [accuracy_entry(hits, scored.n, metric="accuracy", data=source.name, split=split)]
        entries[0]["macro_f1"] = round(scored.macro_f1, 5)
        figures: dict[str, Any] = {"n": scored.n, "accuracy": scored.accuracy}
        figures |= {"wilson_95": list(scored.wilson_95), "macro_f1": scored.macro_f1}
        figures["ece"] = model.calibration.ece_after
        figures["reference"] = reference_of(probs, split)
        if masks is not None:
            with bar(f"backgrounds {model.precision}", len(source.val)) as tick:
                figures["background"] = challenge(path, source.val, masks, tick=tick)
            entries += _background_entries(figures["background"], source.name, split)
    return entries, figures


def _background_entries(found: dict[str, float], data: str, split: str) -> list[dict[str, Any]]:
    n = int(found["n"])
    return [
        accuracy_entry(
            round(found[kind] * n / 100), n, metric=f"background {kind}", data=data, split=split
        )
        for kind in ("original", *KINDS)
    ]
