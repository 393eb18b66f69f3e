"""This host's clocks for the guard: asking whether the clock is disciplined is not free."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.actuator.guard import Clocks
from edge.health import clock_host, clock_synced

CHECK_S = 10.0


class HostClock:
    """Reads the clocks of this host; used by one thread at a time."""

    def __init__(self, *, synced: Callable[[], bool] = clock_synced) -> None:
        self._ask = synced
        self._host = clock_host()
        self._synced, self._until_s = False, float("-inf")

    def read(self) -> Clocks:
        """The clocks now."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._synced, self._until_s = self._ask(), now_s + CHECK_S
        return Clocks(now_s=now_s, now_ts=time.time(), synced=self._synced, host=self._host)
