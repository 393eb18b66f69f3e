"""The charts of a bin's page: what their words say, and that no word is part of a stretched SVG."""

from __future__ import annotations

import re
import time

from edge.fleet.charts import bars, lines

NOW = 1_795_046_400.0  # Thursday, 19 November 2026, 00:00 UTC
HOUR = int(NOW // 3600)


def words(chart: str) -> list[str]:
    return re.findall(r"<(?:text|span)[^>]*>([^<]+)<", chart)


def test_a_day_is_told_by_its_hours_and_a_week_by_its_days() -> None:
    """In UTC, each where its bar stands."""
    day = bars({HOUR: {"glass": 4}}, from_hour=HOUR - 23, to_hour=HOUR, names=["glass"])
    assert words(day)[:4] == ["4", "0", "03:00", "06:00"] and words(day)[-1] == "00:00"
    week = bars({HOUR: {"glass": 4}}, from_hour=HOUR - 167, to_hour=HOUR, names=["glass"])
    assert words(week)[2:] == [f"{name} {13 + n}" for n, name in enumerate(DAYS)]


DAYS = ("Fri", "Sat", "Sun", "Mon", "Tue", "Wed", "Thu")


def test_what_is_stretched_holds_no_words() -> None:
    """Else they were as small as the screen is narrow."""
    chart = lines([(NOW - 60, (1.0,)), (NOW, (2.0,))], now_ts=NOW, title="t")
    (drawing,) = re.findall(r'<svg class="plot".*?</svg>', chart)
    assert "<text" not in drawing and 'preserveAspectRatio="none"' in drawing


def test_a_chart_says_how_old_its_newest_point_is() -> None:
    """A bin that is lost has no "now"."""
    points = [(NOW - 5 * 86400, (1.0,)), (NOW - 3 * 86400, (3.0,))]
    assert words(lines(points, now_ts=NOW, low=0, title="t", unit=" ms")) == [
        *("3 ms", "0"),
        *("5 d ago", "3 d ago"),
    ]
    assert words(lines(points, now_ts=NOW - 3 * 86400, low=0, title="t"))[-1] == "now"


def test_one_point_is_a_dot_and_none_is_said() -> None:
    """A line through one point has no length; and nothing is not an empty frame."""
    one = lines([(NOW, (5.0, None))], now_ts=NOW, low=0, title="t")
    assert one.count("line l0 dot") == 1 and 'points="1000.0,0.0 999.9,0.0"' in one
    assert "Nothing yet" in lines([(NOW, (None,))], now_ts=NOW, title="t")


def test_names_in_charts_are_text() -> None:
    """Classes come from bins."""
    chart = bars({HOUR: {"<script>": 1}}, from_hour=HOUR, to_hour=HOUR, names=[time.strftime("%Y")])
    assert "<script>" not in chart and "&lt;script&gt;: 1" in chart
