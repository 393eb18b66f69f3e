"""Times every form of the network that this host can run, and says which one `run` will take.

Variants are interleaved, so that a noisy moment meets all alike. A variant whose labels differ
from the reference's (int8 on one thread) on too many frames is no choice, however fast it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.bundle import Bundle
from edge.choice import Choice
from edge.classifier import Classifier
from edge.errors import SmartbinError
from edge.runtime import Engine, providers
from edge.values import Pixels

LEAST_AGREEMENT = 0.95  # of the labels with the reference's
WORTH = 0.9  # a second thread or another provider must take less than this share of the time
WARM = 3  # rounds that do not count


@dataclass(frozen=True, slots=True)
class Timed:
    """One variant: milliseconds a frame, preprocessing included."""

    precision: str
    engine: Engine
    p10_ms: float
    p50_ms: float
    p90_ms: float
    agreement: float  # labels equal to the reference's, 0..1
    open_ms: float
    why_not: str = ""  # where it cannot be run

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def engines() -> list[Engine]:
    """Every way to run a network on this host."""
    cores = os.cpu_count() or 1
    threads = [n for n in (1, 2, 4) if n <= cores]
    made = [Engine(threads=n) for n in threads]
    made += [Engine(threads=n, spinning=True) for n in threads if n > 1]
    made += [Engine(threads=1, arena=False)]
    return made + [Engine(threads=1, provider=name) for name in providers()[1:]]


def bench(
    bundles: dict[str, Bundle],
    frames: Sequence[Pixels],
    *,
    rounds: int,
    tick: Callable[[], None] = lambda: None,
) -> list[Timed]:
    """Time all variants on `frames`; the first is the reference. What cannot run says why."""
    wanted = [(precision, engine) for precision in bundles for engine in engines()]
    opened: dict[tuple[str, Engine], Classifier] = {}
    opening: dict[tuple[str, Engine], float] = {}
    failed: list[Timed] = []
    for precision, engine in wanted:
        began_s = time.perf_counter()
        try:
            opened[precision, engine] = Classifier(bundles[precision], engine=engine)
        except SmartbinError as error:
            failed.append(Timed(precision, engine, 0, 0, 0, 0, 0, why_not=str(error)))
            continue
        opening[precision, engine] = (time.perf_counter() - began_s) * 1000
    spent: dict[tuple[str, Engine], list[float]] = {key: [] for key in opened}
    labels: dict[tuple[str, Engine], list[int]] = {key: [] for key in opened}
    for turn in range(rounds + WARM):
        pixels = frames[turn % len(frames)]
        for key, classifier in opened.items():
            began_s = time.perf_counter()
            probs = classifier.classify(pixels).probs
            took_ms = (time.perf_counter() - began_s) * 1000
            if turn >= WARM:
                spent[key].append(took_ms)
                labels[key].append(int(probs.argmax()))
        tick()
    reference = next(iter(labels.values()))
    timed = []
    for key, times in spent.items():
        p10, p50, p90 = (float(p) for p in np.percentile(times, (10, 50, 90)))
        same = float(np.mean(np.array(labels[key]) == np.array(reference)))
        timed.append(Timed(*key, p10, p50, p90, same, opening[key]))
    return timed + failed


def best(timed: Sequence[Timed]) -> Choice:
    """The fastest that agrees; threads, spinning and other providers only where they pay."""
    able = [one for one in timed if not one.why_not and one.agreement >= LEAST_AGREEMENT]
    plain = min((one for one in able if one.engine == Engine()), key=lambda one: one.p50_ms)
    lean = min((one for one in able if not one.engine.spinning), key=lambda one: one.p50_ms)
    taken = lean if lean.p50_ms < WORTH * plain.p50_ms else plain
    return Choice(taken.precision, taken.engine)


def as_text(timed: Sequence[Timed], choice: Choice) -> str:
    """A table for a person, and the choice in words."""
    lines = ["precision  threads  provider   spin arena   p10    p50    p90 ms  labels"]
    for one in timed:
        engine = one.engine
        row = f"{one.precision:<9}  {engine.threads:>7}  {engine.short:<9}"
        row += f"  {'yes' if engine.spinning else 'no':<4} {'yes' if engine.arena else 'no':<5}"
        if one.why_not:
            lines.append(f"{row}  not here: {one.why_not[:80]}")
            continue
        mark = "  <- run" if Choice(one.precision, engine) == choice else ""
        numbers = f"{one.p10_ms:6.2f} {one.p50_ms:6.2f} {one.p90_ms:6.2f}"
        lines.append(f"{row} {numbers}     {one.agreement:4.0%}{mark}")
    by_form = {one.precision: one.p50_ms for one in timed if one.engine == Engine()}
    if {"int8", "fp32"} <= by_form.keys() and by_form["fp32"] < by_form["int8"]:
        lines.append(
            f"int8 is slower here than fp32 ({by_form['int8']:.2f} against {by_form['fp32']:.2f} "
            "ms): an old ARM core has no int8 products"
        )
    return "\n".join(lines)
