"""The end of what was begun: every part is closed, whatever becomes of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)


def close_all(closes: Iterable[Callable[[], object]]) -> Exception | None:
    """Call each in its order; returns the first fault. Each is logged with its traceback."""
    first: Exception | None = None
    for close in closes:
        try:
            close()
        except Exception as error:  # what comes after it must be closed all the same
            log.exception("at the end: %s", error)
            first = first or error
    return first
