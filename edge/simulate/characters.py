"""What simulated bins are like: what is thrown in, how sure they are, and what ails some of them.

Classes, confidences and latencies are drawn, not computed from pictures; everything else about a
decision follows as it does in a bin. Pure but for the generator of random numbers that is given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge.values import Decision, Outcome
from edge.wire import State

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
ROUTES = {"cardboard": "paper", "paper": "paper"} | {k: k for k in ("glass", "metal", "plastic")}
SAFE = "residual"
MIX = (18, 14, 11, 22, 25, 10)  # shares of LABELS at an ordinary site
THRESHOLD, MARGIN = 0.7, 0.1
EMPTY_SHARE = 0.02  # triggers without an item
SURE, UNSURE = (22.0, 1.7), (4.0, 3.2)  # of a beta distribution: means 0.93 and 0.56
SICK_SHARE = 0.06  # of the bins, shared out among the ailments


@dataclass(frozen=True, slots=True)
class Character:
    """How one bin behaves; frozen, shared by all its starts."""

    ailment: str = ""
    mix: tuple[int, ...] = MIX
    sureness: tuple[float, float] = SURE
    fades_after: int | None = None  # decisions until the lens is dirty
    temperature_c: float = 51.0
    throttled: int = 0  # as the Pi's get_throttled has it
    latency_ms: float = 6.0
    state: State = "ready"
    reason: str = "deciding"


AILMENTS = (
    Character("hot", temperature_c=83.0, throttled=0b1000, latency_ms=11.0),
    Character("underfed", throttled=0x50005, latency_ms=9.0),
    Character("dark", sureness=UNSURE),
    Character("fading", fades_after=350),
    Character("slow", latency_ms=420.0),
    Character("blind", state="degraded", reason="camera: no frame for 10 s, starting it again"),
)


def characters(n: int, *, seed: int) -> tuple[Character, ...]:
    """One for each of `n` bins; from 20 bins on every ailment occurs."""
    source = random.Random(seed)
    healthy = [
        Character(
            mix=tuple(max(1, round(share * source.uniform(0.5, 1.6))) for share in MIX),
            temperature_c=source.uniform(38, 62),
            latency_ms=source.uniform(4.5, 8.0),
        )
        for _ in range(n)
    ]
    sick = max(len(AILMENTS), round(SICK_SHARE * n)) if n >= 20 else 0
    for turn, at in enumerate(source.sample(range(n), sick)):
        healthy[at] = replace(AILMENTS[turn % len(AILMENTS)], mix=healthy[at].mix)
    return tuple(healthy)


def draw(character: Character, source: random.Random, *, n: int) -> tuple[Decision, float]:
    """The `n`-th decision of a bin, and its latency in ms."""
    latency_ms = character.latency_ms * source.lognormvariate(0, 0.15)
    if source.random() < EMPTY_SHARE:
        nothing = Decision("empty", None, SAFE, 0.0, (), "nothing lies on the tray")
        return nothing, latency_ms
    faded = character.fades_after is not None and n > character.fades_after
    a, b = UNSURE if faded else character.sureness
    # Of a calibrated model, no best class has less than an even share.
    confidence = max(source.betavariate(a, b), 1.05 / len(LABELS))
    best, second, third = _three(source, character.mix)
    rest = 1 - confidence
    shares = (confidence, min(0.7 * rest, 0.95 * confidence), min(0.2 * rest, 0.5 * confidence))
    outcome, reason = _judge((best, second), shares)
    return (
        Decision(
            outcome=outcome,
            label=best,
            route=ROUTES.get(best, SAFE) if outcome == "sorted" else SAFE,
            confidence=confidence,
            top=tuple(zip((best, second, third), shares, strict=True)),
            reason=reason,
        ),
        latency_ms,
    )


def _three(source: random.Random, mix: Sequence[int]) -> tuple[str, str, str]:
    best = source.choices(LABELS, mix)[0]
    at = LABELS.index(best)
    step = source.randrange(1, len(LABELS))
    second, third = (at + step) % len(LABELS), (at + step % (len(LABELS) - 1) + 1) % len(LABELS)
    return best, LABELS[second], LABELS[third]


def _judge(names: tuple[str, str], shares: tuple[float, ...]) -> tuple[Outcome, str]:
    (best, second), (confidence, other, _) = names, shares
    if confidence - other < MARGIN and confidence + other >= THRESHOLD:
        return "ambiguous", f"{best} {confidence:.0%} and {second} {other:.0%} are too close"
    if confidence < THRESHOLD:
        return "unknown", f"{best} {confidence:.0%} is under its threshold {THRESHOLD:.0%}"
    return "sorted", f"{best} {confidence:.0%}, 3 of 3 frames agree"


@dataclass(frozen=True, slots=True)
class Feeling:
    """What a bin counted since its start, for its health message."""

    uptime_s: float
    outcomes: dict[str, int]
    confidence_mean: float | None
    judged: int
    waiting: int  # events in its outbox
    waiting_bytes: int
    seq: int


def health(character: Character, feeling: Feeling, source: random.Random) -> dict[str, Any]:
    """The figures of a health message, as a bin tells them."""
    p50 = character.latency_ms if feeling.judged else None
    mean = feeling.confidence_mean
    return {
        "uptime_s": round(feeling.uptime_s, 1),
        "temperature_c": round(character.temperature_c + source.gauss(0, 0.8), 1),
        "throttled": character.throttled,
        "rss_mb": round(source.gauss(118, 1.5), 1),
        "written_bytes_day": None if feeling.uptime_s < 600 else 17_000_000,
        "clock": "synced",
        "outcomes": dict(feeling.outcomes),
        "latency_ms": {
            "p50": None if p50 is None else round(p50, 4),
            "p99": None if p50 is None else round(p50 * 1.45, 4),
        },
        "confidence": {
            "n": feeling.judged,
            "mean": None if mean is None else round(mean, 4),
            "sd": None if mean is None else 0.08,
        },
        "outbox": {
            "depth": feeling.waiting,
            "bytes": feeling.waiting_bytes,
            "in_memory": 0,
            "overflowed": 0,
            "expired": 0,
            "refused": 0,
        },
        "drops": {"frames": 0, "decisions": 0},
        "camera_restarts": 3 if character.state == "degraded" else 0,
        "seq": feeling.seq,
    }
