"""The factorial test: one rendered item, in one pose and light, on every surface.

Nothing but the surface differs between two pictures of a group, so every change of the label is
the surface's doing. With photos that can never be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import load_bundle
from edge.errors import UsageError
from edge.pictures import read_picture
from trainer import rendered
from trainer.rendered import Picture
from trainer.scoring import wilson
from trainer.seer import seer_of

DRAWS, SEED = 2000, 2026


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture and what the bundle said of it."""

    picture: Picture
    said: str
    confidence: float
    outcome: str

    @property
    def group(self) -> str:
        """The item as it was rendered once: shape, dents, pose and light."""
        return f"{self.picture.item} {self.picture.seed}"

    @property
    def right(self) -> bool:
        return self.said == self.picture.label


@dataclass(frozen=True, slots=True)
class Factorial:
    """Every picture of the items that lie on at least two surfaces."""

    model: str
    segmenter: str
    judged: tuple[Judged, ...]

    def groups(self) -> dict[str, list[Judged]]:
        """The pictures of one item, by item and seed."""
        found: dict[str, list[Judged]] = {}
        for judged in self.judged:
            found.setdefault(judged.group, []).append(judged)
        return found

    @property
    def surfaces(self) -> list[str]:
        return sorted({judged.picture.surface for judged in self.judged})

    def as_dict(self) -> dict[str, Any]:
        """Plain values; shares are percent."""
        rates = [flip_rate(group) for group in self.groups().values()]
        low, high = _bootstrap(rates)
        changed = sum(len({j.said for j in group}) > 1 for group in self.groups().values())
        return {
            "n": len(self.judged),
            "items": len(rates),
            "surfaces": self.surfaces,
            "accuracy": _percent([j.right for j in self.judged]),
            "label_changes": round(100 * float(np.mean(rates)), 2),
            "label_changes_95": [round(100 * low, 2), round(100 * high, 2)],
            "items_changed": changed,
            "per_item": {name: _item_line(group) for name, group in self.groups().items()},
            "per_surface": {name: self._surface_line(name) for name in self.surfaces},
            "flips": self.flips(),
            "bundle": self.model,
            "segmenter": self.segmenter,
        }

    def flips(self) -> dict[str, dict[str, float | None]]:
        """Percent of items that change their label from one surface to another."""
        return {
            one: {other: self._flipped(one, other) for other in self.surfaces}
            for one in self.surfaces
        }

    def _flipped(self, one: str, other: str) -> float | None:
        changes = []
        for group in self.groups().values():
            said = {j.picture.surface: j.said for j in group}
            if one in said and other in said and one != other:
                changes.append(said[one] != said[other])
        return _percent(changes) if changes else None

    def _surface_line(self, surface: str) -> dict[str, Any]:
        here = [j for j in self.judged if j.picture.surface == surface]
        hits = sum(j.right for j in here)
        low, high = wilson(hits, len(here))
        odd = [j.said != usual(self.groups()[j.group]) for j in here]
        return {
            "n": len(here),
            "accuracy": _percent([j.right for j in here]),
            "wilson_95": [round(100 * low, 2), round(100 * high, 2)],
            "not_as_elsewhere": _percent(odd),
            "sorted": _percent([j.outcome == "sorted" for j in here]),
        }


def flip_rate(group: list[Judged]) -> float:
    """Share of the pairs of surfaces between which the label of one item changes."""
    return float(np.mean([one.said != other.said for one, other in combinations(group, 2)]))


def usual(group: list[Judged]) -> str:
    """The label said most often of one item; the first by name where two are."""
    counts = Counter(sorted(j.said for j in group))
    return counts.most_common(1)[0][0]


def _item_line(group: list[Judged]) -> dict[str, Any]:
    return {
        "label": group[0].picture.label,
        "surfaces": len(group),
        "accuracy": _percent([j.right for j in group]),
        "label_changes": round(100 * flip_rate(group), 2),
        "said": {j.picture.surface: j.said for j in group},
    }


def _percent(flags: list[bool]) -> float:
    return round(100 * float(np.mean(flags)), 2)


def _bootstrap(rates: list[float]) -> tuple[float, float]:
    """95 % interval of the mean over items, by drawing items again (Efron 1979)."""
    rng = np.random.default_rng(SEED)
    drawn = np.array(rates)[rng.integers(0, len(rates), (DRAWS, len(rates)))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def run(
    bundle_path: Path,
    folder: Path,
    *,
    segmenter: str = "none",
    judge: str = "both",
    tick: Callable[[], object] = lambda: None,
) -> Factorial:
    """Judge every picture of every item that lies on two surfaces or more."""
    bundle = load_bundle(bundle_path)
    pictures = repeated(rendered.load(folder))
    strange = sorted({p.label for p in pictures} - set(bundle.labels))
    if strange:
        raise UsageError(
            f"{folder}: label {strange[0]!r} is none of the bundle's, "
            f"which are {', '.join(bundle.labels)}"
        )
    judged = []
    with seer_of(bundle, segmenter, judge=judge) as seer:
        for picture in pictures:
            decision = seer.look(read_picture(picture.path)).decision
            judged.append(
                Judged(picture, str(decision.label), decision.confidence, decision.outcome)
            )
            tick()
        return Factorial(bundle.model_id, seer.name, tuple(judged))


def repeated(pictures: tuple[Picture, ...]) -> tuple[Picture, ...]:
    """Those with a label and a surface whose item lies on two surfaces or more."""
    drawn = rendered.of_group(pictures, "factorial")
    usable = [p for p in drawn if p.label and p.surface]
    places: dict[tuple[str, int], set[str]] = {}
    for picture in usable:
        places.setdefault((picture.item, picture.seed), set()).add(picture.surface)
    found = tuple(p for p in usable if len(places[p.item, p.seed]) > 1)
    if not found:
        raise UsageError(
            "factorial: no item lies on two surfaces; the catalogue must give item, seed, "
            "surface and label, and the same item and seed more than once"
        )
    return found


def as_text(result: Factorial) -> str:
    """For a person: a line, and the surfaces as a Markdown table."""
    found = result.as_dict()
    low, high = found["label_changes_95"]
    lines = [
        f"{found['items']} items on {len(found['surfaces'])} surfaces, {found['n']} pictures: "
        f"{found['accuracy']:.1f} % right; from one surface to another the label changes in "
        f"{found['label_changes']:.1f} % ({low:.1f} to {high:.1f}); "
        f"{found['items_changed']} items change it at least once",
        "",
        "| surface | n | right, % | not as elsewhere, % | sorted, % |",
        "|---|---:|---:|---:|---:|",
    ]
    for surface, line in found["per_surface"].items():
        lines.append(
            f"| {surface} | {line['n']} | {line['accuracy']:.1f} | "
            f"{line['not_as_elsewhere']:.1f} | {line['sorted']:.1f} |"
        )
    return "\n".join(lines)
