"""Holds what arm64 said against what x86 said; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Of a class's probability; a label may agree by luck while the numbers do not. Measured: int8
# kernels that round otherwise 0.006, a resize that rounds otherwise 0.1.
MAX_GAP = 0.02
MAX_LATE = 0.5  # of the demo's decisions
# In their order, so that the first that is not alike is where the machines part.
STEPS = (("pixels", "decoded"), ("input", "resized"), ("label", "labelled"))
DECIDED = ("outcome", "label")
DONE = ("outcome", "label", "route")

Rows = Mapping[str, Mapping[str, Any]]  # by the name of the picture


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the summary."""

    name: str
    good: bool
    finding: str


def compare_stills(name: str, x86: Rows, arm: Rows) -> Check:
    """Every still must have the outcome and label of x86, and about the same probabilities."""
    differing = _differing(x86, arm, DECIDED)
    if not x86 or x86.keys() != arm.keys():
        return Check(name, False, _told(differing) or "no still was judged")
    gaps = [_gap(x86[still]["probs"], arm[still]["probs"]) for still in x86]
    confidence = max(abs(x86[s]["confidence"] - arm[s]["confidence"]) for s in x86)
    same = [f"{_alike(x86, arm, key)} {what}" for key, what in STEPS]
    finding = (
        f"of {len(x86)} stills {', '.join(same)} alike; "
        f"confidence differs by at most {confidence:.4f}, any class by {max(gaps):.4f}"
    )
    told = f"; {_told(differing)}" if differing else ""
    return Check(name, not differing and max(gaps) <= MAX_GAP, finding + told)


def _alike(x86: Rows, arm: Rows, key: str) -> int:
    return sum(x86[still][key] == arm[still][key] for still in x86)


def compare_demos(name: str, x86: Iterable[dict[str, Any]], arm: Iterable[dict[str, Any]]) -> Check:
    """Each decision that came back through broker and flap must be the one of x86.

    One that emulation makes later than the deadline is dropped, as in a bin, and so is no
    difference; where most of them are, nothing was tested.
    """
    expected, found = _by_picture(x86), _by_picture(arm)
    differing = _differing({p: expected[p] for p in expected if p in found}, found, DONE)
    late = len(expected) - len(found)
    if differing or late > len(expected) * MAX_LATE or not expected:
        return Check(name, False, _told(differing) or f"{len(found)} of {len(expected)} came back")
    also = f"; {late} later than the deadline, under emulation" if late else ""
    return Check(
        name, True, f"{len(found)} of {len(expected)} decisions came back, all equal{also}"
    )


def _by_picture(rows: Iterable[dict[str, Any]]) -> Rows:
    return {str(row["picture"]): row for row in rows}


def _differing(expected: Rows, found: Rows, keys: Sequence[str]) -> list[str]:
    """A sentence for each picture that is not the same, or not there, on the other side."""
    sentences = []
    for picture in sorted(expected.keys() | found.keys()):
        x86, arm = expected.get(picture), found.get(picture)
        if x86 is None or arm is None or any(x86[key] != arm[key] for key in keys):
            sentences.append(f"{picture}: x86 {_row(x86, keys)}, arm64 {_row(arm, keys)}")
    return sentences


def _row(row: Mapping[str, Any] | None, keys: Sequence[str]) -> str:
    if row is None:
        return "nothing"
    return " ".join([*(str(row[key]) for key in keys), f"{row['confidence']:.3f}"])


def _gap(first: Sequence[float], second: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def _told(sentences: Sequence[str]) -> str:
    return "; ".join(sentences)


def table(checks: Sequence[Check]) -> str:
    """The summary, a line a check."""
    width = max(len(check.name) for check in checks)
    rows = (f"  {'ok ' if c.good else 'BAD'}  {c.name:<{width}}  {c.finding}" for c in checks)
    return "\n".join(rows)


def verdict(checks: Sequence[Check], *, took_s: float) -> str:
    """The last line."""
    bad = [check.name for check in checks if not check.good]
    what = f"DIFFERS: {', '.join(bad)}" if bad else f"good, {len(checks)} checks"
    return f"arm64: {what} ({took_s:.0f} s)"
