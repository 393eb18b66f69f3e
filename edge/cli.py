"""`smartbin`: the command line; exit 0 ok, 1 run-time fault, 2 bad usage or configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge import __version__, cli_model, cli_pictures, cli_tray
from edge.errors import PictureError, SmartbinError, UsageError
from edge.fleet.commands import app as fleet_app
from edge.journal import log_to_stderr as _log_to_stderr

app = typer.Typer(
    help="Smart-bin daemon: camera frames in, class decisions over MQTT out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(fleet_app, name="fleet")
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]


def main() -> None:
    """Entry point: a fault is a sentence on standard error, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the locale cannot print
    try:
        app()
        sys.stdout.flush()
    except SystemExit:
        _flush_or_leave()
        raise
    except SmartbinError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _leave(error)


def _flush_or_leave() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _leave(error)


def _leave(error: OSError) -> NoReturn:
    """End where our output cannot be written: its reader has gone, or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        print(f"smartbin: {error.strerror}: {error.filename or 'the output'}", file=sys.stderr)
    sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"smartbin {__version__}")
        raise typer.Exit


app.add_typer(cli_model.app, name="model")
app.add_typer(cli_pictures.app, name="pictures")
app.command()(cli_model.rollout)
app.command()(cli_tray.tray)


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say it, end.")
    ] = False,
) -> None:
    pass


@app.command()
def run(config: ConfigPath = Path("config.toml")) -> None:
    """Run the daemon until it is stopped, or a folder played once has ended."""
    from edge.config import load_config
    from edge.daemon import Daemon
    from edge.limits import spare_collector

    checked = load_config(config)
    _log_to_stderr(checked.log.level)
    daemon = Daemon(checked)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    spare_collector()
    daemon.run()


@app.command()
def actuator(config: ConfigPath = Path("config.toml")) -> None:
    """Move what the bin decides, on this board, and answer with acks."""
    from edge.config import load_config
    from edge.limits import spare_collector
    from edge.parts import actuator_of

    checked = load_config(config)
    _log_to_stderr(checked.log.level)
    service = actuator_of(checked)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    spare_collector()
    service.run()


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the sample frames.")] = False,
    as_json: AsJson = False,
) -> None:
    """Everything on one machine, nothing configured: each decision as the broker returns it."""
    from edge.demo import run_demo

    _log_to_stderr("warning")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, cleanly
    shown = []
    try:
        for row in run_demo(once=once):
            shown.append(row)
            print(row.as_json() if as_json else row.as_text(), flush=True)
    except KeyboardInterrupt:
        pass
    if shown and not as_json:
        right = sum(row.right for row in shown)
        print(f"\n{right} of {len(shown)} items right, each by way of the broker and the flap.")
    if once and not shown:
        raise SmartbinError("demo: no decision came back through the broker; try again")


@app.command("belt-sim")
def belt_sim(
    rate: Annotated[float, typer.Option(help="Items a minute, 10..600.")] = 60.0,
    items: Annotated[int, typer.Option(help="How many; the run ends after the last.")] = 60,
    seed: Annotated[int, typer.Option(help="Another seed is another run.")] = 1,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Count the belt; else by its fixed speed.")
    ] = False,
    as_json: AsJson = False,
    port: Annotated[int, typer.Option(help="Of the page; 0: any that is free.")] = 0,
    page: Annotated[bool, typer.Option(help="Serve a page on 127.0.0.1 to watch it.")] = True,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the page after the end, until Ctrl-C.")
    ] = False,
    gif: Annotated[
        Path | None, typer.Option(help="Write six seconds as a film, .gif or .webp.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write a picture of the line.")] = None,
) -> None:
    """A belt to watch: rendered items, the real daemon, broker and actuator, in real time."""
    from edge.beltsim.layout import Setup
    from edge.beltsim.run import check_choice, report, run_line

    check_choice(rate, items)
    _log_to_stderr("warning")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    setup = Setup(per_min=rate, items=items, seed=seed, encoder=encoder)
    figures = run_line(
        setup,
        port=port if page else None,
        stay=stay,
        gif=gif,
        png=png,
        say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
    )
    lines = [json.dumps(figures.as_json())] if as_json else report(figures)
    for line in lines:
        print(line)


@app.command()
def classify(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.", show_default=False)],
    as_json: AsJson = False,
    segment: Annotated[
        str, typer.Option(help="How to cut the item out: none, difference, tiny or rembg.")
    ] = "none",
    segment_model: Annotated[
        Path | None, typer.Option(help="An .onnx for tiny, or for rembg's u2net_custom.")
    ] = None,
    session: Annotated[str, typer.Option(help="What rembg runs.")] = "u2netp",
    judge: Annotated[
        str, typer.Option(help="both: the cut-out and the whole frame; or cutout.")
    ] = "both",
    tray: Annotated[
        Path | None, typer.Option(help="A stored empty tray, see smartbin tray.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Draw why: a sheet, .png; of several pictures, a folder.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="A bundle's .onnx; else ours.")] = None,
) -> None:
    """Say what is on pictures, by the very code that runs in the bin."""
    from edge.classify import PictureClassifier, as_row
    from edge.explain import save_sheet
    from edge.segmenters import build_segmenter
    from edge.tray import TrayMemory, load_tray

    memory = TrayMemory(load_tray(tray) if tray else None)
    segmenter = build_segmenter(
        segment,
        judge=judge,
        model=segment_model,
        session=session,
        tray=memory,
        timeout_s=60.0,
        patient=True,
    )
    with contextlib.closing(segmenter):
        classifier = PictureClassifier(model, segmenter=segmenter, tray=memory)
        faults = 0
        for path in pictures:
            try:
                look = classifier.look(path)
                if explain:
                    save_sheet(look, explain, classifier=classifier, many=len(pictures) > 1)
            except PictureError as error:  # the other pictures are still judged
                print(error, file=sys.stderr)
                faults += 1
                continue
            row = as_row(look)
            print(json.dumps(row) if as_json else _as_text(row), flush=True)
    if faults:
        raise typer.Exit(1)


def _as_text(row: dict[str, object]) -> str:
    top = row["top"]
    assert isinstance(top, list)
    best = "  ".join(f"{label} {share:.0%}" for label, share in top)
    note = f"  ({row['note']})" if "note" in row else ""
    return f"{row['path']}: {row['outcome']}  {best}{note}"


@app.command()
def bench(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose model; else the shipped one.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=10, max=100_000, help="Frames for each.")] = 120,
    remember: Annotated[bool, typer.Option(help="Let `run` use the winner from now on.")] = True,
    as_json: AsJson = False,
) -> None:
    """Time every form of the network on this host, and choose the one that `run` takes."""
    from edge.bench import as_text, bench, best
    from edge.bundle import load_bundle
    from edge.choice import fingerprint, siblings
    from edge.choice import remember as keep
    from edge.config import Config, load_config
    from edge.parts import bench_memory
    from edge.pictures import list_pictures, read_picture
    from edge.shipped import default_model, samples

    checked = load_config(config) if config else Config()
    path = Path(checked.model.path) if checked.model.path else default_model()
    bundles = {precision: load_bundle(place) for precision, place in siblings(path).items()}
    frames = [read_picture(place) for place in list_pictures(samples() / "stills")]
    timed = bench(bundles, frames, rounds=rounds)
    choice = best(timed)
    if as_json:
        for one in timed:
            print(json.dumps(one.as_dict()))
        print(json.dumps({"choice": dataclasses.asdict(choice)}))
    else:
        print(as_text(timed, choice))
    if remember:
        keep(bench_memory(), fingerprint(list(bundles.values())), choice)


@app.command()
def simulate(
    bins: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 50,
    rate: Annotated[
        float, typer.Option(min=0.0, max=100_000, help="Items a second, of all bins together.")
    ] = 5.0,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Then end; without it, Ctrl-C does.")
    ] = None,
    host: Annotated[str, typer.Option(help="The broker's; it must speak MQTT 5.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="A fleet.toml, which names broker and login."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another fleet.")] = 1,
    site: Annotated[str, typer.Option(help="Of every bin; another for a second process.")] = "sim",
    churn: Annotated[
        float, typer.Option(min=0, max=60, help="Share of the bins that break away in a minute.")
    ] = 0.01,
    outage: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share that loses the network for 30 s, every 3 minutes."),
    ] = 0.0,
    health: Annotated[
        float, typer.Option(min=0.1, max=86400, help="Seconds between two healths of a bin.")
    ] = 30.0,
    decisions: Annotated[
        bool, typer.Option(help="Publish each decision for an actuator, too, as a bin does.")
    ] = True,
    ledger: Annotated[
        Path | None, typer.Option(help="Write which events there were, for the account.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A fleet without hardware: many honest bins that speak through your broker."""
    from edge.brokers import Broker
    from edge.options import name_fault
    from edge.simulate.plan import Habits
    from edge.simulate.run import simulate as run_simulation

    if fault := name_fault(site):
        raise UsageError(f"--site {site!r}: {fault}")
    broker = Broker(host=host, port=port, version="5", keepalive_s=60)
    if config:
        from edge.fleet.settings import broker_of, load_settings

        broker = dataclasses.replace(broker_of(load_settings(config)), keepalive_s=60)
    run_simulation(
        broker=broker,
        bins=bins,
        habits=Habits(rate_per_s=rate, health_every_s=health, churn=churn, outage=outage),
        for_s=None if minutes is None else minutes * 60,
        seed=seed,
        site=site,
        tell_decisions=decisions,
        ledger=ledger,
        as_json=as_json,
    )


@app.command("check-config")
def check_config(config: ConfigPath = Path("config.toml")) -> None:
    """Tell all faults of a configuration at once, its model and routes included."""
    from edge.config import load_config
    from edge.parts import check_all

    bundle = check_all(load_config(config))
    print(f"{config}: good; model {bundle.model_id}, classes {', '.join(bundle.labels)}")


@app.command()
def doctor(config: ConfigPath = Path("config.toml"), as_json: AsJson = False) -> None:
    """Say what is wrong with this host, and what to do about it; exit 1 where a fault is left."""
    from edge.config import load_config
    from edge.doctor import examine

    checked = load_config(config)
    logging.disable(logging.CRITICAL)  # every finding says it itself
    faults = 0
    for finding in examine(checked):
        faults += finding.grade == "fault"
        if as_json:
            print(json.dumps(dataclasses.asdict(finding)), flush=True)
            continue
        print(f"{finding.grade:<8} {finding.name:<12} {finding.detail}", flush=True)
        if finding.remedy:
            print(f"{'':<21} -> {finding.remedy}")
    if faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
