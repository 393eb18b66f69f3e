"""What a run leaves in its folder: the state it goes on from, and a line an epoch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError, SmartbinError
from trainer.averages import Swa
from trainer.recipe import parse_recipe

if TYPE_CHECKING:
    from trainer.train import Run

LOG_FIELDS = ("epoch", "px", "lr", "loss", "val_accuracy", "val_swapped", "val_loss", "seconds")


def content_of(run: Run) -> dict[str, Any]:
    """All that a killed run needs to go on as if nothing had been."""
    return {
        **run.identity(),
        "epoch": run.epoch,
        "best": list(run.best),
        "best_epoch": run.best_epoch,
        "net": run.net.state_dict(),
        "ema": run.average.state,
        "ema_steps": run.average.steps,
        "swa": run.swa.state if run.swa.count else {},
        "swa_count": run.swa.count,
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "schedule": run.schedule.state(),
    }


def differing(run: Run, content: dict[str, Any]) -> list[str]:
    """What the folder's training was made from that this one is not."""
    own = run.identity()
    other = [key for key in ("classes", "data_sha256") if content.get(key) != own[key]]
    try:  # by value: a recipe of before a key was added means its default
        before = parse_recipe(str(content.get("recipe")), where="last.pt")
    except ConfigError:
        before = None
    return (["recipe"] if before != run.recipe else []) + other


def resume(run: Run, content: dict[str, Any]) -> None:
    """Bring a run to where it was when `content` was written; older files lack some keys."""
    run.epoch, run.best = int(content["epoch"]), tuple(content["best"])
    run.best_epoch = int(content.get("best_epoch", run.epoch))
    run.net.load_state_dict(content["net"])
    run.average.state = {k: v.to(run.device) for k, v in content["ema"].items()}
    run.average.steps = int(content["ema_steps"])
    if content.get("swa_count"):
        swa = {k: v.to(run.device) for k, v in content["swa"].items()}
        run.swa = Swa(swa, int(content["swa_count"]))
    if content.get("scaler"):
        run.scaler.load_state_dict(content["scaler"])
    if "schedule" in content:
        run.schedule.load(content["schedule"])
    if run.epoch == run.recipe.training.head_epochs:
        return  # the second phase begins with an optimizer of its own
    run.begin_phase()
    run.optimizer.load_state_dict(content["optimizer"])


def append_row(path: Path, row: tuple[Any, ...], fields: tuple[str, ...] = LOG_FIELDS) -> None:
    """One line of the losses; the header, `fields`, comes with the first."""
    fresh = not path.exists()
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(fields)
            writer.writerow(row)
    except OSError as error:
        raise SmartbinError(f"{path}: cannot be written ({error.strerror})") from error
