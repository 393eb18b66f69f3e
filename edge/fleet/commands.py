"""`smartbin fleet ...` on the command line."""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import MissingExtraError, UsageError
from edge.journal import log_to_stderr

app = typer.Typer(help="The fleet monitor: stores what bins say, and shows it on a page.")
user_app = typer.Typer(help="People who may see the page.", no_args_is_help=True)
app.add_typer(user_app, name="user")
FleetConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="fleet.toml; else every option's default.")
]


@app.callback(invoke_without_command=True)
def fleet(context: typer.Context, config: FleetConfig = None) -> None:
    """Run the monitor until it is stopped; the page is at http://127.0.0.1:8420/ by default."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    with _extra():
        from edge.fleet.monitor import Monitor

    settings = _settings(config)
    log_to_stderr(settings.log.level)
    monitor = Monitor(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: monitor.stop())
    monitor.run()


@app.command()
def template() -> None:
    """Print a fleet.toml with every option, its default, unit and range."""
    from edge.fleet.settings import template as text

    print(text(), end="")


@app.command("check-config")
def check_config(context: typer.Context, config: FleetConfig = None) -> None:
    """Tell all faults of a fleet.toml at once."""
    from edge.fleet.settings import broker_of

    settings = _settings(config or context.obj)
    broker_of(settings)
    print(f"{settings.file}: good")


@user_app.command("add")
def add_user(
    context: typer.Context,
    name: str,
    role: Annotated[str, typer.Option(help="viewer reads; operator also changes.")] = "viewer",
    config: FleetConfig = None,
) -> None:
    """Make a user, or give an old one another password; asks for it, or reads it from a pipe."""
    users = _users(config or _above(context))
    users.add(name, role, _ask_password())
    print(f"{name} may log in as {role}")


@user_app.command("remove")
def remove_user(context: typer.Context, name: str, config: FleetConfig = None) -> None:
    """Forget a user and end the sessions."""
    _users(config or _above(context)).remove(name)
    print(f"{name} is gone")


@user_app.command("list")
def list_users(context: typer.Context, config: FleetConfig = None) -> None:
    """Names and roles."""
    for name, role in _users(config or _above(context)).all():
        print(f"{name}\t{role}")


@contextmanager
def _extra() -> Iterator[None]:
    """Turn a package that is not there into what to do about it."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"the fleet monitor needs {error.name}; run: pip install 'smartbin[fleet]'"
        ) from error


def _above(context: typer.Context) -> Path | None:
    """--config where it was given before the subcommand."""
    parent = context.parent
    while parent is not None:
        if isinstance(parent.obj, Path):
            return parent.obj
        parent = parent.parent
    return None


def _settings(config: Path | None):  # type: ignore[no-untyped-def]  # imported lazily
    from edge.fleet.settings import Settings, load_settings

    return load_settings(config) if config else Settings()


def _users(config: Path | None):  # type: ignore[no-untyped-def]  # imported lazily
    with _extra():
        from edge.fleet.database import Database
        from edge.fleet.monitor import users_of

    settings = _settings(config)
    database = Database(settings.database_url)
    database.prepare()
    return users_of(settings, database)


def _ask_password() -> str:
    """Twice from a terminal, unseen; once from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password (10 characters or more): ")
    if getpass.getpass("Again: ") != first:
        raise UsageError("the two passwords differ; nothing was changed")
    return first
