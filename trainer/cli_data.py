"""`smartbin-train audit`, `split` and `crossval`: what is done with the pictures themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import UsageError
from trainer.progress import bar  # noqa: F401

app = typer.Typer()
Data = Annotated[Path, typer.Option("--data", help="Folder with one folder of pictures per class.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
