"""Options that several commands of `smartbin-train` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder with one folder of pictures per class.")]
Names = Annotated[Path | None, typer.Option("--names", help="List of file names, one a line.")]
TrainNames = Annotated[
    Path | None, typer.Option("--train-names", help="File names to train on, one a line.")
]
ValNames = Annotated[
    Path | None, typer.Option("--val-names", help="File names to validate on, one a line.")
]
Masks = Annotated[
    Path | None, typer.Option("--masks", help="CLASS/NAME.png saliency, to swap backgrounds with.")
]
BundlePath = Annotated[Path, typer.Option("--bundle", help="NAME.onnx, with NAME.json beside it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A shipped recipe, or a .toml file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override, as training.epochs=3; repeatable.")
]
RunFolder = Annotated[Path, typer.Option("--run", help="Folder of the training.")]
Cache = Annotated[Path, typer.Option("--cache", help="Where decoded pictures are kept.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the bundles.")]
BundleName = Annotated[str, typer.Option("--name", help="Bundles are NAME.int8 and NAME.fp32.")]
DataName = Annotated[str, typer.Option("--data-name", help="For the model card.")]
Licence = Annotated[str, typer.Option("--data-licence", help="For the model card.")]
