"""Times contenders interleaved, so that a noisy moment meets all alike; medians with spread."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds of one contender."""

    p10: float
    p50: float
    p90: float
    p99: float
    cpu_ms: float  # of this process, a call
    n: int

    @property
    def text(self) -> str:
        """As it stands in a table."""
        return f"{self.p50:.2f} ({self.p10:.2f} to {self.p90:.2f})"


def interleaved(
    contenders: dict[str, Callable[[], object]],
    *,
    rounds: int,
    warm: int = 5,
    again: bool = False,
    rest_s: float = 0.0,
) -> dict[str, Spent]:
    """Each contender once a round, in an order that turns; the first `warm` rounds do not count.

    With `again` it is called twice and the second counts: what the others left in the caches is
    gone by then, as it is where one network works by itself. `rest_s` goes before each call, for
    threads of the last one that still spin.
    """
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, float] = dict.fromkeys(contenders, 0.0)
    names = list(contenders)
    for turn in range(rounds + warm):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(rest_s)
            if again:
                contenders[name]()
            began, cpu_began = time.perf_counter(), time.process_time()
            contenders[name]()
            took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
            if turn >= warm:
                wall[name].append(took * 1000)
                cpu[name] += cpu_took * 1000
    return {name: summary(wall[name], cpu[name] / rounds) for name in names}


def summary(times_ms: list[float], cpu_ms: float) -> Spent:
    """Percentiles of a list of milliseconds."""
    p10, p50, p90, p99 = (float(p) for p in np.percentile(times_ms, (10, 50, 90, 99)))
    return Spent(p10, p50, p90, p99, cpu_ms, len(times_ms))


def allocated(step: Callable[[], object], calls: int = 5) -> tuple[float, float]:
    """Python and numpy memory of one call: MB at its peak above before, and blocks left by it."""
    step()
    tracemalloc.start()
    peaks, left = [], []
    for _ in range(calls):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step()
        now, peak = tracemalloc.get_traced_memory()
        peaks.append((peak - before) / 1e6)
        left.append((now - before) / 1e3)
    tracemalloc.stop()
    return float(np.median(peaks)), float(np.median(left))
