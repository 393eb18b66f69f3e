"""Chooses by measurement how a bundle tells that a thing is none of its classes.

Items are validation photos as they are, on other surfaces, and cut out, and rendered ones (the
sample frames and the folder's items of split `tune`), lest things be strange for being rendered;
how far that helped is measured on rendered items that nothing was learned from. Strange things to
tune by are drawn here (surfaces, outlines filled with wood, cloth, speckle, stone) and rendered
(the `tune` split of a folder); those that the figures are measured on (the `test` split) are used
for nothing else. What a measure learns is judged out of fold: an item by numbers that its photo had
no part in, a rendered can by numbers that have seen no can, a kind of strange thing by numbers that
have seen other kinds only. Empty trays tune too, and are reported by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Bundle, load_bundle
from edge.errors import UsageError
from edge.evidence import KINDS, Rejection
from trainer import bundles
from trainer.reject_data import EMPTY, RENDERED, Evidence
from trainer.reject_fit import evidence_of, fit, usable
from trainer.reject_scores import (
    Demand,
    Doubles,
    Flags,
    Point,
    auroc,
    best_point,
    floor_for,
    passed,
    sure,
)
from trainer.scoring import Labels, Probs
from trainer.views import KNOWN
from trainer.witness import Answers, with_features

FOLDS = 5
# What a second output of the network must win, in strange things refused, to be worth carrying.
CLEAR_MARGIN = 0.03
RULE = (
    "the measure, its floor and the least confidence (the same for every label) that sort the "
    "share `sorts` of the items, `sorts_rendered` of the rendered among them, and fewest of the "
    "strange things to tune by; a measure of features "
    f"only where it refuses {100 * CLEAR_MARGIN:g} points more than the best of the logits"
)
Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure: shares are 0..1, `at_95` is with 95 % of the items above the floor."""

    kind: str
    known: Doubles  # evidence of the items, out of fold
    tune: dict[str, Doubles]  # of the strange things, each kind by numbers of the others
    test: dict[str, Doubles]
    final: Rejection  # learned from all, with the floor of `point`
    point: Point


def study(evidence: Evidence, *, share: float, rendered: float = 0.0) -> list[Measured]:
    """Every measure at the point where `share` of the items are still sorted, the best first.

    And at least the share `rendered` of the rendered items.
    """
    drawn = _is_rendered(evidence)
    demands = [Demand(np.ones_like(drawn), share)]
    if rendered:
        demands.append(Demand(drawn, rendered))
    found = [_measured(evidence, kind, demands) for kind in usable(evidence.known)]
    return sorted(found, key=lambda m: m.point.unknown_sorted)


def chosen_of(found: list[Measured]) -> Measured:
    """By the rule above, from what tuning showed; the test split has no say."""
    plain = [m for m in found if not KINDS[m.kind].needs_features]
    best, simple = found[0], plain[0]
    gain = simple.point.unknown_sorted - best.point.unknown_sorted
    return best if gain >= CLEAR_MARGIN else simple


def _is_rendered(e: Evidence) -> Flags:
    return np.array(e.views) == RENDERED


def _measured(e: Evidence, kind: str, demands: Sequence[Demand]) -> Measured:
    known = np.zeros(len(e.known))
    folds = e.rows % FOLDS
    for fold in range(FOLDS):
        mine = folds == fold
        if mine.any():
            rest = fit(kind, *_weighed(e, ~mine), e.tune)
            known[mine] = evidence_of(rest, e.known.rows(mine))
    tune = {}
    for name, answers in e.tune.items():
        others = {k: a for k, a in e.tune.items() if _family(k) != _family(name)}
        tune[name] = evidence_of(fit(kind, *_weighed(e), others), answers)
    final = fit(kind, *_weighed(e), e.tune)
    point = best_point(
        (e.known.probs, known),
        _by_family(e.tune, tune),
        demands=demands,
        min_margin=e.bundle.min_margin,
    )
    test = {name: evidence_of(final, answers) for name, answers in e.test.items()}
    floor = float(f"{point.floor:.5g}")
    return Measured(kind, known, tune, test, replace(final, threshold=floor), point)


def _weighed(e: Evidence, which: np.ndarray | None = None) -> tuple[Answers, Labels]:
    """The items to learn from; rendered ones as often as makes them about as many as photos."""
    drawn = _is_rendered(e)
    more = max(1, round((len(drawn) - drawn.sum()) / max(1, drawn.sum())))
    times = np.where(drawn, more, 1)
    rows = np.repeat(np.arange(len(e.known)), times if which is None else times * which)
    return e.known.rows(rows), e.truth[rows]


def _by_family(
    answers: dict[str, Answers], evidence: dict[str, Doubles]
) -> dict[str, tuple[Probs, Doubles]]:
    """Probabilities and evidence of each family: all surfaces count as much as all mugs."""
    families: dict[str, list[str]] = {}
    for kind in answers:
        families.setdefault(_family(kind), []).append(kind)
    return {
        family: (
            Answers.joined(answers[kind] for kind in kinds).probs,
            np.concatenate([evidence[kind] for kind in kinds]),
        )
        for family, kinds in families.items()
    }


def _family(kind: str) -> str:
    """Kinds that are drawn alike are left out together: all bare surfaces, all strange outlines."""
    return kind.partition(" ")[0]


