"""Accuracy against latency, with the frontier: no network on it is beaten in both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.bench.measure import Measured

OURS, THEIRS, LATE = "#0b6e4f", "#a23b2a", "#8a8a8a"
Point = tuple[float, float]  # milliseconds, percent


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other one beats in both, by time."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best


def draw(rows: Sequence[Measured], path: Path) -> None:
    """PNG of the rows that have both figures; those without accuracy are ticks below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), dpi=100)
    right = [row for row in rows if row.one and row.score]
    points = [_point(row) for row in right]
    edge = frontier(points)
    axes.step([p[0] for p in edge], [p[1] for p in edge], where="post", color=OURS, alpha=0.4)
    for number, (row, (ms, percent)) in enumerate(zip(right, points, strict=True), start=1):
        assert row.score
        low, high = (100 * share for share in row.score.interval)
        colour = OURS if row.contender.ours else THEIRS
        spread = [[percent - low], [high - percent]]
        told = f"{number}  {row.contender.key}"
        axes.errorbar(
            ms, percent, yerr=spread, fmt="o", color=colour, alpha=0.7, capsize=3, label=told
        )
        place = (3, 4 if number % 2 else -11)
        axes.annotate(str(number), (ms, percent), xytext=place, textcoords="offset points")
    if right:
        axes.legend(fontsize=7, loc="upper right")
    low_end = min((100 * row.score.interval[0] for row in right if row.score), default=80) - 2
    for row in rows:
        if row.one and not row.score:
            axes.plot(row.one.p50, low_end, "|", color=LATE, markersize=14)
            axes.annotate(
                row.contender.key,
                (row.one.p50, low_end),
                xytext=(-3, 10),
                textcoords="offset points",
                fontsize=6,
                rotation=90,
                color=LATE,
            )
    axes.set_xscale("log")
    ticks = [1, 2, 3, 5, 10, 20, 40]
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("milliseconds on one thread, median (log); grey: latency only, not trained")
    axes.set_ylabel("accuracy on the names given, %, 95 % interval")
    axes.grid(alpha=0.2)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _point(row: Measured) -> Point:
    assert row.one and row.score
    return row.one.p50, 100 * row.score.accuracy
