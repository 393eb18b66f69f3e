"""Empty trays that tests learn without a camera."""

from __future__ import annotations

from collections.abc import Iterable

from edge.calibrate import Lesson, Lookout, learn_tray
from edge.tray import TrayMemory, TrayModel
from edge.values import Pixels


def lesson_of(frames: Iterable[Pixels]) -> Lesson:
    """What `smartbin tray` learns of these frames."""
    lookout = Lookout()
    for pixels in frames:
        lookout.add(pixels)
    while len(lookout.scenes) < 8:
        lookout.add(lookout.samples[-1])
    return learn_tray(lookout, learned_ts=1.0)


def model_of(frames: Iterable[Pixels]) -> TrayModel:
    """What `smartbin tray` makes of these frames."""
    return lesson_of(frames).model


def known_tray(frames: Iterable[Pixels]) -> TrayMemory:
    """A memory that knows the tray of these frames."""
    return TrayMemory(model_of(frames))
