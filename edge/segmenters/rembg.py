"""The segmenter `rembg`: any of rembg's sessions, in a bounded process of its own.

    matte() -> shared memory + a record on its standard input -> edge.segmenters.rembg_child
            <- shared memory + a line of JSON

rembg's memory grows with use, and its networks take as long as they take: the process has a
limit for both, is ended beyond them, and started afresh, less and less often where that does not
help. While it is away frames are judged whole, and say so.
"""

from __future__ import annotations

import importlib.util
import logging
import mmap
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.children import ChildProcess, Hearing
from edge.errors import BundleError, MissingExtraError, UsageError
from edge.health import rss_mb
from edge.preprocess import resize_down
from edge.segmenters.base import LEAST_QUALITY, Cutting, Matte, NoMatte, certainty
from edge.segmenters.rembg_record import MAX_SIDE_PX, MEMORY_BYTES, REQUEST, mask_view, pixel_view
from edge.values import Pixels

log = logging.getLogger(__name__)

START_S = 300.0  # the first start may fetch a network; nothing waits for it meanwhile
POLITE_STOP_S = 0.3
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0
GOOD_ANSWERS = 20  # in a life; fewer, and the next start waits
LOOK_S = 0.05  # at its memory, while an answer is awaited
HOME = "U2NET_HOME"  # where rembg looks for networks
CUSTOM = "_custom"  # what the names of its sessions for networks of one's own end in


