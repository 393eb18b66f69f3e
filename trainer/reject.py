"""Chooses by measurement how a bundle tells that a thing is none of its classes.

Items are validation photos as they are, on other surfaces, and cut out. Strange things to tune by
are drawn here (surfaces, outlines filled with wood, cloth, speckle, stone) and rendered (the
`tune` split of a folder); those that the figures are measured on (the `test` split) are used for
nothing else. What a measure learns is judged out of fold: an item by numbers that its photo had no
part in, a kind of strange thing by numbers that have seen other kinds only. Empty trays tune too,
and are reported by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Bundle, load_bundle
from edge.errors import UsageError
from edge.evidence import KINDS, Rejection
from edge.pictures import read_picture
from trainer import bundles, rendered
from trainer.data import PhotoSet
from trainer.evaluate import truth_of
from trainer.reject_fit import evidence_of, fit, usable
from trainer.reject_scores import Doubles, Point, auroc, best_point, floor_for, passed, sure
from trainer.scoring import Labels
from trainer.views import KNOWN, look_at_items, strange_views
from trainer.witness import Answers, Witness, with_features

FOLDS = 5
EMPTY = "empty"  # rendered trays with nothing on them; not among the unknown things
# What a second output of the network must win, in strange things refused, to be worth carrying.
CLEAR_MARGIN = 0.03
RULE = (
    "the measure, its floor and the least confidence (the same for every label) that sort the "
    "share `sorts` of the items and fewest of the strange things to tune by; a measure of features "
    f"only where it refuses {100 * CLEAR_MARGIN:g} points more than the best of the logits"
)
Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the network says of every picture, before anything is chosen."""

    bundle: Bundle
    known: Answers
    views: tuple[str, ...]  # of each known picture, one of KNOWN
    rows: Labels  # the photo that each known picture was made from
    truth: Labels
    tune: dict[str, Answers]  # by kind of strange thing
    test: dict[str, Answers]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure: shares are 0..1, `at_95` is with 95 % of the items above the floor."""

    kind: str
    known: Doubles  # evidence of the items, out of fold
    tune: dict[str, Doubles]  # of the strange things, each kind by numbers of the others
    test: dict[str, Doubles]
    final: Rejection  # learned from all, with the floor of `point`
    point: Point


def gather(
    bundle_path: Path, photos: PhotoSet, masks: Path | None, unknown: Path | None, tick: Tick
) -> Evidence:
    """Look once at every picture; raises UsageError where there is no test split to measure on."""
    bundle = load_bundle(bundle_path)
    witness = Witness(bundle)
    truth = truth_of(photos, bundle.labels)
    seen = look_at_items(witness, photos, masks, tick)
    tune: dict[str, list[Answers]] = {}
    for view in strange_views(photos, masks):
        tune.setdefault(view.kind, []).append(witness.look(view.pixels))
        tick()
    test: dict[str, list[Answers]] = {}
    drawn = rendered.load(unknown) if unknown else ()
    for picture in rendered.of_group(drawn, "unknown", EMPTY):
        side = tune if picture.split == rendered.TUNE else test
        side.setdefault(picture.kind, []).append(witness.look(read_picture(picture.path)))
        tick()
    return Evidence(
        bundle=bundle,
        known=seen.answers,
        views=seen.views,
        rows=seen.rows,
        truth=truth[seen.rows],
        tune={kind: Answers.joined(parts) for kind, parts in tune.items()},
        test={kind: Answers.joined(parts) for kind, parts in test.items()},
    )


def study(evidence: Evidence, *, share: float) -> list[Measured]:
    """Every measure at the point where `share` of the items are still sorted, the best first."""
    found = [_measured(evidence, kind, share) for kind in usable(evidence.known)]
    return sorted(found, key=lambda m: m.point.unknown_sorted)


def chosen_of(found: list[Measured]) -> Measured:
    """By the rule above, from what tuning showed; the test split has no say."""
    plain = [m for m in found if not KINDS[m.kind].needs_features]
    best, simple = found[0], plain[0]
    gain = simple.point.unknown_sorted - best.point.unknown_sorted
    return best if gain >= CLEAR_MARGIN else simple


def _measured(e: Evidence, kind: str, share: float) -> Measured:
    everything = Answers.joined(e.tune.values())
    known = np.zeros(len(e.known))
    folds = e.rows % FOLDS
    for fold in range(FOLDS):
        mine = folds == fold
        if mine.any():
            rest = fit(kind, e.known.rows(~mine), e.truth[~mine], everything)
            known[mine] = evidence_of(rest, e.known.rows(mine))
    tune = {}
    for name, answers in e.tune.items():
        others = Answers.joined(a for k, a in e.tune.items() if _family(k) != _family(name))
        tune[name] = evidence_of(fit(kind, e.known, e.truth, others), answers)
    final = fit(kind, e.known, e.truth, everything)
    point = best_point(
        (e.known.probs, known),
        {name: (answers.probs, tune[name]) for name, answers in e.tune.items()},
        share=share,
        min_margin=e.bundle.min_margin,
    )
    test = {name: evidence_of(final, answers) for name, answers in e.test.items()}
    floor = float(f"{point.floor:.5g}")
    return Measured(kind, known, tune, test, replace(final, threshold=floor), point)


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
    return figures


def operating(e: Evidence, m: Measured) -> dict[str, Any]:
    """What becomes of items and strange things at the point of a measure."""
    items = {}
    done = _sorted(e.known, m.known, m.point)
    right = e.known.logits.argmax(1) == e.truth
    for view in KNOWN:
        mine = np.array([kind == view for kind in e.views])
        if mine.any():
            items[view] = _item_line(done[mine], right[mine])
    return {
        "floor": m.final.threshold,
        "least_confidence": m.point.confidence,
        "min_margin": m.point.min_margin,
        "items": {**items, "all": _item_line(done, right)},
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
    able = sure(answers.probs, point.confidence, point.min_margin)
    return np.asarray(able & (evidence >= point.floor))


def _mean(e: Evidence, m: Measured, name: str) -> float:
    """Share of strange things that are sorted, each kind weighing the same."""
    sides = {"tune": (e.tune, m.tune), "test": (e.test, m.test)}
    answers, evidence = sides[name]
    things = [kind for kind in answers if kind != EMPTY]
    return float(np.mean([_sorted(answers[k], evidence[k], m.point).mean() for k in things]))


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


def write(bundle_path: Path, m: Measured, share: float, figures: dict[str, Any]) -> Bundle:
    """Put the chosen rule and its least confidence into the bundle, one version up."""
    bundle = load_bundle(bundle_path)
    rule = m.final
    if not np.isfinite(rule.threshold):
        raise UsageError(f"{bundle_path}: no floor of {m.kind} sorts {share:.0%}; nothing written")
    card = {
        "kind": rule.kind,
        "threshold": rule.threshold,
        "numbers": {name: _plain(values) for name, values in rule.numbers.items()},
        "sorts": share,
        "rule": RULE,
        "measured": figures,
    }
    changes = {
        "reject": card,
        "thresholds": dict.fromkeys(bundle.labels, m.point.confidence),
        "min_margin": m.point.min_margin,
    }
    network = with_features(bundle.onnx) if rule.needs_features else None
    return bundles.amend(bundle_path, changes, network)


def _plain(values: np.ndarray) -> Any:
    """Lists of numbers with five digits, as they were rounded when learned."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [float(f"{value:.5g}") for value in values]
