"""Opening and closing a real picamera2 again and again: nothing may be left each time."""

from __future__ import annotations

import threading
import time

import pytest

from edge.cameras import CameraSpec, open_camera
from tests.cameras import virtual
from tests.cameras.conftest import Measured
from tests.cameras.taking import descriptors, resident_mb

SPEC = CameraSpec("picam:0", *virtual.SIZE, fps=0)
pytestmark = pytest.mark.usefixtures("virtual_cameras")


@pytest.mark.timeout(400)
def test_two_hundred_stops_and_restarts_leave_nothing(measured: Measured) -> None:
    """Restarts: opened, read and closed 200 times in one process; descriptors and threads stay."""
    seen: list[tuple[int, int, float]] = []
    start_s = time.monotonic()
    for _ in range(200):
        with open_camera(SPEC) as camera:
            frame = camera.read()
            assert frame is not None
            assert frame.pixels.shape == (480, 640, 3)
        seen.append((descriptors(), threading.active_count(), resident_mb()))
    each_ms = (time.monotonic() - start_s) / 200 * 1000
    fds, threads, memory_mb = zip(*seen, strict=True)
    assert max(fds[100:]) <= max(fds[:100])
    assert max(threads[100:]) <= max(threads[:100])
    grown_mb = memory_mb[-1] - memory_mb[19]
    assert grown_mb < 20
    measured(
        f"200 in {each_ms:.0f} ms each, descriptors {fds[0]} to {fds[-1]}, "
        f"threads {threads[0]} to {threads[-1]}, {grown_mb:+.1f} MB after the first 20"
    )
