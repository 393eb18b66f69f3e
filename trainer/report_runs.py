"""Trainings as a report sees them: their losses, their recipes, and their networks in torch."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.classifier import softmax
from edge.errors import UsageError
from edge.pictures import read_picture
from edge.preprocess import Preprocessing, prepare
from edge.values import Pixels
from trainer.data import PhotoSet
from trainer.scoring import Labels, Probs

BATCH = 16  # pictures a forward pass
Row = dict[str, str]  # one line of training_losses.csv
STATS_FIELDS = (
    "run",
    "recipe",
    "network",
    "size_px",
    "seed",
    "epochs",
    "best_epoch",
    "best_val_accuracy",
    "best_val_swapped",
    "best_val_loss",
    "last_loss",
    "minutes",
)


@dataclass(frozen=True, slots=True)
class RunLog:
    """What a run's folder tells without torch."""

    name: str
    folder: Path
    rows: tuple[Row, ...]
    recipe: dict[str, Any]

    def curve(self, column: str) -> list[tuple[float, float]]:
        """(epoch, value) of a column; lines without it are passed over."""
        pairs = ((_number(row, "epoch"), _number(row, column)) for row in self.rows)
        return [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]

    def stats(self) -> Row:
        """One line for the table of runs; empty where nothing was recorded."""
        network, training = self.recipe.get("network", {}), self.recipe.get("training", {})
        best = max(self.rows, key=_rank, default={})
        seconds = sum(value for _, value in self.curve("seconds"))
        return {
            "run": self.name,
            "recipe": str(self.recipe.get("name", "")),
            "network": _network_text(network),
            "size_px": str(network.get("size_px", "")),
            "seed": str(training.get("seed", "")),
            "epochs": str(len(self.rows)),
            "best_epoch": best.get("epoch", ""),
            "best_val_accuracy": best.get("val_accuracy", ""),
            "best_val_swapped": best.get("val_swapped", ""),
            "best_val_loss": best.get("val_loss", ""),
            "last_loss": self.rows[-1].get("loss", "") if self.rows else "",
            "minutes": f"{seconds / 60:.1f}" if seconds else "",
        }


def _number(row: Row, column: str) -> float | None:
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError):
        return None


def _rank(row: Row) -> tuple[float, float]:
    """As trainer.train.Score ranks epochs: both surfaces count alike, then the loss."""
    accuracy, swapped = _number(row, "val_accuracy"), _number(row, "val_swapped")
    both = [value for value in (accuracy, swapped) if value is not None]
    loss = _number(row, "val_loss")
    return (sum(both) / len(both) if both else -1.0), -(loss if loss is not None else np.inf)


def _network_text(network: dict[str, Any]) -> str:
    parts = [str(network.get("family", ""))]
    if network.get("blocks"):
        parts.append(f"{network['blocks']} blocks")
    return ", ".join(part for part in parts if part)


def read_runs(folders: list[Path]) -> list[RunLog]:
    """Each folder's log; two of one name are told apart by the folder above."""
    names = [folder.resolve().name for folder in folders]
    runs = []
    for folder, name in zip(folders, names, strict=True):
        unique = name if names.count(name) == 1 else f"{folder.resolve().parent.name}/{name}"
        runs.append(_read_run(folder, unique))
    return runs


def _read_run(folder: Path, name: str) -> RunLog:
    losses = folder / "training_losses.csv"
    if not folder.is_dir() or not (losses.exists() or (folder / "best.pt").exists()):
        raise UsageError(
            f"{folder}: holds no training; --run takes the folder that was --run of `distill`"
        )
    try:
        with losses.open(newline="", encoding="utf-8") as file:
            rows = tuple(csv.DictReader(file))
    except FileNotFoundError:
        rows = ()
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{losses}: cannot be read as CSV ({error})") from error
    return RunLog(name, folder, rows, _read_recipe(folder / "recipe.toml"))


def _read_recipe(path: Path) -> dict[str, Any]:
    """Plain values: a recipe of an older trainer is still worth a line in a table."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


class TorchNet:
    """A run's best epoch in fp32, asked in the bundle's order of labels; needs torch."""

    def __init__(self, name: str, folder: Path, labels: tuple[str, ...]) -> None:
        from trainer.checkpoint import load_trained
        from trainer.pipeline import preprocessing_of

        self.name = name
        trained = load_trained(folder / "best.pt")
        if set(trained.classes) != set(labels):
            raise UsageError(
                f"{folder}: this training knows {', '.join(trained.classes)}, "
                f"the bundle {', '.join(labels)}; a report compares networks of the same classes"
            )
        self._net = trained.net
        self.spec: Preprocessing = preprocessing_of(trained.recipe)
        self._order = [trained.classes.index(label) for label in labels]

    def maps(self, pixels: Pixels, labels: list[int]) -> npt.NDArray[np.float32]:
        """Grad-CAM (len(labels), h, w) of classes named by the bundle's indices."""
        from trainer.gradcam import grad_cam

        own = [self._order[label] for label in labels]
        return grad_cam(self._net, prepare(pixels, self.spec), own)

    def probs(self, photos: PhotoSet, tick: Callable[[], object]) -> Probs:
        """(n, classes) probabilities at temperature 1 of every picture, one view each."""
        import torch

        rows = []
        for start in range(0, len(photos), BATCH):
            paths = photos.paths[start : start + BATCH]
            views = np.concatenate([prepare(read_picture(path), self.spec) for path in paths])
            with torch.inference_mode():
                logits = self._net(torch.from_numpy(views)).numpy()
            rows.append(softmax(logits[:, self._order]))
            for _ in paths:
                tick()
        return np.concatenate(rows)


@dataclass(frozen=True, slots=True)
class Judged:
    """A network of a run and its answers to the report's own pictures."""

    net: TorchNet
    probs: Probs

    def hits(self, truth: Labels) -> int:
        """How many it gets right."""
        return int((self.probs.argmax(1) == truth).sum())
