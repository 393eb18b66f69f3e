"""A light gate's edges without their bounces: pure, time is what the kernel stamped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """The beam was broken, or is free again."""

    at_s: float  # monotonic clock
    broken: bool


class Debounce:
    """Merges bounces and drops no pulse, however short.

    The first break counts at once, so a pulse shorter than `hold_s` is an item like any other.
    That the beam is free counts once it stayed so for `hold_s`, with the time at which it became
    so: a break within that time belongs to the same item.
    """

    def __init__(self, *, hold_s: float) -> None:
        self._hold_s = hold_s
        self._broken = False
        self._freed_s: float | None = None  # free since then, not yet for long enough

    @property
    def broken(self) -> bool:
        """Whether the beam counts as broken."""
        return self._broken

    def edge(self, edge: Edge) -> Iterator[Edge]:
        """Take in a raw edge, in the order of time; yields what counts."""
        yield from self.settle(edge.at_s)
        if edge.broken:
            self._freed_s = None
            if not self._broken:
                self._broken = True
                yield edge
        elif self._broken and self._freed_s is None:
            self._freed_s = edge.at_s

    def settle(self, now_s: float) -> Iterator[Edge]:
        """Let time pass without an edge; yields the freed beam once that is certain."""
        if self._freed_s is not None and now_s - self._freed_s >= self._hold_s:
            freed, self._freed_s, self._broken = Edge(self._freed_s, False), None, False
            yield freed
