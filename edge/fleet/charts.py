"""Small charts, drawn on the server: nothing to load, nothing to run.

The drawing stretches to whatever width there is; its words do not, so that they are as large on a
phone as on a desk. So only lines and bars are in the stretched SVG, and the words are beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 1000, 100  # user units of a drawing; the page stretches them
COLOURS = 8  # classes c0..c7 in the style sheet
GAP = 0.12  # of a bar's width
FRESH_S = 900.0  # what is no older is of now

Tick = tuple[float, str, str]  # where, 0..1 from the left; words; start, middle or end


def bars(
    hours: Mapping[int, Mapping[str, int]], *, from_hour: int, to_hour: int, names: Sequence[str]
) -> Markup:
    """Stacked counts by hour since the epoch; `names` gives order and colour, the rest is grey."""
    known = {name: n % COLOURS for n, name in enumerate(names)}
    top = max((sum(row.values()) for row in hours.values()), default=0) or 1
    width = WIDTH / (to_hour - from_hour + 1)
    parts = []
    for hour in range(from_hour, to_hour + 1):
        x, y = (hour - from_hour) * width, float(HEIGHT)
        for name, n in sorted(hours.get(hour, {}).items(), key=lambda pair: known.get(pair[0], 99)):
            height = n / top * HEIGHT
            y -= height
            tone = f"c{known[name]}" if name in known else "other"
            parts.append(
                f'<rect class="{tone}" x="{x + GAP / 2 * width:.2f}" y="{y:.2f}" '
                f'width="{(1 - GAP) * width:.2f}" height="{height:.2f}">'
                f"<title>{escape(name)}: {n}</title></rect>"
            )
    ticks = _hour_ticks(from_hour, to_hour)
    return _figure(parts, "Decisions by hour and class, UTC", ends=(_short(top), "0"), ticks=ticks)


def _hour_ticks(from_hour: int, to_hour: int) -> list[Tick]:
    """Every third hour of a day; of more, each midnight by its day."""
    n = to_hour - from_hour + 1
    step, form = (3, "%H:%M") if n <= 48 else (24, "%a %d")
    return [
        ((hour - from_hour + 0.5) / n, time.strftime(form, time.gmtime(hour * 3600)), "middle")
        for hour in range(from_hour, to_hour + 1)
        if hour % step == 0
    ]


def lines(
    points: Sequence[tuple[float, Sequence[float | None]]],
    *,
    now_ts: float,
    low: float | None = None,
    high: float | None = None,
    mark: float | None = None,
    title: str,
    unit: str = "",
) -> Markup:
    """Lines over time; `points` are (seconds, values), `mark` a dashed level."""
    values = [value for _, row in points for value in row if value is not None]
    if not values:
        return Markup('<p class="quiet">Nothing yet.</p>')
    levels = [*values, *([mark] if mark is not None else [])]
    bottom = min(levels) if low is None else low
    top = max(levels) if high is None else high
    top = top if top > bottom else bottom + 1
    first, last = points[0][0], points[-1][0]

    def place(ts: float, value: float) -> tuple[float, float]:
        share = min(1.0, max(0.0, (value - bottom) / (top - bottom)))
        x = (ts - first) / (last - first) if last > first else 1.0
        return x * WIDTH, HEIGHT * (1 - share)

    parts = []
    if mark is not None:
        _, y = place(first, mark)
        parts.append(f'<line class="mark" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for n in range(len(points[0][1])):
        parts.append(_line([place(ts, v) for ts, row in points if (v := row[n]) is not None], n))
    ends = (_short(top) + unit, _short(bottom))
    old: list[Tick] = [(0, _back(now_ts - first), "start")] if last > first else []
    return _figure(parts, title, ends=ends, ticks=[*old, (1, _back(now_ts - last), "end")])


def _line(spots: Sequence[tuple[float, float]], number: int) -> str:
    """A way through the spots; of one, a dot, which is a line too short to be seen as one."""
    is_dot = len(spots) == 1
    ends = [*spots, (spots[0][0] - 0.1, spots[0][1])] if is_dot else spots
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in ends)
    return f'<polyline class="line l{number}{" dot" if is_dot else ""}" points="{way}"/>'


def _figure(
    parts: Iterable[str], title: str, *, ends: tuple[str, str], ticks: Iterable[Tick]
) -> Markup:
    """A drawing between the words for its top and bottom and those under it."""
    words = "".join(
        f'<text x="{share:.2%}" y="13" text-anchor="{anchor}">{escape(text)}</text>'
        for share, text, anchor in ticks
    )
    # Every part is ours, or escaped where it was made.
    return Markup(
        f'<div class="chart" role="img" aria-label="{escape(title)}">'
        f'<div class="scale"><span>{escape(ends[0])}</span><span>{escape(ends[1])}</span></div>'
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        + "".join(parts)
        + f'</svg><svg class="ticks">{words}</svg></div>'
    )


def _short(value: float) -> str:
    if value and abs(value) < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value / 1000:.1f}k" if abs(value) >= 10_000 else f"{value:.0f}"


def _back(seconds: float) -> str:
    """How long ago, in words for the foot of a chart."""
    if seconds < FRESH_S:
        return "now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{math.floor(seconds / size)} {unit} ago"
    return f"{seconds:.0f} s ago"
