"""A new model, opened and shown the canaries, and the proved models that it is compared with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.errors import SmartbinError
from edge.update.canaries import canaries_of
from edge.update.checks import check_canaries, open_candidate
from edge.update.store import ModelStore

log = logging.getLogger(__name__)
Opened = tuple[Bundle, Classifier]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What goes into shadow."""

    bundle: Bundle
    classifier: Classifier
    last_good: Opened | None  # a witness beside the running model; None: there was none before it
    expected: float  # share of items (0..1) on which it may give another class


def examined(
    bundle: Bundle,
    *,
    running: Classifier,
    last_good: Opened | None,
    threads: int,
    folders: tuple[Path, ...],
    step: Callable[[str], None],
) -> Candidate:
    """Open it and show it the canaries; raises UpdateError where it is surely worse."""
    step("open")
    classifier = open_candidate(bundle, threads)
    step("canaries")
    proved = [running, *([last_good[1]] if last_good else [])]
    match = check_canaries(classifier, proved, canaries_of(folders, bundle.labels))
    return Candidate(bundle, classifier, last_good, match.expected)


def last_good_of(
    store: ModelStore, running: Bundle, fallback: Callable[[], Bundle], threads: int
) -> Opened | None:
    """The model before the one that runs; None where there is none, or it sorts other classes."""
    state = store.state
    if state.current is None or state.current.version != running.version:
        return None
    try:
        bundle = store.load(state.last_good) if state.last_good else fallback()
        if bundle.labels != running.labels or bundle.version == running.version:
            return None
        return bundle, open_candidate(bundle, threads)
    except SmartbinError as error:  # a witness; without it the running model decides alone
        log.warning("last good model: %s", error)
        return None
