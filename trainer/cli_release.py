"""`smartbin-train release`: signs a bundle and puts it where bins can fetch it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import MissingExtraError, UsageError

app = typer.Typer()
VARIABLE = "SMARTBIN_KEY_PASSPHRASE"
NEW_VARIABLE = "SMARTBIN_NEW_KEY_PASSPHRASE"


@app.command()
def release(
    repo: Annotated[Path, typer.Option("--repo", help="Folder that a web server holds up.")],
    keys: Annotated[
        Path, typer.Option("--keys", help="Folder of the private keys; keep it apart.")
    ],
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="NAME.onnx, with NAME.json beside it.")
    ] = None,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Begin a repository, with four new keys.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Only new dates, for a nightly job.")
    ] = False,
    rotate: Annotated[
        Path | None, typer.Option("--rotate", help="Make four other keys here, which replace all.")
    ] = None,
    plain_keys: Annotated[
        bool, typer.Option("--plain-keys", help="Keys without a passphrase, as for --refresh.")
    ] = False,
    lasting_days: Annotated[
        int, typer.Option(min=1, max=3650, help="Signatures of root and targets hold so long.")
    ] = 365,
    fresh_days: Annotated[
        int, typer.Option(min=1, max=365, help="Snapshot and timestamp hold so long.")
    ] = 30,
) -> None:
    """Sign a bundle into a TUF repository: any web server can hold it up, no one can forge it."""
    try:
        from trainer.release import Keys, TufRepository, Validity
    except ImportError as error:
        raise MissingExtraError(
            f"release needs {error.name}: pip install 'smartbin[update]'"
        ) from error
    if bundle is None and not (refresh or new_keys or rotate):
        raise UsageError(
            "--bundle: name a bundle's .onnx, or give --refresh, --new-keys or --rotate"
        )
    ring = Keys(keys, "" if plain_keys else _passphrase(VARIABLE, confirm=new_keys))
    repository = TufRepository(repo, ring, Validity(lasting_days, fresh_days))
    if new_keys:
        if repository.exists:
            raise UsageError(f"{repo}: a repository is there already; leave --new-keys away")
        ring.make()
        repository.begin()
        typer.echo(f"{repo / 'root.json'}: put this file onto the bins, as update.root")
    elif not repository.exists:
        raise UsageError(f"{repo}: no repository is there; begin one with --new-keys")
    if rotate is not None:
        others = Keys(rotate, "" if plain_keys else _passphrase(NEW_VARIABLE, confirm=True))
        others.make()
        version = repository.rotate(others)
        typer.echo(
            f"{repo}: root {version} names the keys in {rotate}; sign with these from now on"
        )
    if bundle is not None:
        made = repository.release(bundle)
        typer.echo(f"{made.model_id}: signed into {repo}")
    elif refresh:
        typer.echo(f"{repo}: fresh until {repository.refresh():%Y-%m-%d}")


def _passphrase(variable: str, *, confirm: bool) -> str:
    which = "new keys" if variable == NEW_VARIABLE else "keys"
    text = os.environ.get(variable) or typer.prompt(
        f"Passphrase of the {which}", hide_input=True, confirmation_prompt=confirm
    )
    if not text.strip():
        raise UsageError(f"passphrase: must not be empty; {variable} may hold it, or --plain-keys")
    return str(text)
