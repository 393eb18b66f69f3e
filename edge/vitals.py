"""Gathers what the health message says, and sends it now and then while the broker is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge.health import WorkFigures, host_figures
from edge.movements import Movements
from edge.mqtt import Link
from edge.outbox import Outbox
from edge.postman import Postman
from edge.reporter import Reporter
from edge.watch import CameraWatch
from edge.wire import Origin, health_message


class Vitals:
    """Used by the loop alone; `work` counts its decisions."""

    def __init__(
        self,
        *,
        link: Link,
        outbox: Outbox,
        postman: Postman,
        reporter: Reporter,
        frames_dropped: Callable[[], int],
        watch: CameraWatch,
        movements: Movements | None,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._postman = postman
        self._reporter = reporter
        self._frames_dropped = frames_dropped
        self._watch = watch
        self._movements = movements
        self._started_s = time.monotonic()
        self._due_s = 0.0
        self.work = WorkFigures()

    def tell(self, origin: Origin, *, every_s: float) -> None:
        """Publish where it is time and somebody may hear it."""
        now_s = time.monotonic()
        if now_s < self._due_s or not self._link.connected:
            return
        self._due_s = now_s + every_s
        figures = self._figures(uptime_s=now_s - self._started_s)
        self._link.publish(health_message(origin, figures, ts=time.time()))

    def _figures(self, *, uptime_s: float) -> dict[str, Any]:
        figures = {
            **host_figures(uptime_s=uptime_s),
            **self.work.summary(),
            "outbox": {
                "depth": self._outbox.depth,
                "bytes": self._outbox.bytes,
                "in_memory": self._outbox.in_memory,
                "overflowed": self._outbox.overflowed,
                "expired": self._outbox.expired,
                "refused": self._postman.refused,
            },
            "drops": {
                "frames": self._frames_dropped(),
                "decisions": self._reporter.undelivered,
            },
            "camera_restarts": self._watch.restarts,
            "seq": self._reporter.seq,
        }
        return figures | ({"movements": self._movements.counts} if self._movements else {})
