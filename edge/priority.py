"""Which thread of the daemon goes first."""

from __future__ import annotations

import contextlib
import os
import threading

BEHIND = 10  # nice; the loop runs at 0


def give_way() -> None:
    """This thread after the loop, where the system can tell them apart (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
