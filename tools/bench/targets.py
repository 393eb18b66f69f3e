"""What was promised, and whether it is so: each target with its figure, pass or lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.bench.limits import Limits
from tools.bench.measure import Measured
from tools.bench.path import JPEG, OURS, RAW, Row

LITE0 = "EfficientNet-Lite0"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise; `met` is None where it could not be measured."""

    promise: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.met is None else "pass" if self.met else "**lost**"


def network_targets(rows: Sequence[Measured], limits: Limits) -> list[Target]:
    """Speed and accuracy against EfficientNet-Lite0 as int8 in LiteRT, and the arithmetic floor."""
    ours = _one(rows, lambda r: r.contender.ours and r.contender.precision == "int8")
    lites = [
        row
        for row in rows
        if row.contender.name.startswith(LITE0) and row.contender.runtime == "LiteRT" and row.one
    ]
    found = [_faster(ours, lites), *(_more_right(ours, lite) for lite in lites)]
    times = limits.p50_ms / limits.floor_ms
    told = f"{times:.2f} times the floor of {limits.floor_ms:.2f} ms"
    return [*found, Target("within 3 times of the arithmetic floor", told, times <= 3)]


def _faster(ours: Measured | None, lites: Sequence[Measured]) -> Target:
    promise = f"3 times faster than {LITE0} as int8 in LiteRT"
    if ours is None or ours.one is None or not lites or lites[0].one is None:
        return Target(promise, "LiteRT is not here", None)
    times = lites[0].one.p50 / ours.one.p50
    told = f"{times:.2f} times ({ours.one.p50:.2f} ms against {lites[0].one.p50:.2f})"
    return Target(promise, told, times >= 3)


def _more_right(ours: Measured | None, lite: Measured) -> Target:
    promise = f"more right than {lite.contender.name} as int8 in LiteRT"
    if ours is None or ours.score is None or lite.score is None:
        return Target(promise, "no pictures, or not trained", None)
    told = f"{ours.score.accuracy:.1%} against {lite.score.accuracy:.1%}"
    if ours.score.worst is not None and lite.score.worst is not None:
        told += f"; on the worst background {ours.score.worst:.1f} % against {lite.score.worst:.1f}"
    return Target(promise, told, ours.score.accuracy > lite.score.accuracy)


def path_targets(rows: Sequence[Row], cores: str) -> list[Target]:
    """Ours against each script, from the same picture."""
    ms = {row.name: row.spent.p50 for row in rows}
    found = []
    for row in rows:
        if row.name.startswith(OURS):
            continue
        least = 10 if "rembg" in row.name else 2
        mine = ms[f"{OURS}, {JPEG if JPEG in row.name else RAW}"]
        times = row.spent.p50 / mine
        told = f"{times:.2f} times ({mine:.2f} ms against {row.spent.p50:.2f})"
        promise = f"whole path {least} times faster than the {row.name}, {cores}"
        found.append(Target(promise, told, times >= least))
    if not any("rembg" in row.name for row in rows):
        promise = f"whole path 10 times faster than the script with rembg, {cores}"
        found.append(Target(promise, "rembg or its weights are not here", None))
    return found


def rate_target(decided_per_s: float, cores: float) -> Target:
    """Sustained decisions on one core."""
    told = f"{decided_per_s:.0f} a second on {cores:.2f} of one core, capture process included"
    return Target("200 decisions a second on one core", told, decided_per_s >= 200)


def import_target(p50_ms: float) -> Target:
    """A fresh process that imports the daemon."""
    return Target("import of the edge under 0.4 s", f"{p50_ms / 1000:.2f} s", p50_ms < 400)


def squeeze_target(p50_ms: float) -> Target:
    """Preprocessing of a 1280x720 frame."""
    return Target("preprocessing of 1280x720 under 0.5 ms", f"{p50_ms:.2f} ms", p50_ms < 0.5)


def _one(rows: Sequence[Measured], wanted: Callable[[Measured], bool]) -> Measured | None:
    found = [row for row in rows if wanted(row)]
    return next((r for r in found if r.contender.runtime == "onnxruntime"), None)
