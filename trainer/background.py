"""The background challenge: the same items, cut out and laid on other surfaces.

A student that has learned the white card of its training photos fails here. The figures compare
students; they are no forecast of accuracy in the field, where light and dirt differ as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bundle import load_bundle
from edge.errors import UsageError
from edge.pictures import read_picture
from trainer.background_views import (
    ALL,
    BARE,
    COVERED,
    EMPTY,
    KINDS,
    OWN,
    SAME_CLASS,
    SWAPS,
    Album,
    leaves_plain,
)
from trainer.data import PhotoSet, load_masks
from trainer.evaluate import truth_of
from trainer.scoring import Labels, Probs, wilson
from trainer.seer import Seer, seer_of

__all__ = ["KINDS", "as_text", "challenge", "run"]
Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one kind of view, over the photos that have it."""

    rows: Labels  # (m,) of the album
    probs: Probs  # (m, classes)
    sorted_: npt.NDArray[np.bool_]  # (m,) whether the bin would have moved its flap
    cut: npt.NDArray[np.bool_]  # (m,) whether the segmenter cut an item out


@dataclass(frozen=True, slots=True)
class Result:
    """A bundle's answers to the challenge."""

    model: str  # name@version
    segmenter: str
    labels: tuple[str, ...]
    truth: Labels  # (n,) of every photo of the album
    answers: dict[str, Answer]  # by kind of view

    def hits(self, kind: str) -> npt.NDArray[np.bool_]:
        """(m,) which views of a kind are called by the class of their photo."""
        answer = self.answers[kind]
        return np.asarray(answer.probs.argmax(1) == self.truth[answer.rows])

    def percent(self, kind: str) -> float:
        """Accuracy, with two decimals."""
        hits = self.hits(kind)
        return round(100 * float(hits.sum()) / len(hits), 2) if len(hits) else float("nan")

    @property
    def n(self) -> int:
        return len(self.answers["original"].rows)

    def contract(self) -> dict[str, float]:
        """`{"n", "original", "brown", "random", "cardboard", "gap"}`; all but n in percent."""
        percent = {kind: self.percent(kind) for kind in SWAPS}
        worst = min(percent[kind] for kind in KINDS)
        return {"n": self.n, **percent, "gap": round(percent["original"] - worst, 2)}

    def as_dict(self) -> dict[str, Any]:
        """The contract's keys, and what stands beside them; percent throughout."""
        empty = {
            kind.replace(" ", "_"): {
                "accuracy": self.percent(kind),
                "sorted": _percent(self.answers[kind].sorted_),
            }
            for kind in EMPTY
        }
        return {
            **self.contract(),
            "same_class": _number(self.percent(SAME_CLASS)),
            "whole_items": self._whole_items(),
            "background_only": {"chance": self.chance, **empty},
            "wilson_95": {kind.replace(" ", "_"): self._interval(kind) for kind in ALL},
            "per_class": {label: self._class_line(i) for i, label in enumerate(self.labels)},
            "cut_out": {kind.replace(" ", "_"): _percent(self.answers[kind].cut) for kind in ALL},
            "bundle": self.model,
            "segmenter": self.segmenter,
        }

    @property
    def chance(self) -> float:
        """Percent right for who always says the class that most of these photos have."""
        counts = np.bincount(self.truth[self.answers["original"].rows])
        return round(100 * float(counts.max()) / self.n, 2)

    def _whole_items(self) -> dict[str, float | int | None]:
        """The same figures of the photos whose mask holds all of the item, and `own_ground`, which
        is what being cut out and pasted costs by itself.

        Of a box that fills its photo a mask often holds the print alone: nobody could name that.
        """
        rows = self.answers[OWN].rows
        right = {
            kind: _percent(self.hits(kind)[np.isin(self.answers[kind].rows, rows)])
            for kind in (*SWAPS, OWN)
        }
        return {"n": len(rows), **{kind.replace(" ", "_"): share for kind, share in right.items()}}

    def _interval(self, kind: str) -> list[float]:
        hits = self.hits(kind)
        low, high = wilson(int(hits.sum()), len(hits))
        return [round(100 * low, 2), round(100 * high, 2)]

    def _class_line(self, label: int) -> dict[str, float | None]:
        mine = self.truth[self.answers["original"].rows] == label
        line: dict[str, float | None] = {"n": int(mine.sum())}
        for kind in (*SWAPS, SAME_CLASS):
            hits = self.hits(kind)[self.truth[self.answers[kind].rows] == label]
            line[kind.replace(" ", "_")] = _percent(hits)
        return line


