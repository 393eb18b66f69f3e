"""What passes between the loop and the updater's thread: the plan, a swap, a note to record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.values import Crop, Decision

Judging = Callable[[Bundle, Classifier, Sequence[Crop]], Decision]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update has to pass on this bin."""

    name: str  # of the bundle, say student.int8
    threads: int
    shadow_items: int
    trial_items: int
    retry_s: float  # after a failure that may pass
    canaries: tuple[Path, ...]  # folders of pictures whose class is known


@dataclass(frozen=True, slots=True)
class Swap:
    """A model that the loop is to take over between two items."""

    bundle: Bundle
    classifier: Classifier
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A step worth an event."""

    phase: str  # fetched, swapped, confirmed, refused, rolled_back, failed
    version: int | None
    reason: str


def note_body(note: Note) -> dict[str, Any]:
    """What the event of a step says beside the usual."""
    return {"phase": note.phase, "version": note.version, "reason": note.reason}
