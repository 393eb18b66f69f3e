"""Charts as SVG text: axes, lines, bars and dots, drawn to the page's own colours and fonts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from trainer.intervals import Bin

LEFT, RIGHT, TOP, BOTTOM = 58, 26, 12, 44  # px around the plot
Points = Sequence[tuple[float, float]]


def percent(share: float, digits: int = 1) -> str:
    """A share 0..1 as "91.8 %", never broken over two lines."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot, in the data's units."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    shares: bool = False  # in percent

    def text(self, value: float) -> str:
        """How a tick reads."""
        return f"{100 * value:g}\N{NO-BREAK SPACE}%" if self.shares else f"{value:g}"


def axis_over(title: str, values: Iterable[float], *, shares: bool = False) -> Axis:
    """An axis from round number to round number around all values; 0..1 where there is none."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    step = _round_step((high - low or abs(high) or 1.0) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(i * step, 10) for i in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks, shares)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m >= rough / power - 1e-9)


SHARE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class Plot:
    """Collects marks; `svg` gives the picture. Colours are CSS classes s0..s5 of the page."""

    def __init__(self, x: Axis, y: Axis, *, width: int = 480, height: int = 330) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self._marks: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data to px, clipped to the plot."""
        fx = (x - self.x.low) / (self.x.high - self.x.low)
        fy = (y - self.y.low) / (self.y.high - self.y.low)
        fx, fy = min(max(fx, 0.0), 1.0), min(max(fy, 0.0), 1.0)
        wide, high = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return round(LEFT + fx * wide, 1), round(TOP + (1 - fy) * high, 1)

    def line(self, points: Points, css: str) -> None:
        """Straight from point to point."""
        path = " ".join(f"{px},{py}" for px, py in (self.at(x, y) for x, y in points))
        self._marks.append(f'<polyline class="{css}" points="{path}"/>')

    def bar(self, x0: float, x1: float, y: float, css: str, note: str = "") -> None:
        """From the axis up to y."""
        (left, top), (right, foot) = self.at(x0, y), self.at(x1, self.y.low)
        box = f'x="{left + 0.5}" y="{top}" width="{max(right - left - 1, 0.5):.1f}"'
        tip = f"<title>{escape(note)}</title>"
        self._marks.append(f'<rect class="{css}" {box} height="{foot - top:.1f}">{tip}</rect>')

    def dot(self, x: float, y: float, css: str, note: str = "", radius: float = 4.5) -> None:
        """A round mark with a text for the pointer."""
        px, py = self.at(x, y)
        tip = f"<title>{escape(note)}</title>"
        self._marks.append(f'<circle class="{css}" cx="{px}" cy="{py}" r="{radius}">{tip}</circle>')

    def label(self, x: float, y: float, text: str, *, dx: float = 8, dy: float = 4) -> None:
        """Words beside a place of the plot; they turn left where they would leave it."""
        px, py = self.at(x, y)
        leaves = px + dx + 6.3 * len(text) > self.width - RIGHT
        anchor, px = ("end", px - dx) if leaves else ("start", px + dx)
        self._marks.append(
            f'<text x="{px}" y="{py + dy}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def svg(self, title: str) -> str:
        """The whole picture; `title` is what a screen reader says."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
        body = "".join(self._frame()) + "".join(self._marks)
        return f'<svg role="img" {size}><title>{escape(title)}</title>{body}</svg>'

    def _frame(self) -> Iterable[str]:
        right, foot = self.width - RIGHT, self.height - BOTTOM
        for tick in self.x.ticks:
            px, _ = self.at(tick, self.y.low)
            yield f'<line class="grid" x1="{px}" y1="{TOP}" x2="{px}" y2="{foot}"/>'
            yield _text(px, foot + 16, self.x.text(tick), "middle")
        for tick in self.y.ticks:
            _, py = self.at(self.x.low, tick)
            yield f'<line class="grid" x1="{LEFT}" y1="{py}" x2="{right}" y2="{py}"/>'
            yield _text(LEFT - 6, py + 4, self.y.text(tick), "end")
        middle_x, middle_y = (LEFT + right) / 2, (TOP + foot) / 2
        yield _text(middle_x, foot + 36, self.x.title, "middle")
        yield _text(12, middle_y, self.y.title, "middle", f"rotate(-90 12 {middle_y})")


def _text(x: float, y: float, text: str, anchor: str, transform: str = "") -> str:
    turned = f' transform="{transform}"' if transform else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turned}>{escape(text)}</text>'


def reliability_chart(before: Sequence[Bin], after: Sequence[Bin]) -> str:
    """Bars after temperature with their intervals, hollow dots before it, and the ideal."""
    plot = Plot(
        Axis("confidence", 0, 1, SHARE, True), Axis("share that is right", 0, 1, SHARE, True)
    )
    for b in after:
        note = f"{b.n} pictures, {_bin_text(b)}"
        plot.bar(b.low, b.high, b.accuracy, "s0 fill", note)
    plot.line([(0, 0), (1, 1)], "ideal")
    for b in after:
        middle = (b.low + b.high) / 2
        plot.line([(middle, b.wilson_95[0]), (middle, b.wilson_95[1])], "whisker")
    for b in before:
        note = f"before: {b.n} pictures, {_bin_text(b)}"
        plot.dot(b.confidence, b.accuracy, "s1 hollow", note)
    return plot.svg("Reliability diagram before and after temperature scaling")


def _bin_text(b: Bin) -> str:
    return f"confidence {percent(b.confidence)}, right {percent(b.accuracy)}"


def count_chart(bins: Sequence[Bin], n: int) -> str:
    """How many pictures each bin of the reliability diagram holds."""
    ticks = (0.0, 0.5, 1.0)
    plot = Plot(
        Axis("confidence", 0, 1, SHARE, True), Axis("pictures", 0, 1, ticks, True), height=150
    )
    for b in bins:
        plot.bar(b.low, b.high, b.n / n, "s0 fill", f"{b.n} of {n} pictures")
    return plot.svg("Share of the pictures in each bin of confidence")


def risk_chart(curve: Points, shipped: tuple[float, float] | None) -> str:
    """Risk over coverage; the decisions of the shipped thresholds as a dot."""
    tallest = max([risk for _, risk in curve] + ([shipped[1]] if shipped else []) + [0.02])
    risk_axis = axis_over("risk: wrong among the sorted", [0.0, tallest], shares=True)
    plot = Plot(Axis("coverage: share that is sorted", 0, 1, SHARE, True), risk_axis)
    plot.line(curve, "s0 curve")
    if shipped:
        words = f"shipped: {percent(shipped[0])} sorted, {percent(shipped[1])} wrong"
        plot.dot(*shipped, "s1 solid", words, radius=6)
        plot.label(*shipped, words, dx=12, dy=22 if shipped[1] < risk_axis.high / 8 else -10)
    return plot.svg("Risk-coverage curve with the shipped thresholds")


def epochs_chart(lines: Sequence[tuple[str, Points]], title: str, *, shares: bool) -> str:
    """Several curves over epochs; each comes with its CSS class."""
    values = [v for _, points in lines for _, v in points]
    last = max((x for _, points in lines for x, _ in points), default=1.0)
    plot = Plot(axis_over("epoch", [0.0, max(last, 1.0)]), axis_over(title, values, shares=shares))
    for css, points in lines:
        plot.line(points, css)
    return plot.svg(f"{title} over epochs")
