"""Keeps the camera coming: restarts a silent or broken capture process, and gives up in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge.capture import Capture
from edge.errors import CameraError
from edge.values import Frame

log = logging.getLogger(__name__)

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 10.0


class CameraWatch:
    """`next` gives frames; `trouble` says in words why there are none."""

    def __init__(
        self,
        capture: Capture,
        *,
        timeout_s: float,
        give_up_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capture = capture
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._clock = clock
        self._backoff_s = BACKOFF_MIN_S
        self._retry_at_s: float | None = None  # set while the capture process is down
        self._good_s = self._quiet_since_s = clock()  # last frame; last frame or restart
        self.trouble = ""
        self.restarts = 0

    def next(self, wait_s: float) -> Frame | None:
        """A frame within `wait_s`, or None; raises CameraError once give_up_s are over."""
        if self._retry_at_s is not None:
            self._retry_when_due(wait_s)
            return None
        try:
            frame = self._capture.next(wait_s)
        except CameraError as error:
            self._fail(str(error))
            return None
        if frame is not None:
            self._recover()
        elif not self._capture.ended and self._clock() - self._quiet_since_s > self._timeout_s:
            self._fail(f"no frame for {self._timeout_s:g} s")
        return frame

    def _recover(self) -> None:
        self._good_s = self._quiet_since_s = self._clock()
        self._backoff_s = BACKOFF_MIN_S
        if self.trouble:
            log.info("camera: frames again")
        self.trouble = ""

    def _fail(self, sentence: str) -> None:
        if self._clock() - self._good_s > self._give_up_s:
            raise CameraError(f"{sentence}; gave up after {self._give_up_s:g} s")
        if sentence != self.trouble:
            log.warning("camera: %s; trying again", sentence)
        self.trouble = sentence
        self._retry_at_s = self._clock() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)

    def _retry_when_due(self, wait_s: float) -> None:
        assert self._retry_at_s is not None
        left_s = self._retry_at_s - self._clock()
        if left_s > 0:
            time.sleep(min(left_s, wait_s))
            return
        self._retry_at_s = None
        self._quiet_since_s = self._clock()
        self.restarts += 1
        self._capture.restart()
