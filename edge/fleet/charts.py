"""Small charts as SVG, drawn on the server: nothing to load, nothing to run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 160  # user units; the page scales them
WIDE = 1120  # of a chart over the whole page
LEFT, BOTTOM, TOP, RIGHT = 40, 22, 8, 6
COLOURS = 8  # classes c0..c7 in the style sheet


def bars(
    hours: Mapping[int, Mapping[str, int]], *, from_hour: int, to_hour: int, names: Sequence[str]
) -> Markup:
    """Stacked counts by hour; `names` gives order and colour, the rest is grey."""
    known = {name: n % COLOURS for n, name in enumerate(names)}
    top = max((sum(row.values()) for row in hours.values()), default=0) or 1
    width = (WIDE - LEFT - RIGHT) / (to_hour - from_hour + 1)
    step = 3 if to_hour - from_hour < 48 else 24
    parts = [_axes(top, right=WIDE - RIGHT)]
    for hour in range(from_hour, to_hour + 1):
        x, y = LEFT + (hour - from_hour) * width, float(HEIGHT - BOTTOM)
        for name, n in sorted(hours.get(hour, {}).items(), key=lambda pair: known.get(pair[0], 99)):
            height = n / top * (HEIGHT - BOTTOM - TOP)
            y -= height
            tone = f"c{known[name]}" if name in known else "other"
            parts.append(
                f'<rect class="{tone}" x="{x + 1:.1f}" y="{y:.1f}" width="{max(1, width - 2):.1f}" '
                f'height="{height:.1f}"><title>{escape(name)}: {n}</title></rect>'
            )
        if hour % step == 0:
            parts.append(_text(x + width / 2, HEIGHT - 6, f"{hour % 24:02d}:00", "middle"))
    return _svg(parts, "Decisions by hour and class, UTC", width=WIDE)


def lines(
    points: Sequence[tuple[float, Sequence[float | None]]],
    *,
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
    span = (last - first) or 1.0

    def place(ts: float, value: float) -> tuple[float, float]:
        x = LEFT + (ts - first) / span * (WIDTH - LEFT - RIGHT)
        share = min(1.0, max(0.0, (value - bottom) / (top - bottom)))
        return x, HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    parts = [_axes(top, bottom, unit)]
    if mark is not None:
        _, y = place(first, mark)
        parts.append(f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    for n in range(len(points[0][1])):
        spots = [place(ts, v) for ts, row in points if (v := row[n]) is not None]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="line l{n}" points="{way}"/>')
        if len(spots) == 1:
            parts.append(f'<circle class="dot l{n}" cx="{spots[0][0]}" cy="{spots[0][1]}" r="3"/>')
    parts.append(_text(LEFT, HEIGHT - 6, _span(span) + " ago", "start"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 6, "now", "end"))
    return _svg(parts, title)


def _axes(top: float, bottom: float = 0.0, unit: str = "", *, right: float = WIDTH - RIGHT) -> str:
    floor = HEIGHT - BOTTOM
    return (
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>'
        f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{TOP}" y2="{TOP}"/>'
        + _text(LEFT - 5, TOP + 8, _short(top) + unit, "end")
        + _text(LEFT - 5, floor, _short(bottom), "end")
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float) -> str:
    if value and abs(value) < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value / 1000:.1f}k" if abs(value) >= 10_000 else f"{value:.0f}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{math.floor(seconds / size)} {unit}"
    return f"{seconds:.0f} s"


def _svg(parts: Sequence[str], title: str, *, width: int = WIDTH) -> Markup:
    # Every part is ours, or escaped where it was made.
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">' + "".join(parts) + "</svg>"
    )
