"""When a camera counts as silent; time is a value."""

from __future__ import annotations

from typing import Any

import pytest

from edge.values import Frame
from edge.watch import OPENING_S, CameraWatch


class Mute:
    """A capture that gives no frame; `live` is None until its camera is open."""

    ended = False

    def __init__(self, live: bool | None) -> None:
        self.live = live

    def start(self) -> None:
        pass

    def next(self, wait_s: float) -> Frame | None:
        return None


@pytest.mark.parametrize(
    ("live", "patience_s"), [(None, OPENING_S), (True, 0.5), (False, float("inf"))]
)
def test_a_camera_that_still_opens_is_given_time_and_an_open_one_is_not(
    live: bool | None, patience_s: float
) -> None:
    """A short timeout_s is for frames; a process that starts on a busy board takes longer."""
    now = [100.0]
    capture: Any = Mute(live)
    watch = CameraWatch(capture, timeout_s=0.5, give_up_s=600, clock=lambda: now[0])
    watch.start()
    for step in range(1, 100):
        now[0] = 100 + step * 0.1
        watch.next(0)
        assert bool(watch.trouble) is (now[0] - 100 > patience_s), step
        if watch.trouble:
            return
    assert live is False
