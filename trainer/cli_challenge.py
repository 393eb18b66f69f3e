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
Table = Annotated[
    Path | None, typer.Option(help="What mistakes cost, TOML; left out, the shipped one.")
]
LeastAccuracy = Annotated[float, typer.Option(help="Of what is sorted; it must be.")]
SortedFirst = Annotated[
    bool,
    typer.Option("--sorted-first", help="Where --sorts and --least-accuracy cannot both be had."),
]
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
    rendered: Annotated[
        float, typer.Option(help="And of the rendered items at least this share; 0: not asked.")
    ] = 0.0,
    items: Annotated[
        bool, typer.Option(help="Learn from the folder's rendered items of split tune, too.")
    ] = True,
    kind: Annotated[str, typer.Option(help="Take this measure instead of the best.")] = "",
    costs: Annotated[
        bool, typer.Option("--costs", help="Then set thresholds as the command costs does.")
    ] = False,
    table: Table = None,
    keeps: Annotated[
        float, typer.Option(help="With --costs: of the items sorted till then, sort this share.")
    ] = 0.98,
    least_accuracy: LeastAccuracy = 0.95,
    sorted_first: SortedFirst = False,
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Measure how a bundle can tell that a thing is none of its classes; choose, and write it."""
    from trainer import costs_text
    from trainer import reject as study
    from trainer.data import scan
    from trainer.reject_data import gather
    from trainer.reject_text import as_text
    from trainer.views import count_views

    _check_share("--sorts", sorts)
    _check_share("--keeps", keeps)
    _check_share("--least-accuracy", least_accuracy)
    if rendered:
        _check_share("--rendered", rendered)
    photos = scan(data, names)
    with bar("items and strange things", count_views(photos)) as tick:
        seen = gather(bundle, photos, masks, unknown, tick, with_items=items)
    found = study.study(seen, share=sorts, rendered=rendered)
    chosen = _named(found, kind) if kind else study.chosen_of(found)
    shares = {"sorts": sorts, "sorts_rendered": rendered}
    result: dict[str, Any] = {
        **shares,
        "candidates": [study.figures_of(seen, m) for m in found],
        "chosen": chosen.kind,
        "at_the_point": study.operating(seen, chosen),
        "before": study.before(seen),
    }
    priced = None
    if costs or table is not None:
        wishes = (keeps, least_accuracy, sorted_first)
        priced = _priced(seen, study.applied(seen.bundle, chosen), table, *wishes)
        result["costs"] = priced.as_dict()
    if write:
        figures = {"candidates": result["candidates"], **result["at_the_point"]}
        result["written"] = study.write(bundle, chosen, shares, figures).model_id
        if priced is not None:
            result["written"] = priced.write(bundle)
    if as_json:
        print(json.dumps(result))
        return
    print(as_text(result))
    if priced is not None:
        print("\n" + costs_text.as_text(priced.as_dict()))


def _priced(
    seen: Any, bundle: Any, table: Path | None, keeps: float, accuracy: float, sorted_first: bool
) -> Any:
    """Thresholds by a table of costs for what a rule just chosen lets through."""
    from trainer.cost_run import Wishes, search, sorted_share
    from trainer.reject_data import photographed

    views, truth = photographed(seen)
    share = keeps * sorted_share(bundle, views, truth)
    return search(bundle, views, truth, table, Wishes(share, accuracy, sorted_first))


@app.command()
def costs(
    bundle: BundlePath,
    data: Data,
    names: Names = None,
    masks: Masks = None,
    table: Table = None,
    sorts: Annotated[float, typer.Option(help="Share of the items to sort, if it can be.")] = 0.95,
    least_accuracy: LeastAccuracy = 0.95,
    sorted_first: SortedFirst = False,
    write: Write = False,
    as_json: AsJson = False,
) -> None:
    """Set each class's threshold so that the bin costs least by a table of what mistakes cost."""
    from edge.bundle import load_bundle
    from trainer.cost_run import Wishes, search
    from trainer.costs_text import as_text
    from trainer.data import scan
    from trainer.evaluate import truth_of
    from trainer.views import KNOWN, look_at_items
    from trainer.witness import Witness

    _check_share("--sorts", sorts)
    _check_share("--least-accuracy", least_accuracy)
    model = load_bundle(bundle)
    photos = scan(data, names)
    truth = truth_of(photos, model.labels)
    with bar("items", len(photos) * len(KNOWN)) as tick:
        seen = look_at_items(Witness(model), photos, masks, tick)
    found = search(model, seen, truth, table, Wishes(sorts, least_accuracy, sorted_first))
    result = found.as_dict()
    if write:
        result["written"] = found.write(bundle)
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
