"""Memory ceilings: what outgrows its own is restarted before the kernel kills the wrong process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable

from edge.errors import SmartbinError
from edge.health import rss_mb

CHECK_S = 5.0


class OutgrownError(SmartbinError):
    """The daemon has outgrown its ceiling; systemd starts it afresh."""


class MemoryGuard:
    """Looks at the daemon and its capture process, now and then."""

    def __init__(
        self,
        *,
        daemon_mb: float,
        capture_mb: float,
        capture_pid: Callable[[], int | None],
        rss_of: Callable[[int | None], float] = rss_mb,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._daemon_mb = daemon_mb
        self._capture_mb = capture_mb
        self._capture_pid = capture_pid
        self._rss_of = rss_of
        self._clock = clock
        self._due_s = clock()

    def excess(self) -> str:
        """Why the capture process must be restarted, in words; empty while it need not.

        Raises OutgrownError where the daemon itself is too large: nothing but a new start helps.
        """
        if self._clock() < self._due_s:
            return ""
        self._due_s = self._clock() + CHECK_S
        own_mb = self._rss_of(None)
        if own_mb > self._daemon_mb:
            raise OutgrownError(
                f"the daemon has grown to {own_mb:.0f} MB, over limits.daemon_mb = "
                f"{self._daemon_mb:g}; it ends, and systemd starts it again"
            )
        pid = self._capture_pid()
        capture_mb = self._rss_of(pid) if pid else 0.0
        if capture_mb > self._capture_mb:
            return f"the capture process has grown to {capture_mb:.0f} MB"
        return ""


def give_back_memory() -> None:
    """Return what was freed to the system, where the C library is glibc.

    Two networks live for a moment when one takes over from another; their memory would stay with
    the process. Takes a few milliseconds, so not in the loop.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def spare_collector() -> None:
    """Have the garbage collector pass over what is here now; before the work begins.

    It stops every thread while it looks at all objects, and does so at any moment: 16 ms for the
    51,000 of an actuator that has just started and 35 ms for a daemon's at work, on an x86 core of
    3 GHz, which is most of the time between a trigger and its movement. What begins later is few.
    """
    gc.collect()
    gc.freeze()
