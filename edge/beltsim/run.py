"""`smartbin belt-sim`: run a line, let a person watch it, and say what came out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.beltsim.draw import Film, draw, save_picture
from edge.beltsim.figures import Figures, figures_of
from edge.beltsim.layout import LEAST_PER_MIN, MOST_PER_MIN, Setup
from edge.beltsim.line import Line
from edge.beltsim.page import Page
from edge.beltsim.view import counts_of, scene_of
from edge.errors import UsageError
from edge.values import Pixels

FILM_S = 6.0  # of a --gif
FILM_FPS = 10.0
VIEW_S = 0.05  # a picture shows what was so long ago: by then every movement is known
MANY = 20  # items in the bins before a picture is taken, or a quarter of all


def check_choice(per_min: float, items: int) -> None:
    """Refuse a rate or a number that no line has; raises UsageError."""
    if not LEAST_PER_MIN <= per_min <= MOST_PER_MIN:
        raise UsageError(
            f"--rate {per_min:g}: must be {LEAST_PER_MIN:g}..{MOST_PER_MIN:g} items a minute"
        )
    if not 1 <= items <= 1_000_000:
        raise UsageError(f"--items {items}: must be 1..1000000")


def run_line(
    setup: Setup,
    *,
    port: int | None = None,
    stay: bool = False,
    gif: Path | None = None,
    png: Path | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Figures:
    """Run until the last item has left the belt, or Ctrl-C; then the figures so far.

    `port` serves the page; `stay` keeps it on until Ctrl-C.
    """
    shots = Shots(film=Film(gif, seconds=FILM_S, fps=FILM_FPS) if gif else None, png=png)
    with Line(setup) as line, _page(line, port) as page:
        if page:
            say(f"watch it: {page.address}")
        with contextlib.suppress(KeyboardInterrupt):
            while line.step():
                if len(line.fate.bins) >= min(MANY, setup.items // 4):
                    shots.take(line)
        shots.finish(line)
        figures = figures_of(line, now_s=time.monotonic())
        with contextlib.suppress(KeyboardInterrupt):
            while page and stay:
                time.sleep(0.5)
    return figures


class Shots:
    """The pictures that were asked for, taken once there is something to see."""

    def __init__(self, *, film: Film | None, png: Path | None) -> None:
        self._film = film
        self._png = png

    def take(self, line: Line) -> None:
        """Take what is due."""
        now_s = time.monotonic()
        if self._film and self._film.wants(now_s):
            self._film.add(_drawn(line, now_s), now_s)
        if self._png:
            save_picture(_drawn(line, now_s), self._png)
            self._png = None

    def finish(self, line: Line) -> None:
        """Write the film, and a picture of the end where there was none before."""
        if self._film and self._film.empty:
            self._film.add(_drawn(line, time.monotonic()), time.monotonic())
        if self._film:
            self._film.save()
        if self._png:
            save_picture(_drawn(line, time.monotonic()), self._png)


@contextlib.contextmanager
def _page(line: Line, port: int | None) -> Iterator[Page | None]:
    if port is None:
        yield None
        return
    with Page(line, port=port) as page:
        yield page


def _drawn(line: Line, now_s: float) -> Pixels:
    now_s -= VIEW_S
    return draw(scene_of(line, now_s), counts_of(line, now_s))


def report(figures: Figures) -> Iterator[str]:
    """The figures for a person, line by line."""
    f = figures
    clock = "an encoder" if f.encoder else "its fixed speed"
    yield (
        f"{f.items} items at {f.per_min:g} a minute, {f.speed_mm_s / 1000:.2f} m/s by {clock}, "
        f"broker {f.broker}"
    )
    yield "outcomes   " + "  ".join(f"{name} {n}" for name, n in sorted(f.outcomes.items()))
    yield (
        f"movements  {f.kicks}, on a wrong item {f.wrong_kicks}, on none {f.missed}; "
        f"late {f.late_share:.2%}; undecided {f.undecided}, told twice {f.again}"
    )
    for name, count in f.counts.items():
        yield f"bin        {name:<10} {count:>5} items  purity {_percent(f.purity[name])}"
    yield (
        f"sorted     purity {_percent(f.sorted_purity)}, the classifier alone on the same frames "
        f"{_percent(f.own_precision)}"
    )
    yield "recall     " + "  ".join(f"{k} {_percent(v)}" for k, v in f.recall.items())
    yield (
        f"decision   {_spread(f.decision_ms)} ms after the exposure; "
        f"{_spread(f.notice_ms)} ms before its moment"
    )
    yield f"hit        {_spread(f.hit_off_mm)} mm off the item's middle"
    most = max(1, *f.histogram_ms.values())
    for edge, count in f.histogram_ms.items():
        yield f"{edge:>8} ms {count:>6} {'#' * round(48 * count / most)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _spread(values: object) -> str:
    if not isinstance(values, dict) or not values:
        return "-"
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
