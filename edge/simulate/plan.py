"""When what happens to which bin: items, health, breaks, outages. Pure: time is a value."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Literal

Absence = Literal["cut", "off"]  # the network is gone, items go on; or the power
BREAK_S = (2.0, 20.0)  # how long one bin stays away
OUTAGE_EVERY_S = 180.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How lively a simulated fleet is."""

    rate_per_s: float  # items, of all bins together
    health_every_s: float = 30.0
    churn: float = 0.01  # share of the bins that break away in a minute
    outage: float = 0.0  # share of the bins that lose the network at once, every three minutes
    outage_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Break:
    """A bin goes away without a farewell."""

    bin: int
    how: Absence
    for_s: float


class Plan:
    """Asked once a tick what is due; starts at `now_s`."""

    def __init__(self, n: int, habits: Habits, *, seed: int, now_s: float) -> None:
        self._n = n
        self._habits = habits
        self._random = random.Random(seed)
        # Some places are busier: the busiest gets about ten times as much as the quietest.
        weights = [self._random.lognormvariate(0, 0.5) for _ in range(n)]
        self._cumulative = _sums(weights)
        self._items_due = self._breaks_due = 0.0
        self._asked_s = now_s
        self._outage_s = now_s + OUTAGE_EVERY_S / 3
        phases = (now_s + self._random.uniform(0, habits.health_every_s) for _ in range(n))
        self._healths = [(when_s, at) for at, when_s in enumerate(phases)]
        heapq.heapify(self._healths)

    def items(self, now_s: float) -> list[int]:
        """Which bins get an item now; the rate is kept on average, however late we are asked."""
        passed_s = max(0.0, now_s - self._asked_s)
        self._asked_s = now_s
        self._items_due += passed_s * self._habits.rate_per_s
        self._breaks_due += passed_s * self._habits.churn * self._n / 60
        n, self._items_due = int(self._items_due), self._items_due % 1
        return self._random.choices(range(self._n), cum_weights=self._cumulative, k=n) if n else []

    def breaks(self, now_s: float) -> list[Break]:
        """Which bins go away now; to be asked after `items`."""
        n, self._breaks_due = int(self._breaks_due), self._breaks_due % 1
        found = [self._one_break() for _ in range(n)]
        if self._habits.outage and now_s >= self._outage_s:
            self._outage_s = now_s + OUTAGE_EVERY_S
            away = self._random.sample(range(self._n), round(self._habits.outage * self._n))
            found += [Break(at, "cut", self._habits.outage_s) for at in away]
        return found

    def _one_break(self) -> Break:
        how: Absence = "off" if self._random.random() < 0.5 else "cut"
        return Break(self._random.randrange(self._n), how, self._random.uniform(*BREAK_S))

    def healths(self, now_s: float) -> list[int]:
        """Which bins tell their health now."""
        due = []
        while self._healths and self._healths[0][0] <= now_s:
            when_s, at = self._healths[0]
            heapq.heapreplace(self._healths, (when_s + self._habits.health_every_s, at))
            due.append(at)
        return due


def _sums(weights: list[float]) -> list[float]:
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums
