"""`smartbin-train audit`, `split`, `crossval` and `curve`: about the pictures themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import UsageError
from trainer import splits, twins
from trainer.options import (
    AsJson,
    Data,
    Device,
    Masks,
    RecipeName,
    Settings,
    TrainNames,
    ValNames,
)

app = typer.Typer()
GroupsFile = Annotated[
    Path | None, typer.Option("--groups", help="groups.csv of `audit`, for --kind grouped.")
]
Kind = Annotated[str, typer.Option("--kind", help="official, random or grouped.")]
ValShare = Annotated[float, typer.Option("--val-share", help="Held out where --folds is 1, 0..1.")]


@app.command()
def audit(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", help="Where audit.html, audit.json and groups.csv go.")
    ] = Path("runs/audit"),
    train_names: TrainNames = None,
    val_names: ValNames = None,
    twin: Annotated[
        float, typer.Option("--twin", help="Cosine from which two pictures are near twins.")
    ] = twins.TWIN_COSINE,
    link: Annotated[
        float, typer.Option("--link", help="Cosine from which two pictures are in one group.")
    ] = twins.GROUP_COSINE,
    max_group: Annotated[
        int, typer.Option("--max-group", help="Pictures a group may grow to, against chains.")
    ] = twins.MAX_GROUP,
    near: Annotated[bool, typer.Option(help="Look for near twins, which needs torch.")] = True,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Twins, label conflicts, damaged and odd pictures; writes a report and a groups file."""
    from trainer import audit_report, audit_run

    if (train_names is None) != (val_names is None):
        raise UsageError("--train-names and --val-names: give both lists or neither")
    limits = _limits(twin, link, max_group)
    where = _device_if_there(device) if near else None
    found = audit_run.audit(data, out, limits, device=where, say=_say)
    result = audit_run.as_dict(found)
    leak = None
    if train_names is not None and val_names is not None:
        leak = result["lists"] = audit_run.list_leak(found, train_names, val_names)
    audit_run.save_whole(out / "groups.csv", audit_run.groups_csv(found).encode())
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    audit_run.save_whole(out / "audit.json", text.encode())
    page = audit_report.as_html(found, out, leak)
    audit_run.save_whole(out / "audit.html", page.encode())
    print(json.dumps(result) if as_json else _audit_text(result, out))


def _limits(twin: float, link: float, max_group: int) -> Any:
    from trainer.audit_run import Limits

    for name, value in (("--twin", twin), ("--link", link)):
        if not 0.3 <= value <= 1:
            raise UsageError(f"{name} {value}: must be 0.3 to 1; strangers have a cosine of 0.3")
    if link > twin:
        raise UsageError(f"--link {link}: must be at most --twin {twin}, or twins would be parted")
    if max_group < 2:
        raise UsageError(f"--max-group {max_group}: must be 2 or more")
    return Limits(twin, link, max_group)


def _device_if_there(wanted: str) -> str:
    """Without torch any word will do: the audit says that near twins are not looked for."""
    from trainer.cli import device_of

    try:
        return device_of(wanted)
    except ModuleNotFoundError:
        return "cpu"


def _audit_text(result: dict[str, Any], out: Path) -> str:
    groups = result["groups"]
    lines = [f"{'FAULT' if f['grave'] else 'note'}: {f['sentence']}" for f in result["findings"]]
    share = result["pictures_with_twin"] / max(1, result["pictures"])
    lines += [
        f"{result['pictures']} pictures in {len(result['classes'])} classes, "
        f"{result['faults']} faults",
        f"{len(result['exact'])} exact and {result['twins'] - len(result['exact'])} near twins; "
        f"{share:.1%} of the pictures have one",
        f"{groups['n']} groups, {groups['pictures_in_groups']} pictures in groups of several, "
        f"{groups['largest']} in the largest",
    ]
    lines += [f"{key.replace('_', ' ')}: {value}" for key, value in result.get("lists", {}).items()]
    return "\n".join([*lines, f"{out / 'audit.html'}: the report"])


