"""The light gate: a beam across the belt, whose breaks the kernel stamps."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from edge.belt.debounce import Debounce, Edge
from edge.belt.tracker import Tracker
from edge.triggers.moving import MovingTrigger

# From the beam to this thread: 1 to 3 ms on an idle board. What comes later is still an item, but
# may be too close to one that was given back already.
EDGE_WAIT_S = 0.02
MAX_EDGES = 4096  # not yet taken in; a gate that flickers in sunlight must not grow memory


class GateTrigger(MovingTrigger):
    """Makes an item of each break of the beam; `edge` may be called from another thread."""

    def __init__(
        self,
        tracker: Tracker,
        *,
        hold_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(tracker, clock=clock)
        self._debounce = Debounce(hold_s=hold_s)
        self._lock = threading.Lock()  # guards _edges
        self._edges: deque[Edge] = deque(maxlen=MAX_EDGES)

    def edge(self, at_s: float, broken: bool) -> None:
        """The beam was broken or freed at `at_s`, by the kernel's stamp."""
        with self._lock:
            self._edges.append(Edge(at_s, broken))

    def _covered(self) -> bool:
        """By the last edges, which are forgotten like those before them."""
        list(self._clean_edges(self._clock()))
        return self._debounce.broken

    def _take_edges(self, now_s: float) -> None:
        for edge in self._clean_edges(now_s):
            self._count(edge)

    def _clean_edges(self, now_s: float) -> Iterator[Edge]:
        with self._lock:
            edges = list(self._edges)
            self._edges.clear()
        for edge in edges:
            yield from self._debounce.edge(edge)
        yield from self._debounce.settle(self._edges_until_s(now_s))

    def _edges_until_s(self, now_s: float) -> float:
        return now_s - EDGE_WAIT_S

    def _count(self, edge: Edge) -> None:
        if edge.broken:
            self._tracker.lead(edge.at_s, "gate")
        else:
            self._tracker.trail(edge.at_s)
