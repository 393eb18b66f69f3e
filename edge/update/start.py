"""Which bundle is taken, at a start and on the way back: the newest proved, or the shipped one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.bundle import Bundle
from edge.errors import BundleError
from edge.update.errors import UpdateError
from edge.update.store import Entry, ModelStore

log = logging.getLogger(__name__)


def active_bundle(store: ModelStore, fallback: Callable[[], Bundle]) -> Bundle:
    """The bundle to run; never raises for what lies in the store.

    A model on trial that twice did not reach READY, or a version whose files are damaged, gives
    way to the last good one. A shipped model that is newer than the store's comes with a newer
    smartbin and wins. Raises BundleError where even the fallback cannot be read.
    """
    try:
        store.clean()
        if store.failed_to_start:
            _leave(store, f"did not reach READY in {store.state.starts} starts", refuse=True)
        store.count_start()
        while store.state.current is not None:
            try:
                return _newer(store.load(store.state.current), fallback)
            except BundleError as error:
                _leave(store, str(error), refuse=False)
    except UpdateError as error:
        log.warning("%s", error)
        return _unwritten(store, fallback)
    return fallback()


def bundle_before(store: ModelStore, fallback: Callable[[], Bundle], reason: str) -> Bundle:
    """Leave the model that runs for the last good one, or the shipped one where that is damaged.

    A disk that cannot be written does not keep a worse model: then it is left in memory, and at
    the next start as well if nothing on trial can be counted there.
    """
    entry = _left(store, reason)
    if entry is None:
        return fallback()
    try:
        return store.load(entry)
    except BundleError as error:
        log.warning("model version %s: %s", entry.version, error)
        _left(store, str(error), refuse=False)
        return fallback()


def _left(store: ModelStore, reason: str, *, refuse: bool = True) -> Entry | None:
    try:
        return store.roll_back(reason, refuse=refuse)
    except UpdateError as error:
        log.warning("%s", error)
        store.leave(reason, refuse=refuse)
        return store.state.current


def _unwritten(store: ModelStore, fallback: Callable[[], Bundle]) -> Bundle:
    """The disk cannot be written: starts cannot be counted, so nothing on trial is run."""
    state = store.state
    for entry in (None if state.trial else state.current, state.last_good):
        if entry is None:
            continue
        try:
            bundle = _newer(store.load(entry), fallback)
        except BundleError as error:
            log.warning("model version %s: %s", entry.version, error)
            continue
        store.settle(entry)
        return bundle
    store.settle(None)
    return fallback()


def _leave(store: ModelStore, reason: str, *, refuse: bool) -> None:
    left = store.state.current
    back = store.roll_back(reason, refuse=refuse)
    there = f"version {back.version}" if back else "the shipped model"
    log.warning("model version %s: %s; back to %s", left and left.version, reason, there)


def _newer(bundle: Bundle, fallback: Callable[[], Bundle]) -> Bundle:
    try:
        other = fallback()
    except BundleError:
        return bundle
    return other if other.name == bundle.name and other.version > bundle.version else bundle