def _percent(flags: npt.NDArray[np.bool_]) -> float | None:
    return round(100 * float(flags.mean()), 2) if len(flags) else None


def _number(value: float) -> float | None:
    return None if value != value else value


def album_of(photos: PhotoSet, masks_dir: Path) -> Album:
    """The photos with a good mask; raises UsageError where there is none."""
    masks, good = load_masks(photos, masks_dir)
    if not good.any():
        raise UsageError(f"{masks_dir}: no good mask for any of the {len(photos)} pictures")
    plain = [
        bool(good[row]) and leaves_plain(read_picture(path), masks[row])
        for row, path in enumerate(photos.paths)
    ]
    return Album(photos, masks, good, np.array(plain))


def run(
    bundle_path: Path,
    album: Album,
    *,
    kinds: Sequence[str] = ALL,
    segmenter: str = "none",
    judge: str = "both",
    tick: Tick = lambda: None,
) -> Result:
    """Show a bundle every view; only photos with a good mask count, in every kind alike."""
    bundle = load_bundle(bundle_path)
    truth = truth_of(album.photos, bundle.labels)
    with seer_of(bundle, segmenter, judge=judge) as seer:
        answers = {kind: _answer(seer, album, kind, tick) for kind in kinds}
        return Result(bundle.model_id, seer.name, bundle.labels, truth, answers)


def _answer(seer: Seer, album: Album, kind: str, tick: Tick) -> Answer:
    rows, probs, moved, cut = [], [], [], []
    for row in album.rows():
        tick()
        view = album.view(row, kind)
        if view is None:
            continue
        glance = seer.look(view)
        rows.append(row)
        probs.append(glance.prediction.probs)
        moved.append(glance.decision.outcome == "sorted")
        cut.append(glance.crop.segmenter != "none")
    table = np.array(probs, np.float32).reshape(len(rows), -1)
    return Answer(np.array(rows, np.int64), table, np.array(moved, bool), np.array(cut, bool))


def challenge(
    bundle_path: Path, photos: PhotoSet, masks_dir: Path, *, tick: Tick = lambda: None
) -> dict[str, float]:
    """The contract's keys alone: `{"n", "original", "brown", "random", "cardboard", "gap"}`.

    gap = original minus the worst of the three, in points.
    """
    return run(bundle_path, album_of(photos, masks_dir), kinds=SWAPS, tick=tick).contract()


def as_text(result: Result) -> str:
    """For a person: one line of the contract, and a table in Markdown."""
    found = result.contract()
    kinds = ", ".join(f"{kind} {found[kind]:.1f}" for kind in SWAPS)
    lines = [
        f"{found['n']:.0f} items: {kinds}; gap {found['gap']:.1f} points",
        "",
        "| view | n | right, % | 95 % interval | sorted, % |",
        "|---|---:|---:|---:|---:|",
    ]
    whole = result.as_dict()
    for kind, answer in result.answers.items():
        low, high = whole["wilson_95"][kind.replace(" ", "_")]
        moved = _percent(answer.sorted_)
        share = "–" if moved is None else f"{moved:.1f}"
        right = f"{result.percent(kind):.1f} | {low:.1f} to {high:.1f}"
        lines.append(f"| {kind} | {len(answer.rows)} | {right} | {share} |")
    return "\n".join([*lines, "", _chance_words(result)])


def _chance_words(result: Result) -> str:
    return (
        f"Nothing but background ({', '.join((*BARE, COVERED))}): always saying the commonest "
        f"class would be right in {result.chance:.1f} %."
    )
