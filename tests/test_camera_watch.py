"""When a camera counts as silent; time is a value."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import CameraError
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


def watch_for(live: bool | None, *, timeout_s: float, until_s: float) -> CameraWatch:
    """A watch that has looked ten times a second until then, and seen nothing."""
    now = [100.0]
    capture: Any = Mute(live)
    watch = CameraWatch(capture, timeout_s=timeout_s, give_up_s=600, clock=lambda: now[0])
    watch.start()
    for step in range(1, round(until_s * 10) + 1):
        now[0] = 100 + step / 10
        watch.next(0)
    return watch


@pytest.mark.parametrize("live", [None, False])
def test_a_camera_that_still_opens_is_given_time_as_is_a_folder(live: bool | None) -> None:
    """A short timeout_s is for frames; a process that starts on a busy board takes longer."""
    assert watch_for(live, timeout_s=0.5, until_s=OPENING_S).trouble == ""


def test_an_open_camera_without_frames_is_silent_in_its_time() -> None:
    """Told with the time that it was given."""
    assert watch_for(True, timeout_s=0.5, until_s=0.4).trouble == ""
    assert watch_for(True, timeout_s=0.5, until_s=0.7).trouble == "no frame for 0.5 s"


def test_silence_counts_from_when_it_is_open() -> None:
    """One that took 8 s to open has its whole timeout_s for the first frame, at every start."""
    now = [100.0]
    capture: Any = Mute(None)
    watch = CameraWatch(capture, timeout_s=5.0, give_up_s=600, clock=lambda: now[0])
    watch.start()
    for at_s, live, silent in ((8.0, None, False), (8.1, True, False), (13.0, True, False)):
        now[0], capture.live = 100 + at_s, live
        watch.next(0)
        assert bool(watch.trouble) is silent
    now[0] = 113.2
    watch.next(0)
    assert watch.trouble == "no frame for 5 s"


@pytest.mark.parametrize(("timeout_s", "given"), [(0.5, "15 s"), (20.0, "20 s")])
def test_one_that_never_opens_ends_the_daemon(timeout_s: float, given: str) -> None:
    """For systemd, or for the person at the terminal; a longer timeout_s holds here too."""
    with pytest.raises(CameraError, match=f"no frame for {given}; gave up after 15 s"):
        watch_for(None, timeout_s=timeout_s, until_s=21)
