"""Says when a live camera delivers frames that show nothing: black ones, or one for ever."""

from __future__ import annotations

import numpy as np

from edge.values import Frame, Pixels

FROZEN_S = 30.0  # an encoder may repeat a still scene exactly, up to its next key frame
BLACK_S = 30.0
# Of 255. The darkest of 41 rendered and sample frames has a mean of 33 and a spread of 85.
BLACK_MEAN = 12.0
BLACK_SPREAD = 6.0
STEP = 4  # every fourth pixel of every fourth row: noise changes some of 19,000 at 640x480


class FrameWatch:
    """Looks at every frame; `trouble` says in words what has been wrong for long. Time is theirs.

    A sensor's noise changes some pixel in every frame, so frames that are all the same come from
    a driver or a decoder that hangs. Not for pictures of a folder, which may well repeat.
    """

    def __init__(self, *, frozen_s: float = FROZEN_S, black_s: float = BLACK_S) -> None:
        self._frozen_s = frozen_s
        self._black_s = black_s
        self._last: Pixels | None = None
        self._same_since_s = 0.0
        self._black_since_s: float | None = None
        self.frozen = False
        self.trouble = ""

    def see(self, frame: Frame) -> None:
        """Take in the next frame."""
        sample, now_s = frame.pixels[::STEP, ::STEP], frame.captured_s
        if self._last is None or not np.array_equal(sample, self._last):
            self._last, self._same_since_s = sample.copy(), now_s
        black = _is_black(sample)
        if not black:
            self._black_since_s = None
        elif self._black_since_s is None:
            self._black_since_s = now_s
        # In the dark, pixels may all be zero and the sensor well.
        self.frozen = not black and now_s - self._same_since_s >= self._frozen_s
        self.trouble = self._describe(now_s)

    def _describe(self, now_s: float) -> str:
        if self._black_since_s is not None and now_s - self._black_since_s >= self._black_s:
            return f"black for {self._black_s:g} s; is the lens covered or the light out?"
        if self.frozen:
            return f"the same picture for {self._frozen_s:g} s; the driver or the stream hangs"
        return ""


def _is_black(sample: Pixels) -> bool:
    return bool(sample.mean() < BLACK_MEAN and sample.std() < BLACK_SPREAD)
