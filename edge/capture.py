"""Capture in a process of its own, which can hang, crash or be killed without the daemon.

    capture process: camera -> mailbox of one frame (edge.cameras.mailbox) -> next() here

A live camera overwrites a frame that was not taken; a folder or a file waits until it was.
"""

from __future__ import annotations

import logging
import os
import select
import time
from dataclasses import asdict, replace
from types import TracebackType
from typing import Self

from edge.cameras import CameraSpec, Clock, shown
from edge.cameras.mailbox import Letter, SharedSlots, make_memory, take_letter
from edge.children import ChildProcess, Hearing
from edge.errors import CameraError
from edge.values import Frame

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 64_000_000  # 21 megapixels; memory is taken only as far as it is used


class Capture:
    """Frames of a camera, read in a child process; used by one thread, except `wake`."""

    def __init__(
        self,
        *,
        spec: CameraSpec,
        max_bytes: int | None = None,
        clock: Clock = time.monotonic,
        opener: str = "edge.cameras:open_camera",
    ) -> None:
        """Start nothing yet. `opener` is MODULE:FUNCTION, called in the child with the spec."""
        self._spec = spec
        self._max_bytes = max_bytes or DEFAULT_MAX_BYTES
        self._clock = clock
        self._opener = opener
        self._where = f"camera {shown(spec.source)}"
        self._child: _Child | None = None
        self._fault: str | None = None
        self._last_seq = 0
        self._last_source = ""
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ended = False  # a source played once is over and all its frames were taken
        self.dropped = 0  # frames that next() never returned
        self.skipped = 0  # broken pictures of a folder
        self.stamped = False  # captured_s of the last frame is the sensor's own time
        self.live: bool | None = None  # None until the camera is open

    @property
    def pid(self) -> int | None:
        """The capture process, while there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the capture process; its camera opens while `next` waits."""
        if self._child is not None:
            return
        self._check_open()
        self.ended, self._fault, self.live = False, None, None
        try:
            self._child = _Child(
                spec=replace(self._spec, after=self._last_source, taken=self._last_seq),
                max_bytes=self._max_bytes,
                opener=self._opener,
                first_seq=self._last_seq + 1,
            )
        except OSError as error:
            raise CameraError(f"{self._where}: cannot be started ({error.strerror})") from error

    def next(self, timeout_s: float) -> Frame | None:
        """Return the newest frame not returned yet; None if none comes in time or on `wake`.

        Raises CameraError when the camera reported a fault or its process died; then `restart`.
        """
        self._check_open()
        deadline_s = self._clock() + timeout_s
        while not self.ended:
            if self._child is None:
                raise CameraError(f"{self._where}: not started; call start() first")
            self._listen(self._child)
            letter = take_letter(self._child.letters_r)
            if letter is not None:
                return self._open_letter(self._child, letter)
            if self._fault:
                raise CameraError(self._fault)
            left_s = deadline_s - self._clock()
            if not self.ended and (left_s <= 0 or self._wait(self._child, left_s)):
                return None
        return None

    def wake(self) -> None:
        """Let a waiting `next` return None at once; for signal handlers and other threads."""
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def restart(self) -> None:
        """End the capture process, however it is, and start another; numbering goes on."""
        self._end_child()
        self.start()

    def close(self) -> None:
        """End the capture process within 2 s; may be called again."""
        self._end_child()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._wake_fd < 0:
            raise CameraError(f"{self._where}: the capture is closed; make a new one")

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _open_letter(self, child: _Child, letter: Letter) -> Frame:
        pixels = child.slots.copy(letter)
        child.give_back(letter.slot)
        self.dropped += letter.seq - self._last_seq - 1
        self._last_seq, self._last_source = letter.seq, letter.source
        self.stamped = letter.stamped
        return Frame(pixels, letter.captured_s, letter.seq, letter.source)

    def _wait(self, child: _Child, timeout_s: float) -> bool:
        """Wait for news of the child; True if woken."""
        poller = select.poll()
        for fd in (child.letters_r, child.talk_r, self._wake_fd):
            poller.register(fd, select.POLLIN)
        ready = dict(poller.poll(max(1, round(timeout_s * 1000))))
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
            return True
        return False

    def _listen(self, child: _Child) -> None:
        """Take in what the child said; on its end, take what is left and say why it ended."""
        lines, over = child.hear()
        for line in lines:
            self._take_in(line)
        # The child writes its last frame before it ends: one that is still there comes first.
        if over and not self.ended and not self._fault and not child.has_letter():
            self._fault = f"{self._where}: {child.obituary()}; restart the camera"

    def _take_in(self, news: dict[str, object]) -> None:
        if "log" in news:
            logger = logging.getLogger(str(news["logger"]))
            logger.log(int(str(news["level"])), "%s", news["log"])
        elif "fault" in news:
            text = str(news["fault"])
            self._fault = text if text.startswith("camera ") else f"{self._where}: {text}"
        elif "ended" in news:
            self.ended = True
        elif "live" in news:
            self.live = bool(news["live"])
        elif "skipped" in news:
            self.skipped = int(str(news["skipped"]))


class _Child:
    """One capture process with everything that belongs to it, gone with it."""

    def __init__(self, *, spec: CameraSpec, max_bytes: int, opener: str, first_seq: int) -> None:
        memory_fd, slot_bytes = make_memory(max_bytes)
        self.slots = SharedSlots(memory_fd, slot_bytes)
        self.letters_r, letters_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.talk_r, talk_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._hearing = Hearing(self.talk_r)
        order = {
            "spec": asdict(spec),
            "opener": opener,
            "first_seq": first_seq,
            "memory_fd": memory_fd,
            "slot_bytes": slot_bytes,
            "letters_r": self.letters_r,
            "letters_w": letters_w,
            "talk_fd": talk_w,
        }
        try:
            self._process = ChildProcess(
                "edge.cameras.child",
                order=order,
                pass_fds=(memory_fd, self.letters_r, letters_w, talk_w),
            )
        except OSError as error:
            self._release()
            raise CameraError(
                f"the capture process cannot be started ({error.strerror}); is memory short?"
            ) from error
        finally:
            for fd in (memory_fd, letters_w, talk_w):
                os.close(fd)

    @property
    def pid(self) -> int:
        return self._process.pid

    def give_back(self, slot: int) -> None:
        if not self._process.send(bytes([slot])):
            log.debug("the capture process is gone; its end is reported by hear()")

    def has_letter(self) -> bool:
        poller = select.poll()
        poller.register(self.letters_r, select.POLLIN)
        return any(event & select.POLLIN for _, event in poller.poll(0))

    def hear(self) -> tuple[list[dict[str, object]], bool]:
        """Return what the child said since, and whether it is over."""
        return self._hearing.news()

    def obituary(self) -> str:
        return f"the capture process {self._process.obituary()}"

    def end(self) -> None:
        """Ask, then kill; release everything."""
        self._process.end()
        self._release()

    def _release(self) -> None:
        self.slots.close()
        os.close(self.letters_r)
        os.close(self.talk_r)
