"""How values are shown: times, numbers, and the charts of one bin."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edge.fleet import schema
from edge.fleet.charts import bars, lines
from edge.fleet.drift import Card
from edge.fleet.queries import Queries, Row

UNSORTED = ("unknown", "ambiguous", "empty", "late", "fault")
THROTTLE_BITS = {  # Raspberry Pi documentation, vcgencmd get_throttled
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage before",
    17: "capped before",
    18: "throttled before",
    19: "hot before",
}


def ago(ts: float | None, now: float) -> str:
    """A time as its age, for people."""
    if ts is None:
        return "never"
    seconds = now - ts
    if seconds < -5:
        return f"in {_length(-seconds)}"
    return "now" if seconds < 5 else f"{_length(seconds)} ago"


def _length(seconds: float) -> str:
    """A stretch of time, for people."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def utc(ts: float | None) -> str:
    """A time to the second."""
    return "" if ts is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ts))


def figure(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}{unit}".replace(",", "\u202f")


def percent(value: float | None) -> str:
    """A share in whole percent."""
    return "–" if value is None else f"{value:.0%}"


def throttling(bits: int | None) -> str:
    """The Pi's flags in words."""
    if bits is None:
        return "–"
    return ", ".join(text for bit, text in THROTTLE_BITS.items() if bits >> bit & 1) or "none"


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "length_of_time": _length,
    "utc": utc,
    "figure": figure,
    "percent": percent,
    "throttling": throttling,
}


@dataclass(frozen=True, slots=True)
class DriftTold:
    """By what drift is judged, for the words and dashed lines beside it."""

    cards: Mapping[str, Card]  # by model
    window: int
    least_psi: float
    card_drop: float


def bin_charts(
    queries: Queries, row: Row, *, hours: int, now_ts: float, drift: DriftTold
) -> dict[str, Any]:
    """Charts by name, the legend of the first, and what is to be said of drift."""
    to_hour = int(now_ts // 3600)
    from_hour = to_hour - hours + 1
    counts = queries.hours(row["id"], from_hour=from_hour, to_hour=to_hour)
    names = _names(row, counts)
    drifts = queries.series(schema.drift, row["id"], now_ts - 30 * 86400)
    health = queries.series(schema.health, row["id"], now_ts - 7 * 86400)
    card = drift.cards.get(row["model"])
    return {
        "hours": bars(counts, from_hour=from_hour, to_hour=to_hour, names=names),
        "names": names,
        "total": sum(sum(hour.values()) for hour in counts.values()),
        "psi": _psi(drifts, drift.least_psi, now_ts) if drifts else None,
        "mean": _mean(drifts, card.mean - drift.card_drop if card else None, now_ts),
        "card": card,
        "window": drift.window,
        **_health_charts(health, now_ts),
    }


def _health_charts(health: list[Row], now_ts: float) -> dict[str, Markup]:
    def chart(title: str, *names: str, unit: str = "", low: float | None = 0) -> Markup:
        points = [(row["ts"], tuple(row[name] for name in names)) for row in health]
        return lines(points, now_ts=now_ts, low=low, title=title, unit=unit)

    return {
        "latency": chart("Latency p50 and p99", "p50_ms", "p99_ms", unit=" ms"),
        "temperature": chart("Temperature", "temperature_c", unit=" °C", low=None),
        "outbox": chart("Outbox", "outbox_depth"),
        "memory": chart("Memory", "rss_mb", unit=" MB"),
    }


def _names(row: Row, counts: dict[int, dict[str, int]]) -> list[str]:
    """The bin's classes in its own order, then what else was decided."""
    known = [str(name) for name in json.loads(row["labels"])]
    seen = {name for hour in counts.values() for name in hour}
    return [name for name in known if name in seen] + sorted(seen & {*UNSORTED} - {*known})


def _psi(drifts: list[Row], least_psi: float, now_ts: float) -> Markup:
    points = [(r["ts"], (r["psi_confidence"], r["psi_classes"])) for r in drifts]
    title = "Population stability index"
    return lines(points, now_ts=now_ts, low=0, mark=least_psi, title=title)


def _mean(drifts: list[Row], mark: float | None, now_ts: float) -> Markup:
    points = [(r["ts"], (r["mean"],)) for r in drifts]
    return lines(points, now_ts=now_ts, low=0, high=1, mark=mark, title="Mean confidence")
