"""A live camera that plays what a file says; the file may change at any time.

good     coloured noise at spec.fps         absent     cannot be opened
hung     a read that never returns          unplugged  half a frame, then an error
black    a covered lens                     frozen     the same frame again and again
slow     three frames a second
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from edge.cameras import CameraSpec
from edge.cameras.base import BackEnd
from edge.errors import CameraError
from edge.values import Frame, Pixels

COLOURS = ((220, 30, 30), (30, 200, 30), (30, 30, 220))
ITEM_FRAMES = 5  # a colour stays so long


class ScriptedCamera(BackEnd):
    """Its source is file:SCRIPT."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._script = Path(spec.source.partition(":")[2])
        self._noise = np.random.default_rng(5)
        self._seq = 0
        if self.mode == "absent":
            raise CameraError("camera of the test: cannot be opened; is it plugged in?")

    @property
    def mode(self) -> str:
        return self._script.read_text().strip()

    def read(self) -> Frame | None:
        mode = self.mode
        if mode == "hung":
            threading.Event().wait()
        if mode == "unplugged" and self._seq:
            raise CameraError("camera of the test: no frame came; was it unplugged?")
        time.sleep(0.33 if mode == "slow" else 1 / self._spec.fps)
        self._seq += 1
        return Frame(self._pixels(mode), time.monotonic(), self._seq)

    def close(self) -> None:
        pass

    def _pixels(self, mode: str) -> Pixels:
        shape = (self._spec.height_px, self._spec.width_px, 3)
        if mode == "black":
            return self._noise.integers(0, 4, shape, np.uint8)
        if mode == "frozen":
            return np.full(shape, COLOURS[0], np.uint8)
        colour = np.array(COLOURS[self._seq // ITEM_FRAMES % 3], np.uint8)
        pixels = self._noise.integers(0, 20, shape, np.uint8) + colour
        if mode == "unplugged":
            pixels[shape[0] // 2 :] = 128
        return pixels.astype(np.uint8)


def open_scripted(spec: CameraSpec) -> ScriptedCamera:
    return ScriptedCamera(spec)