def figures_of(e: Evidence, m: Measured) -> dict[str, Any]:
    """One line of the table; plain values, shares 0..1."""
    alone = floor_for(m.known, 0.95)
    figures: dict[str, Any] = {"kind": m.kind, "features": KINDS[m.kind].needs_features}
    for name, side in (("tune", m.tune), ("test", m.test)):
        things = {kind: values for kind, values in side.items() if kind != EMPTY}
        if things:
            together = np.concatenate(list(things.values()))
            figures[f"auroc_{name}"] = round(auroc(m.known, together), 4)
            figures[f"fpr95_{name}"] = round(passed(together, alone), 4)
            figures[f"refused_{name}"] = round(1 - _mean(e, m, name), 4)
    if e.check is not None and m.test:
        # Items and strange things of one renderer: what is left when being rendered tells nothing.
        items = evidence_of(m.final, e.check)
        things = np.concatenate([v for kind, v in m.test.items() if kind != EMPTY])
        figures["auroc_rendered"] = round(auroc(items, things), 4)
        figures["fpr95_rendered"] = round(passed(things, floor_for(items, 0.95)), 4)
    return figures


def operating(e: Evidence, m: Measured) -> dict[str, Any]:
    """What becomes of items and strange things at the point of a measure."""
    items = {}
    done = _sorted(e.known, m.known, m.point)
    right = e.known.logits.argmax(1) == e.truth
    for view in (*KNOWN, RENDERED):
        mine = np.array([kind == view for kind in e.views])
        if mine.any():
            items[view] = _item_line(done[mine], right[mine])
    if e.check is not None:
        passing = _sorted(e.check, evidence_of(m.final, e.check), m.point)
        hits = e.check.logits.argmax(1) == e.check_truth
        items["rendered, only measured"] = _item_line(passing, hits)
    return {
        "floor": m.final.threshold,
        "least_confidence": m.point.confidence,
        "min_margin": m.point.min_margin,
        "items": {"all": _item_line(done, right), **items},
        "refused": {
            name: {kind: _strange_line(e, m, name, kind) for kind in getattr(e, name)}
            for name in ("tune", "test")
        },
    }


def before(e: Evidence) -> dict[str, Any]:
    """What the bundle as it stands does, by its thresholds and the rule it has, if any."""
    rule = e.bundle.rejection

    def done(answers: Answers) -> float:
        needed = np.array(e.bundle.thresholds)[answers.probs.argmax(1)]
        able = sure(answers.probs, 0.0, e.bundle.min_margin) & (answers.probs.max(1) >= needed)
        if rule is not None:
            able &= evidence_of(rule, answers) >= rule.threshold
        return round(float(able.mean()), 4)

    return {
        "items_sorted": done(e.known),
        "refused": {kind: round(1 - done(a), 4) for kind, a in {**e.tune, **e.test}.items()},
    }


def _sorted(answers: Answers, evidence: Doubles, point: Point) -> np.ndarray:
    return _passing(answers.probs, evidence, point)


def _passing(probs: Probs, evidence: Doubles, point: Point) -> np.ndarray:
    able = sure(probs, point.confidence, point.min_margin)
    return np.asarray(able & (evidence >= point.floor))


def _mean(e: Evidence, m: Measured, name: str) -> float:
    """Share of strange things that are sorted, each family weighing the same."""
    sides = {"tune": (e.tune, m.tune), "test": (e.test, m.test)}
    families = _by_family(*sides[name])
    things = [pair for family, pair in families.items() if family != EMPTY]
    sorted_ = [_passing(probs, evidence, m.point) for probs, evidence in things]
    return float(np.mean([flags.mean() for flags in sorted_]))


def _item_line(done: np.ndarray, right: np.ndarray) -> dict[str, float]:
    return {
        "n": len(done),
        "sorted": round(float(done.mean()), 4),
        "right_of_sorted": round(float(right[done].mean()), 4) if done.any() else float("nan"),
    }


def _strange_line(e: Evidence, m: Measured, name: str, kind: str) -> dict[str, float]:
    sides = {"tune": (e.tune, m.tune), "test": (e.test, m.test)}
    answers, evidence = sides[name][0][kind], sides[name][1][kind]
    done = _sorted(answers, evidence, m.point)
    return {"n": len(done), "refused": round(1 - float(done.mean()), 4)}


def applied(bundle: Bundle, m: Measured) -> Bundle:
    """The bundle as `write` would leave it, for what is chosen after this."""
    return replace(
        bundle,
        rejection=m.final,
        thresholds=(m.point.confidence,) * len(bundle.labels),
        min_margin=m.point.min_margin,
    )


def write(
    bundle_path: Path, m: Measured, shares: dict[str, float], figures: dict[str, Any]
) -> Bundle:
    """Put the chosen rule and its least confidence into the bundle, one version up."""
    bundle = load_bundle(bundle_path)
    rule = m.final
    if not np.isfinite(rule.threshold):
        asked = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        raise UsageError(f"{bundle_path}: no floor of {m.kind} gives {asked}; nothing written")
    card = {
        "kind": rule.kind,
        "threshold": rule.threshold,
        "numbers": {name: _plain(values) for name, values in rule.numbers.items()},
        **shares,
        "rule": RULE,
        "measured": figures,
    }
    original = figures["items"][KNOWN[0]]
    calibration = {
        **bundle.card.get("calibration", {}),
        "rule": RULE,
        "coverage": original["sorted"],
        "selective_accuracy": original["right_of_sorted"],
    }
    changes = {
        "reject": card,
        "calibration": calibration,
        "thresholds": dict.fromkeys(bundle.labels, m.point.confidence),
        "min_margin": m.point.min_margin,
        "costs": None,  # of thresholds that are gone
    }
    network = with_features(bundle.onnx) if rule.needs_features else None
    return bundles.amend(bundle_path, changes, network)


def _plain(values: np.ndarray) -> Any:
    """Lists of numbers with five digits, as they were rounded when learned."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [float(f"{value:.5g}") for value in values]
