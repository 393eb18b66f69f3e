"""`smartbin-train background`, `factorial`, `reject` and `costs`, mounted by trainer.cli."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import UsageError
from trainer.options import AsJson, BundlePath, Data, Masks, Names
from trainer.progress import bar

app = typer.Typer()

Segmenter = Annotated[str, typer.Option(help="As in config.toml: none, tiny, rembg.")]
Judge = Annotated[str, typer.Option(help="both: the cut-out and the whole frame; or cutout.")]
Write = Annotated[bool, typer.Option("--write", help="Put it into the bundle, one version up.")]
LEAST_SHARE, MOST_SHARE = 0.5, 0.999


@app.command()
def background(
    bundle: BundlePath,
    data: Data,
    masks: Annotated[Path, typer.Option("--masks", help="CLASS/NAME.png saliency.")],
    names: Names = None,
    segmenter: Segmenter = "none",
    judge: Judge = "both",
    report: Annotated[Path | None, typer.Option(help="One HTML page with pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """The background challenge: the same items on brown wood, other surfaces and cardboard."""
    from trainer import background as challenge
    from trainer.background_views import ALL
    from trainer.data import scan

    album = challenge.album_of(scan(data, names), masks)
    with bar("backgrounds", int(album.good.sum()) * len(ALL)) as tick:
        result = challenge.run(bundle, album, segmenter=segmenter, judge=judge, tick=tick)
    if report is not None:
        from trainer import background_page

        say(f"{background_page.write(report, result, album)}: opens in any browser, offline")
    print(json.dumps(result.as_dict()) if as_json else challenge.as_text(result))


@app.command()
def factorial(
    bundle: BundlePath,
    frames: Annotated[
        Path | None, typer.Option(help="Rendered pictures with catalogue.json.")
    ] = None,
    segmenter: Segmenter = "none",
    judge: Judge = "both",
    report: Annotated[Path | None, typer.Option(help="One HTML page with pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """The same rendered item on many surfaces: how often does the surface change the label?"""
    from edge.shipped import samples
    from trainer import factorial as test
    from trainer.rendered import load

    folder = frames or samples()
    with bar("items on surfaces", len(test.repeated(load(folder)))) as tick:
        result = test.run(bundle, folder, segmenter=segmenter, judge=judge, tick=tick)
    if report is not None:
        from trainer import factorial_page

        say(f"{factorial_page.write(report, result)}: opens in any browser, offline")
    print(json.dumps(result.as_dict()) if as_json else test.as_text(result))


@app.command()
def reject(
    bundle: BundlePath,
    data: Data,
    names: Names = None,
    masks: Masks = None,
    unknown: Annotated[
        Path | None, typer.Option(help="Rendered strange things, in tune and test.")
    ] = None,
    sorts: Annotated[float, typer.Option(help="Share of the items still sorted.")] = 0.95,
    kind: Annotated[str, typer.Option(help="Take this measure instead of the best.")] = "",
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Measure how a bundle can tell that a thing is none of its classes; choose, and write it."""
    from trainer import reject as study
    from trainer.data import scan
    from trainer.reject_data import gather
    from trainer.reject_text import as_text
    from trainer.views import count_views

    _check_share("--sorts", sorts)
    photos = scan(data, names)
    with bar("items and strange things", count_views(photos)) as tick:
        seen = gather(bundle, photos, masks, unknown, tick)
    found = study.study(seen, share=sorts)
    chosen = _named(found, kind) if kind else study.chosen_of(found)
    result: dict[str, Any] = {
        "sorts": sorts,
        "candidates": [study.figures_of(seen, m) for m in found],
        "chosen": chosen.kind,
        "at_the_point": study.operating(seen, chosen),
        "before": study.before(seen),
    }
    if write:
        figures = {"candidates": result["candidates"], **result["at_the_point"]}
        result["written"] = study.write(bundle, chosen, sorts, figures).model_id
    print(json.dumps(result) if as_json else as_text(result))


@app.command()
def costs(
    bundle: BundlePath,
    data: Data,
    names: Names = None,
    masks: Masks = None,
    table: Annotated[
        Path | None, typer.Option(help="What mistakes cost, TOML; left out, the shipped one.")
    ] = None,
    sorts: Annotated[float, typer.Option(help="Share of the items to sort, if it can be.")] = 0.95,
    least_accuracy: Annotated[float, typer.Option(help="Of what is sorted; it must be.")] = 0.95,
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Set each class's threshold so that the bin costs least by a table of what mistakes cost."""
    from edge.bundle import load_bundle
    from trainer import costs as search
    from trainer.cost_table import SHIPPED, read_table
    from trainer.costs_text import as_text
    from trainer.data import scan
    from trainer.evaluate import truth_of
    from trainer.views import KNOWN, look_at_items
    from trainer.witness import Witness

    _check_share("--sorts", sorts)
    _check_share("--least-accuracy", least_accuracy)
    model = load_bundle(bundle)
    prices = read_table(table or SHIPPED, model.labels)
    photos = scan(data, names)
    truth = truth_of(photos, model.labels)
    with bar("items", len(photos) * len(KNOWN)) as tick:
        seen = look_at_items(Witness(model), photos, masks, tick)
    items = search.items_of(model, seen, truth)
    wishes = {"sorts": sorts, "least_accuracy": least_accuracy}
    choice = search.choose(items, prices, model, **wishes)
    views = {
        view: search.view_outcome(items, seen, view, choice.thresholds, prices)
        for view in dict.fromkeys(seen.views)
    }
    result: dict[str, Any] = {
        **wishes,
        **search.figures_of(choice, model.labels),
        "thresholds_before": dict(zip(model.labels, model.thresholds, strict=True)),
        "views": {view: found.as_dict() for view, found in views.items()},
    }
    if write:
        done = search.write(bundle, choice, prices, wishes, views["original"])
        result["written"] = done.model_id
    print(json.dumps(result) if as_json else as_text(result))


def _named(found: list[Any], kind: str) -> Any:
    kinds = [m.kind for m in found]
    if kind not in kinds:
        raise UsageError(f"--kind {kind}: must be one of {', '.join(sorted(kinds))}")
    return found[kinds.index(kind)]


def _check_share(option: str, share: float) -> None:
    if not LEAST_SHARE <= share <= MOST_SHARE:
        raise UsageError(f"{option} {share:g}: must be {LEAST_SHARE:g} to {MOST_SHARE:g}")


def say(text: str) -> None:
    """A line for the person at the terminal; standard output stays for results."""
    print(text, file=sys.stderr, flush=True)
