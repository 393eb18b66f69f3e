"""The figures of a run: what came out, beside what the classifier alone would have done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.beltsim.daemon import ROUTES
from edge.beltsim.fate import SAFE, Fate
from edge.beltsim.line import Line, Told
from edge.beltsim.scenery import Scenery
from edge.beltsim.world import Thing
from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.shipped import default_model

HISTOGRAM_MS = (5, 10, 20, 30, 40, 60, 80, 120, 200)  # upper edges; the last bar is all above


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares are 0..1, None where nothing was counted."""

    broker: str
    items: int
    per_min: float  # as they passed the gate
    speed_mm_s: float
    encoder: bool
    outcomes: Mapping[str, int]
    undecided: int  # items without a decision
    strange: int  # decisions without an item
    again: int  # decisions that came twice
    acks: Mapping[str, int]
    kicks: int
    wrong_kicks: int
    missed: int  # decided for a diverter that met nothing
    late_share: float
    purity: Mapping[str, float | None]  # of each bin
    counts: Mapping[str, int]
    sorted_purity: float | None  # of all bins but the safe one
    own_precision: float | None  # the same, had every diverter hit: frames classified directly
    disagreements: int  # frames that were judged otherwise than on the belt
    recall: Mapping[str, float | None]  # of each class: the share that reached its bin
    decision_ms: Mapping[str, float]  # p50, p99, worst: from the exposure to the decision
    notice_ms: Mapping[str, float]  # p50, p1, least: from the decision to its moment
    hit_off_mm: Mapping[str, float]  # p50, p99, worst: item's middle from the paddle's
    histogram_ms: Mapping[str, int]  # of decision_ms

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


def route_of(label: str) -> str:
    """Where a class belongs."""
    return ROUTES.get(label, SAFE)


def figures_of(line: Line, *, now_s: float, direct: bool = True) -> Figures:
    """The figures so far; `direct` classifies every judged frame once more, apart from the belt."""
    told = list(line.told())
    fate, world = line.fate, line.world
    judged = [entry for entry in told if entry.thing]
    named = {entry.thing.number for entry in judged if entry.thing}
    outcomes = Counter(entry.decision["outcome"] for entry in told)
    late = outcomes["late"] + sum(entry.ack == "late" for entry in told)
    own, disagreements = _own_precision(line, judged) if direct else (None, 0)
    minutes = (world.lead_times[-1] - world.lead_times[0]) / 60
    return Figures(
        broker=line.broker,
        items=len(world.things),
        per_min=round((len(world.things) - 1) / minutes, 1) if minutes else 0.0,
        speed_mm_s=world.speed_mm_s,
        encoder=line.setup.encoder,
        outcomes=dict(outcomes),
        undecided=len(world.things) - len(named),
        strange=len(told) - len(judged),
        again=line.record.again,
        acks=dict(Counter(entry.ack or "none" for entry in told if "fire_at" in entry.decision)),
        kicks=len(fate.kicks),
        wrong_kicks=sum(kick.wrong for kick in fate.kicks),
        missed=sum(kick.number not in kick.hits for kick in fate.kicks),
        late_share=late / max(1, len(told)),
        **_bins(fate, fate.gone(now_s)),
        own_precision=own,
        disagreements=disagreements,
        **_times(line, told),
    )


def _bins(fate: Fate, gone: Sequence[Thing]) -> dict[str, Any]:
    """Counts and purity of the bins, recall of the classes."""
    contents: dict[str, list[str]] = defaultdict(list)  # bin: labels in it
    reached: dict[str, list[bool]] = defaultdict(list)  # label: whether it is in its bin
    for thing in gone:
        label, bin_name = fate.world.sprites[thing.sprite].label, fate.bin_of(thing)
        contents[bin_name].append(label)
        reached[label].append(bin_name == route_of(label))
    names = [*fate.layout.diverters_mm, SAFE]
    right = {name: [route_of(label) == name for label in contents[name]] for name in names}
    swept = [good for name in fate.layout.diverters_mm for good in right[name]]
    return {
        "purity": {name: _share(right[name]) for name in names},
        "counts": {name: len(contents[name]) for name in names},
        "sorted_purity": _share(swept),
        "recall": {label: _share(hits) for label, hits in sorted(reached.items())},
    }


def _times(line: Line, told: Sequence[Told]) -> dict[str, Any]:
    latency_ms = [entry.decision["latency_ms"] for entry in told if entry.decision["top"]]
    fired = [entry.decision for entry in told if "fire_at" in entry.decision]
    notice_ms = [(d["fire_at"]["ts"] - d["decided_ts"]) * 1000 for d in fired]
    off_mm = [abs(_off_mm(line, kick.route, kick.number, kick.at_s)) for kick in line.fate.kicks]
    return {
        "decision_ms": _spread(latency_ms, 99),
        "notice_ms": _spread(notice_ms, 1),
        "hit_off_mm": _spread(off_mm, 99),
        "histogram_ms": _histogram(latency_ms),
    }


def _off_mm(line: Line, route: str, number: int, at_s: float) -> float:
    """How far the item's middle was from the paddle's; nought for an item that is unknown."""
    if not number:
        return 0.0
    thing = line.world.things[number - 1]
    here_mm = line.world.travel_mm(at_s) - thing.middle_mm
    return here_mm - line.setup.layout.diverters_mm[route]


def _own_precision(line: Line, judged: Iterable[Told]) -> tuple[float | None, int]:
    """Classify the very frames again, outside the daemon; nothing of the belt can spoil this."""
    bundle = load_bundle(default_model())
    classifier = Classifier(bundle)
    rules = Rules(
        labels=bundle.labels,
        thresholds=bundle.thresholds,
        min_margin=bundle.min_margin,
        min_agreement=0.0,
        rejection=bundle.rejection,
    )
    routes, scenery = Routes(SAFE, ROUTES), Scenery(line.world)
    right, disagreements = [], 0
    for entry in judged:
        if not entry.decision["top"] or entry.thing is None:
            continue
        picture = scenery.picture(float(entry.decision["picture"]))
        own = decide([classifier.classify(picture)], rules=rules, routes=routes)
        disagreements += own.route != entry.decision["route"]
        if own.route != SAFE:
            label = line.world.sprites[entry.thing.sprite].label
            right.append(route_of(label) == own.route)
    return _share(right), disagreements


def _share(hits: Sequence[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None


def _spread(values: Sequence[float], edge: int) -> dict[str, float]:
    """Median, a percentile near the bad end, and the worst."""
    if not values:
        return {}
    worst = max(values) if edge > 50 else min(values)
    tail = float(np.percentile(values, edge))
    median = float(np.median(values))
    return {"p50": round(median, 2), f"p{edge}": round(tail, 2), "worst": round(worst, 2)}


def _histogram(values: Sequence[float]) -> dict[str, int]:
    edges = [-np.inf, *HISTOGRAM_MS, np.inf]
    counts, _ = np.histogram(values, edges)
    names = [f"<{edge}" for edge in HISTOGRAM_MS] + [f">={HISTOGRAM_MS[-1]}"]
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
