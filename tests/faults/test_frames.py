"""Black and frozen pictures are told from dim and still ones."""

from __future__ import annotations

import numpy as np
import pytest

from edge.frames import FrameWatch
from edge.values import Frame, Pixels


def watch_frames(*pixels: Pixels, fps: float = 10.0) -> list[str]:
    """The trouble after each frame."""
    watch, told = FrameWatch(frozen_s=1.0, black_s=1.0), []
    for number, picture in enumerate(pixels):
        watch.see(Frame(picture, number / fps, number + 1))
        told.append(watch.trouble)
    return told


def noise(count: int, level: int = 100, spread: int = 20) -> list[Pixels]:
    draw = np.random.default_rng(1)
    return [draw.integers(level, level + spread, (48, 64, 3), np.uint8) for _ in range(count)]


def full(value: int) -> Pixels:
    return np.full((48, 64, 3), value, np.uint8)


def test_a_noisy_camera_is_never_called_frozen_or_black() -> None:
    """However still and dim the scene."""
    assert set(watch_frames(*noise(50), *noise(50, level=12, spread=4))) == {""}


def test_frozen_is_said_after_its_time_and_taken_back_at_once() -> None:
    """Ten identical frames at 10 fps are a second; one that differs ends it."""
    told = watch_frames(*[full(80)] * 12, *noise(1))
    assert told[:10] == [""] * 10
    assert told[10].startswith("the same picture for 1 s") and told[12] == ""


@pytest.mark.parametrize("pictures", [[full(0)] * 12, noise(12, level=0, spread=4)])
def test_black_is_said_and_is_not_called_frozen(pictures: list[Pixels]) -> None:
    """With and without noise: a sensor in the dark may well deliver zeros."""
    told = watch_frames(*pictures, full(80))
    assert told[9] == "" and told[10].startswith("black for 1 s")
    assert told[11].startswith("black") and told[12] == ""
