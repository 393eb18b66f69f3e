"""Keeps the camera coming: restarts a silent, broken or frozen one, gives up on a silent one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge.capture import Capture
from edge.errors import CameraError
from edge.frames import BLACK_S, FROZEN_S, FrameWatch
from edge.values import Frame

log = logging.getLogger(__name__)

# For the capture process to start and to open its camera, where timeout_s is shorter: a small or
# busy board needs seconds for the imports alone, and a restart would begin them anew.
OPENING_S = 15.0
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 10.0
THAW_EVERY_S = 30.0  # between restarts of a frozen camera
# Before the first frame ever the source may simply be wrong, and a person waits at the terminal;
# a camera that comes late after boot is met by systemd's next start.
FIRST_GIVE_UP_S = 15.0


class CameraWatch:
    """`next` gives frames; `trouble` says in words why there are none, or none worth having."""

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
        self._ever = False  # a frame has come
        self._open = False  # at the last look
        self._silence = ""  # why no frame comes, in words
        self._frozen_s: float | None = None  # since when the picture is frozen
        self._thawed_s: float | None = None  # when the camera was last restarted for it
        self._pictures = FrameWatch(frozen_s=FROZEN_S, black_s=BLACK_S)
        self.restarts = 0

    @property
    def trouble(self) -> str:
        """What is wrong with the camera, in words; empty while it is well."""
        return self._silence or self._pictures.trouble

    def start(self) -> None:
        """Start the capture; silence counts from now."""
        self._good_s = self._quiet_since_s = self._clock()
        self._capture.start()

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
        self._note_opening()
        if frame is not None:
            self._recover()
            self._look_at(frame)
        elif self._is_silent():
            self._fail(f"no frame for {self._patience_s:g} s")
        return frame

    def _note_opening(self) -> None:
        """The silence of a camera counts from when it is open, not from its process's start."""
        is_open = self._capture.live is not None
        if is_open and not self._open:
            self._quiet_since_s = self._clock()
        self._open = is_open

    def _is_silent(self) -> bool:
        """A folder or file may be as slow as it was set; live cameras may not."""
        if self._capture.ended or self._capture.live is False:
            return False
        return self._clock() - self._quiet_since_s > self._patience_s

    @property
    def _patience_s(self) -> float:
        """More than a short timeout_s until it is open: a process takes its time to start."""
        return self._timeout_s if self._capture.live else max(self._timeout_s, OPENING_S)

    def _recover(self) -> None:
        self._ever = True
        self._good_s = self._quiet_since_s = self._clock()
        self._backoff_s = BACKOFF_MIN_S
        if self._silence:
            log.info("camera: frames again")
        self._silence = ""

    def _look_at(self, frame: Frame) -> None:
        if not self._capture.live:
            return
        self._pictures.see(frame)
        if self._pictures.frozen:
            self._thaw(frame.captured_s)
        else:
            self._frozen_s = self._thawed_s = None

    def _thaw(self, now_s: float) -> None:
        """Restart a frozen camera, again and again, and give up in the end as on a silent one."""
        self._frozen_s = now_s if self._frozen_s is None else self._frozen_s
        if now_s - self._frozen_s > self._give_up_s:
            trouble = self._pictures.trouble
            raise CameraError(f"{trouble}; restarts did not help for {self._give_up_s:g} s")
        if self._thawed_s is None or now_s - self._thawed_s >= THAW_EVERY_S:
            self._thawed_s = now_s
            self.restart(self._pictures.trouble)

    def _fail(self, sentence: str) -> None:
        limit_s = self._give_up_s if self._ever else min(self._give_up_s, FIRST_GIVE_UP_S)
        if self._clock() - self._good_s > limit_s:
            raise CameraError(f"{sentence}; gave up after {limit_s:g} s")
        if sentence != self._silence:
            log.warning("camera: %s; trying again", sentence)
        self._silence = sentence
        self._retry_at_s = self._clock() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)

    def restart(self, why: str) -> None:
        """Restart a camera that gives frames but must not go on."""
        log.warning("camera: %s; restarting it", why)
        self.restarts += 1
        self._quiet_since_s = self._clock()
        self._restart_capture()

    def _restart_capture(self) -> None:
        self._open = False
        try:
            self._capture.restart()
        except CameraError as error:  # no process to be had just now: tried again like any fault
            self._fail(str(error))

    def _retry_when_due(self, wait_s: float) -> None:
        assert self._retry_at_s is not None
        left_s = self._retry_at_s - self._clock()
        if left_s > 0:
            time.sleep(min(left_s, wait_s))
            return
        self._retry_at_s = None
        self._quiet_since_s = self._clock()
        self.restarts += 1
        self._restart_capture()
