"""`smartbin model ...` and `smartbin rollout`: signed bundles on a device, and for a fleet."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import MissingExtraError, SmartbinError, UsageError

if TYPE_CHECKING:
    from edge.config import Config
    from edge.update.store import ModelStore

app = typer.Typer(help="Bundles on this device.", no_args_is_help=True)
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("list")
def list_(config: ConfigPath = Path("config.toml"), as_json: AsJson = False) -> None:
    """What runs, what was the last good one, and what is refused, and why."""
    from edge.config import load_config
    from edge.parts import load_model

    checked = load_config(config)
    state = _store(checked).state
    shipped = load_model(checked).model_id
    if as_json:
        print(json.dumps({"shipped": shipped, **dataclasses.asdict(state)}))
        return
    now = f"{state.current.name}@{state.current.version}" if state.current else shipped
    print(f"runs       {now}{' (on trial)' if state.trial else ''}")
    if state.last_good:
        print(f"last good  {state.last_good.name}@{state.last_good.version}")
    print(f"shipped    {shipped}")
    for version, reason in state.refused.items():
        print(f"refused    {version}: {reason}")


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="NAME.onnx, with NAME.json beside it.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Also: is it what was signed?")
    ] = None,
) -> None:
    """Whether a bundle is whole, opens, and (with --config) is signed by your repository."""
    from edge.bundle import load_bundle
    from edge.classifier import Classifier

    found = load_bundle(bundle)
    Classifier(found)
    if config is None:
        print(f"{found.model_id}: whole, and it opens; whose it is was not asked (give --config)")
        return
    from edge.config import load_config

    checked = load_config(config)
    files = _signed_files(checked, found.version)
    for suffix, data in files.items():
        path = bundle.with_suffix(suffix)
        if path.read_bytes() != data:
            raise SmartbinError(f"{path}: not the file that was signed as {found.model_id}")
    print(f"{found.model_id}: whole, opens, and is what was signed")


@app.command()
def install(
    version: Annotated[int, typer.Option("--version", help="A signed release.")],
    config: ConfigPath = Path("config.toml"),
    new_labels: Annotated[
        bool,
        typer.Option("--new-labels", help="It may sort other classes; adapt the routes."),
    ] = False,
) -> None:
    """Fetch a signed release and put it on trial from the next start; stop the daemon before."""
    from edge.config import load_config
    from edge.parts import hold_outbox, load_model
    from edge.update.canaries import canaries_of, folders
    from edge.update.checks import (
        check_bundle,
        check_canaries,
        check_clock,
        check_made,
        check_step,
        open_candidate,
    )
    from edge.update.start import active_bundle

    checked = load_config(config)
    # Raises where the daemon runs: `cmd/model` is for it.
    with hold_outbox(checked) or contextlib.nullcontext():
        store = _store(checked)
        running = active_bundle(store, lambda: load_model(checked))
        if version in store.state.refused:  # a person decides otherwise
            print(f"version {version} was refused before: {store.state.refused[version]}")
        check_step(version, running, {})
        check_clock(running, time.time())
        files = _signed_files(checked, version)
        entry = store.add(version, checked.update.bundle, files, lambda text: None)
        candidate = store.load(entry)
        check_made(candidate, time.time())
        if not new_labels:
            check_bundle(candidate, version, running)
        classifier = open_candidate(candidate, checked.model.threads)
        if candidate.labels == running.labels:
            old = open_candidate(running, checked.model.threads)
            places = folders(checked.update.canaries)
            match = check_canaries(classifier, [old], canaries_of(places, candidate.labels))
            print(
                f"canary pictures: {match.right} of {match.canaries} right, {running.model_id} "
                f"has {match.right_before}"
            )
        store.start_trial(entry, "installed by hand")
    print(f"{candidate.model_id}: on trial from the next start; {running.model_id} comes back else")


@app.command()
def rollback(config: ConfigPath = Path("config.toml")) -> None:
    """Back to the last good bundle from the next start; the one left is refused from then on."""
    from edge.config import load_config
    from edge.parts import hold_outbox, load_model

    checked = load_config(config)
    with hold_outbox(checked) or contextlib.nullcontext():
        store = _store(checked)
        if store.state.current is None:
            raise UsageError(
                f"{load_model(checked).model_id} runs, which came with smartbin or the "
                "configuration; there is nothing to go back from"
            )
        left = store.state.current.version
        back = store.roll_back("rolled back by hand")
    there = f"{back.name}@{back.version}" if back else load_model(checked).model_id
    print(f"version {left} is left; {there} runs from the next start")


def rollout(
    version: Annotated[int, typer.Option("--version", help="A signed release.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="fleet.toml: the broker.")],
    group: Annotated[str, typer.Option("--group", help="The bins' update.group.")] = "default",
    canary: Annotated[
        float, typer.Option("--canary", min=0.0, max=1.0, help="Share of bins that go first.")
    ] = 0.05,
    items: Annotated[
        int, typer.Option("--items", min=1, help="Items the canaries must have judged.")
    ] = 200,
    hours: Annotated[float, typer.Option("--hours", min=0.0, help="Give up after so long.")] = 72.0,
    as_json: AsJson = False,
) -> None:
    """Bring a release to a group of bins: canaries first, all when they do no worse, else back."""
    from edge.fleet.settings import broker_of, load_settings
    from edge.update.controller import Rollout, Stage

    stage = Stage(group, version, canary, items, salt=secrets.token_hex(4))
    ruling = None
    for ruling in Rollout(broker=broker_of(load_settings(config)), stage=stage).run(
        timeout_s=hours * 3600
    ):
        print(
            json.dumps(dataclasses.asdict(ruling))
            if as_json
            else f"{ruling.action}: {ruling.reason}",
            flush=True,
        )
    if ruling is None or ruling.action != "go":
        raise typer.Exit(1)


def _store(config: Config) -> ModelStore:
    from edge.parts import store_path
    from edge.update.store import ModelStore

    return ModelStore(store_path(config))


def _signed_files(config: Config, version: int) -> dict[str, bytes]:
    """The files of a release, signatures checked."""
    from edge.parts import store_path

    if not config.update.url:
        raise UsageError("update.url: empty; name the repository of signed models in config.toml")
    try:
        from edge.update.repository import Repository
    except ImportError as error:
        raise MissingExtraError(
            f"updates need {error.name}: pip install 'smartbin[update]'"
        ) from error
    from edge.update.keeper import read_root

    repository = Repository(
        url=config.update.url,
        root=read_root(Path(config.update.root)),
        folder=store_path(config) / "tuf",
        ca_file=config.update.ca_file,
    )
    return repository.fetch(repository.release(config.update.bundle, version))
