"""Every contender measured: in one process interleaved, and each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.bench.child import Alone, alone
from tools.bench.runners import Contender, Runner, opened
from tools.bench.score import Exam, Score, score
from tools.bench.timing import Spent, interleaved

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the table; None is what could not be measured."""

    contender: Contender
    one: Spent | None = None  # the network alone, on one thread
    two: Spent | None = None
    after_others: Spent | None = None  # on one thread, its caches filled by the others
    alone: Alone | None = None
    score: Score | None = None
    why_not: str = ""


def measure(
    contenders: Sequence[Contender],
    squares: Sequence[npt.NDArray[np.uint8]],
    asked: Exam | None,
    *,
    rounds: int,
    processes: int,
    say: Say,
) -> list[Measured]:
    """All of them on the same squeezed pictures; one that fails becomes a row that says why."""
    faults = {c.key: c.why_not for c in contenders if c.why_not}
    able = [c for c in contenders if not c.why_not]
    one, two = _open(able, 1, faults), _open(able, 2, faults)
    say(f"{len(one)} networks on one thread, on two, and on one after each other")
    spent = [
        _timed(one, squares, rounds, again=True),
        _timed(two, squares, rounds, again=True),
        _timed(one, squares, max(10, rounds // 4), again=False),
    ]
    rows = []
    for contender in contenders:
        key = contender.key
        if key in faults:
            rows.append(Measured(contender, why_not=faults[key]))
            continue
        say(key)
        told = score(contender, asked) if asked and contender.trained else None
        by_itself = alone(contender, processes)
        rows.append(Measured(contender, *(times.get(key) for times in spent), by_itself, told))
    return rows


def _open(
    contenders: Sequence[Contender], threads: int, faults: dict[str, str]
) -> dict[str, tuple[Contender, Runner]]:
    """By key; what cannot be opened is noted in `faults`."""
    found = {}
    for contender in contenders:
        try:
            found[contender.key] = contender, opened(contender, threads)
        except Exception as error:  # each runtime has exceptions of its own
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            faults[contender.key] = f"{type(error).__name__}: {first}"[:160]
    return found


def _timed(
    runners: dict[str, tuple[Contender, Runner]],
    squares: Sequence[npt.NDArray[np.uint8]],
    rounds: int,
    *,
    again: bool,
) -> dict[str, Spent]:
    """Each in its turn, on the same picture in the same round."""
    fed = {key: [r.feed(square) for square in squares] for key, (_, r) in runners.items()}
    turn = dict.fromkeys(runners, 0)

    def step(key: str) -> Callable[[], object]:
        run, inputs = runners[key][1].run, fed[key]

        def once() -> object:
            turn[key] += 1
            return run(inputs[turn[key] % len(inputs)])

        return once

    return interleaved({key: step(key) for key in runners}, rounds=rounds, again=again)