class RembgSegmenter(Cutting):
    """rembg at arm's length; its process starts with the constructor."""

    name = "rembg"

    def __init__(
        self,
        *,
        session: str = "u2netp",
        model: Path | None = None,
        threads: int = 1,
        least_quality: float = LEAST_QUALITY,
        timeout_s: float = 1.0,
        memory_mb: float = 700.0,
        patient: bool = False,
        child: str = "edge.segmenters.rembg_child",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patient` waits for a process that starts, as long as it takes.

        Raises MissingExtraError where rembg is not installed, UsageError or BundleError where a
        custom session has no network. `child` is the module that runs.
        """
        super().__init__(least_quality=least_quality)
        if importlib.util.find_spec("rembg") is None and child.startswith("edge."):
            raise MissingExtraError(
                "segmenter rembg: rembg is not installed; run: pip install 'smartbin[segment]', "
                "or choose another, such as tiny"
            )
        self._session, self._model, self._threads = session, _own_network(session, model), threads
        self._timeout_s, self._memory_mb = timeout_s, memory_mb
        self._patient, self._module, self._clock = patient, child, clock
        self._life: _Life | None = None
        self._retry_s = RETRY_MIN_S
        self._due_s = -np.inf  # when the next start may be
        self._why = "its process is starting"
        self._closed = False
        self.restarts = -1
        self._start()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._life.pid if self._life else None

    def matte(self, pixels: Pixels) -> Matte | NoMatte:
        """(H, W, 3) to rembg's mask, or why there is none; bounded by timeout_s."""
        if self._closed:
            return NoMatte("closed")
        if self._life is None:
            self._start()
        if self._life is not None and not self._await_ready(self._life):
            return NoMatte(self._why)
        if self._life is None:
            return NoMatte(self._why)
        small = _small(pixels)
        fault = self._ask(self._life, small)
        if fault:
            self._fail(fault)
            return NoMatte(fault)
        mask = self._life.mask(small.shape[0], small.shape[1])
        self._life.answers += 1
        self._watch_memory(self._life)
        return Matte(mask, certainty(mask))

    def close(self) -> None:
        """End the process; may be called again."""
        self._closed = True
        self._end()

    def _start(self) -> None:
        if self._clock() < self._due_s:
            return
        self._why = "its process is starting"
        self.restarts += 1
        try:
            self._life = _Life(
                self._module,
                order={
                    "session": self._session,
                    "model": str(self._model or ""),
                    "threads": self._threads,
                },
                environment=self._environment(),
                started_s=self._clock(),
            )
        except OSError as error:
            self._fail(f"its process cannot be started ({error.strerror})")

    def _environment(self) -> dict[str, str]:
        # rembg opens a custom network only in its own home.
        return {HOME: str(self._model.resolve().parent)} if self._model else {}

    def _await_ready(self, life: _Life) -> bool:
        """Hear whether the process is ready; waits for it only where patient."""
        while not life.ready:
            fault = life.listen()
            if not fault and self._clock() - life.started_s > START_S:
                fault = f"its process was not ready after {START_S:g} s"
            if fault:
                self._fail(fault)
                return False
            if life.ready or not self._patient:
                break
            life.wait(LOOK_S)
        return life.ready

    def _ask(self, life: _Life, small: Pixels) -> str:
        """Have a mask made; returns what went wrong, in words, or nothing."""
        until_s = self._clock() + self._timeout_s
        number = life.send(small)
        while life.done != number:
            fault = life.listen()
            if fault:
                return fault
            if life.done == number:
                break
            if self._clock() > until_s:
                return f"no mask within {self._timeout_s:g} s"
            used_mb = rss_mb(life.pid)
            if used_mb > self._memory_mb:
                return f"its process took {used_mb:.0f} MB of {self._memory_mb:g}"
            life.wait(min(LOOK_S, self._timeout_s))
        return ""

    def _watch_memory(self, life: _Life) -> None:
        used_mb = rss_mb(life.pid)
        if used_mb > self._memory_mb:
            self._fail(f"its process grew to {used_mb:.0f} MB of {self._memory_mb:g}")

    def _fail(self, why: str) -> None:
        """End the process; start another now after a good life, later after a poor one."""
        good = self._life is not None and self._life.answers >= GOOD_ANSWERS
        log.warning(
            "rembg: %s; starting it afresh%s", why, "" if good else f" in {self._retry_s:g} s"
        )
        self._end()
        self._why = why
        if good:
            self._retry_s, self._due_s = RETRY_MIN_S, -np.inf
            self._start()
            return
        self._due_s = self._clock() + self._retry_s
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)

    def _end(self) -> None:
        if self._life is not None:
            self._life.end()
            self._life = None


class _Life:
    """One process with everything that belongs to it, gone with it."""

    def __init__(
        self,
        module: str,
        *,
        order: dict[str, object],
        environment: dict[str, str],
        started_s: float,
    ) -> None:
        self.started_s = started_s
        self.ready = False
        self.done = 0  # number of the last request that was answered
        self.answers = 0
        self._sent = 0
        memory_fd = os.memfd_create("smartbin-masks", os.MFD_CLOEXEC)
        os.ftruncate(memory_fd, MEMORY_BYTES)
        self._memory = mmap.mmap(memory_fd, MEMORY_BYTES)
        self._talk_r, talk_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._hearing = Hearing(self._talk_r)
        try:
            self._process = ChildProcess(
                module,
                order={**order, "memory_fd": memory_fd, "talk_fd": talk_w},
                pass_fds=(memory_fd, talk_w),
                environment=environment,
            )
        except OSError:
            self._release()
            raise
        finally:
            os.close(memory_fd)
            os.close(talk_w)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, pixels: Pixels) -> int:
        """Hand a picture over; returns its number."""
        height, width = pixels.shape[:2]
        np.copyto(pixel_view(self._memory, height, width), pixels)
        self._sent += 1
        self._process.send(REQUEST.pack(self._sent, height, width))  # its end is heard of
        return self._sent

    def mask(self, height: int, width: int) -> Pixels:
        """The mask that was last made."""
        return mask_view(self._memory, height, width).copy()

    def listen(self) -> str:
        """Take in what the process said; returns why it is of no use any more, or nothing."""
        lines, over = self._hearing.news()
        fault = ""
        for news in lines:
            self.ready = self.ready or "ready" in news
            if "done" in news:
                self.done = int(str(news["done"]))
            if "log" in news:
                logging.getLogger(str(news["logger"])).log(
                    int(str(news["level"])), "%s", news["log"]
                )
            if "fault" in news:
                fault = f"its process failed: {news['fault']}"
        return fault or (f"its process {self._process.obituary()}" if over else "")

    def wait(self, timeout_s: float) -> None:
        """Wait until the process says something, at most so long."""
        poller = select.poll()
        poller.register(self._talk_r, select.POLLIN)
        poller.poll(max(1, round(timeout_s * 1000)))

    def end(self) -> None:
        self._process.end(POLITE_STOP_S)
        self._release()

    def _release(self) -> None:
        os.close(self._talk_r)
        self._memory.close()


def _own_network(session: str, model: Path | None) -> Path | None:
    """The network that a custom session opens; None where rembg brings its own."""
    if not session.endswith(CUSTOM):
        return None
    if model is None:
        raise UsageError(
            f"segmenter session {session!r}: needs a network of your own; name its .onnx as "
            "segmenter.model (command line: --segment-model), or choose a session such as u2netp"
        )
    if not model.is_file():
        raise BundleError(f"{model}: no such file; name the .onnx that session {session!r} opens")
    return model


def _small(pixels: Pixels) -> Pixels:
    """At most MAX_SIDE_PX long: its networks look at 320 px, or at a little more."""
    height, width = pixels.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels
    return resize_down(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
