"""`smartbin pictures ...`: the kept pictures of uncertain items on this device, for their owner."""

from __future__ import annotations

import csv
import io
import json
import os
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import SmartbinError, UsageError

if TYPE_CHECKING:
    from edge.uncertain.store import Kept, PictureStore

app = typer.Typer(help="Kept pictures of uncertain items on this device.", no_args_is_help=True)
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
COLUMNS = ("file", "site", "bin", "event", "model", "outcome", "model_label", "confidence", "why",
           "blur", "sent", "kept_at")  # fmt: skip


@app.command("list")
def list_(
    config: ConfigPath = Path("config.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What is kept, oldest first: why, what is hidden on it, whether it was sent."""
    store = _store(config)
    for kept in store.kept:
        note = _note(store, kept)
        if as_json:
            print(json.dumps(note))
            continue
        print(
            f"{_local(kept.ts)}  {kept.name}  {note.get('why', '?')}: {note.get('label')} "
            f"{note.get('confidence') or 0:.0%}, hidden: {kept.blur}, "
            f"{'sent' if kept.sent else 'never sent'}, {kept.bytes / 1000:.0f} kB"
        )
    if not as_json:
        print(f"{len(store.kept)} pictures, {store.total_bytes / 1e6:.1f} MB, in {store.folder}")


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="The event's id, as in list; or all.")],
    config: ConfigPath = Path("config.toml"),
) -> None:
    """Remove one picture, or all, for good; a daemon that runs notices by itself."""
    store = _store(config)
    if name == "all":
        print(f"{store.delete_all()} pictures removed from {store.folder}")
        return
    if name not in {kept.name for kept in store.kept}:
        raise UsageError(f"{name}: no such picture; see: smartbin pictures list")
    store.delete(name)
    print(f"{name}: removed")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new .zip, mode 0600.")],
    config: ConfigPath = Path("config.toml"),
) -> None:
    """Everything kept as one .zip for its owner, people hidden as they were when it was kept.

    Labels are given on the fleet page, whose export `smartbin-train gather` reads; this one has no
    labels.csv and is refused there.
    """
    store = _store(config)
    if not store.kept:
        raise UsageError(f"{store.folder}: no pictures are kept; nothing to export")
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS)
    writer.writeheader()
    partial = out.with_name(out.name + ".partial")
    try:
        if out.exists():
            raise UsageError(f"{out}: is there already; name a new file")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for kept in store.kept:
                found = store.read(kept.name)
                if found is not None:  # the daemon may have rotated it meanwhile
                    archive.writestr(f"pictures/{kept.name}.jpg", found[0])
                    writer.writerow(_row(kept, found[1]))
            archive.writestr("pictures.csv", table.getvalue())
        partial.rename(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SmartbinError(f"{out}: cannot be written ({error.strerror})") from error
    print(f"{out}: {len(store.kept)} pictures, not labelled")


def _store(path: Path) -> PictureStore:
    from edge.config import load_config
    from edge.parts import picture_folder, picture_store

    checked = load_config(path)
    folder = picture_folder(checked)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no pictures were ever kept here; see pictures.keep")
    try:
        return picture_store(checked, tidy=False)
    except OSError as error:
        raise SmartbinError(f"{folder}: cannot be read ({error.strerror})") from error


def _note(store: PictureStore, kept: Kept) -> dict[str, Any]:
    found = store.read(kept.name)
    return found[1] if found else {}


def _row(kept: Kept, note: dict[str, Any]) -> dict[str, Any]:
    taken = {key: note.get(key) for key in ("site", "bin", "model", "outcome", "confidence", "why")}
    return {
        **taken,
        "file": f"pictures/{kept.name}.jpg",
        "event": kept.name,
        "model_label": note.get("label"),
        "blur": kept.blur,
        "sent": int(kept.sent),
        "kept_at": _local(kept.ts),
    }


def _local(ts: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ts))