@app.command()
def split(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Where the lists and split.json go.")],
    kind: Kind = "grouped",
    folds: Annotated[int, typer.Option("--folds", help="K folds; 1 holds a share out.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    val_share: ValShare = splits.VAL_SHARE,
    groups: GroupsFile = None,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    as_json: AsJson = False,
) -> None:
    """Write lists of names to train and validate on, with hashes of what they were made from."""
    plan = splits.Plan(kind, folds, seed, val_share)
    photos, numbers, lists = _parts(data, plan, groups, train_names, val_names)
    found = splits.split(photos, plan, numbers, lists)
    card = splits.write(photos, plan, found, out, groups if plan.kind == "grouped" else None)
    if as_json:
        print(json.dumps(card))
        return
    for part in card["splits"]:
        print(f"{out / part['folder']}: {part['train']['n']} train, {part['val']['n']} val")


def _parts(
    data: Path, plan: splits.Plan, groups: Path | None, train: Path | None, val: Path | None
) -> tuple[Any, Any, Any]:
    """Photos, and the groups or the lists that the plan needs; what it cannot use is refused."""
    from trainer.data import scan

    if (train is None) != (val is None):
        raise UsageError("--train-names and --val-names: give both lists or neither")
    if train is not None and plan.kind != "official":
        raise UsageError(f"--kind {plan.kind}: takes no lists; they belong to --kind official")
    if groups is not None and plan.kind != "grouped":
        raise UsageError(f"--kind {plan.kind}: takes no --groups; they belong to --kind grouped")
    photos = scan(data)
    numbers = splits.read_groups(groups, photos) if groups is not None else None
    if train is None or val is None:
        return photos, numbers, None
    sides = [splits.positions(photos, scan(data, names)) for names in (train, val)]
    return photos, numbers, splits.Split(sides[0], sides[1])


@app.command()
def crossval(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the folds' trainings.")],
    recipe: RecipeName = "smartbin",
    kind: Kind = "grouped",
    folds: Annotated[int, typer.Option("--folds", help="K folds; 1 holds a share out.")] = 5,
    seeds: Annotated[str, typer.Option("--seeds", help="Of split and training, as 0,1,2.")] = "0",
    val_share: ValShare = splits.VAL_SHARE,
    groups: GroupsFile = None,
    train_names: TrainNames = None,
    val_names: ValNames = None,
    masks: Masks = None,
    settings: Settings = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train each fold, for each seed; a finished fold is not run again."""
    from trainer.cli import device_of, overrides_of
    from trainer.recipe import find_recipe

    plan = splits.Plan(kind, folds, 0, val_share)
    chosen = find_recipe(recipe, overrides_of(settings))
    photos, numbers, lists = _parts(data, plan, groups, train_names, val_names)
    from trainer import crossval as runner

    job = runner.Job(
        chosen,
        photos,
        plan,
        _numbers(seeds),
        out,
        groups=numbers,
        lists=lists,
        masks=masks,
        device=device_of(device),
    )
    result = runner.crossval(job, _say)
    print(json.dumps(result) if as_json else runner.as_text(result))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds {text}: must be whole numbers, as 0,1,2") from error


def _say(text: str) -> None:
    from trainer.cli import say

    say(text)


@app.command()
def curve(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the trainings.")],
    train_names: TrainNames,
    val_names: ValNames,
    recipe: RecipeName = "smartbin",
    shares: Annotated[
        str, typer.Option("--shares", help="Of the training list, over 0 to 1.")
    ] = "0.125,0.25,0.5,1",
    seeds: Annotated[str, typer.Option("--seeds", help="Of draw and training, as 0,1,2.")] = "0",
    target: Annotated[
        float, typer.Option("--target", help="Accuracy, 0..1: how many pictures it would need.")
    ] = 0.9625,
    groups: Annotated[
        Path | None, typer.Option("--groups", help="groups.csv of `audit`: draw whole groups.")
    ] = None,
    masks: Masks = None,
    settings: Settings = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train on parts of the data, for as many steps each; say what more pictures would give."""
    from trainer.cli import device_of, overrides_of
    from trainer.recipe import find_recipe

    plan = splits.Plan("official")
    chosen = find_recipe(recipe, overrides_of(settings))
    photos, _, lists = _parts(data, plan, None, train_names, val_names)
    numbers = splits.read_groups(groups, photos) if groups is not None else None
    from trainer import curve as runner
    from trainer.crossval import Job

    job = Job(
        chosen,
        photos,
        plan,
        _numbers(seeds),
        out,
        groups=numbers,
        lists=lists,
        masks=masks,
        device=device_of(device),
    )
    result = runner.curve(job, _shares(shares), target, _say)
    print(json.dumps(result) if as_json else runner.as_text(result))


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--shares {text}: must be numbers as 0.25,0.5,1") from error
