"""The picamera2 back-end on the real picamera2 and libcamera, with its virtual camera.

The virtual camera gives frames as fast as its buffers come back, some hundred a second, whatever
rate it is asked for: a harder test of freshness and of the mailbox than a sensor at 30.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edge.cameras import CameraSpec, open_camera
from edge.cameras.picam import TO_RGB, PiCamera
from edge.capture import Capture
from edge.errors import CameraError
from edge.values import Frame
from tests.cameras import virtual
from tests.cameras.conftest import Measured
from tests.cameras.taking import (
    back_again,
    capture_processes,
    descriptors,
    some,
    until_fault,
    worst_error,
)

SPEC = CameraSpec("picam:0", *virtual.SIZE, fps=0)
OPENER = "tests.cameras.virtual:open_virtual"
ROUND_S = 0.15  # for the counter's 64 pictures of 4 frames each, at 1700 frames a second
pytestmark = pytest.mark.usefixtures("virtual_cameras")


def test_frames_are_rgb_of_the_right_size(measured: Measured) -> None:
    """Frames: shape, type and the order of colours, on a picture of known ones."""
    with open_camera(SPEC) as camera:
        frame = camera.read()
        assert frame is not None
        assert (frame.pixels.shape, frame.pixels.dtype) == ((480, 640, 3), np.uint8)
        assert frame.pixels.flags.c_contiguous
        # The virtual camera decodes JPEG to full-range YUV and calls it Rec. 709: of these 16.
        assert worst_error(frame.pixels) <= 16
        measured(f"480x640x3, RGB, off by {worst_error(frame.pixels)} of 255")


def test_colour_bars_are_in_their_order(measured: Measured) -> None:
    """Colours: a second camera's bars, made by libcamera itself, come out one by one."""
    bars = np.array([[int(bit) for bit in f"{7 - n:03b}"] for n in range(8)]) * 255  # GRB
    expected = bars[:, [1, 0, 2]]
    with open_camera(CameraSpec("picam:1", 800, 600, 0)) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.pixels.shape == (600, 800, 3)
        found = frame.pixels[300, 50::100].astype(int)
    worst = int(np.abs(found - expected).max())
    assert worst <= 3, found.tolist()
    measured(f"8 bars, off by {worst} of 255")


@pytest.mark.parametrize("turned", [0, 90])
@pytest.mark.parametrize("asked", [(640, 480), (1280, 720), (1920, 1080), (642, 482), (64, 48)])
def test_a_size_that_it_has_not_becomes_one_that_it_has(
    asked: tuple[int, int], turned: int
) -> None:
    """Sizes: one the camera has not becomes one it has, upright or turned."""
    with open_camera(CameraSpec("picam:0", *asked, fps=30, rotate_deg=turned)) as camera:
        frame = camera.read()
        assert frame is not None
        pixels = np.rot90(frame.pixels) if turned else frame.pixels
        assert pixels.shape in {(480, 640, 3), (720, 1280, 3)}
        assert asked not in ((640, 480), (1280, 720)) or pixels.shape[1::-1] == asked
        assert worst_error(pixels) <= 16


@pytest.mark.parametrize("asked", [*TO_RGB, "YVU420"])
def test_a_format_that_it_has_not_is_adjusted(asked: str) -> None:
    """Formats: libcamera adjusts each that can be asked for to NV12, which is turned to RGB."""
    with PiCamera(SPEC, number=0, pixel_format=asked) as camera:
        assert camera._driver.camera_configuration()["main"]["format"] == "NV12"
        frame = camera.read()
        assert frame is not None
        assert worst_error(frame.pixels) <= 16


@pytest.mark.parametrize("asked", ["RGB", "bayer", ""])
def test_a_format_that_nobody_knows_is_a_fault(asked: str) -> None:
    """Formats: one that does not exist is a CameraError, and the camera is free again."""
    with pytest.raises(CameraError, match="refuses 640x480"):
        PiCamera(SPEC, number=0, pixel_format=asked)
    open_camera(SPEC).close()


def test_an_absent_camera_names_those_that_are_there(measured: Measured) -> None:
    """Absent: picam:7 names the cameras there are, by the numbers that open them."""
    with pytest.raises(CameraError) as caught:
        open_camera(CameraSpec("picam:7", *virtual.SIZE, fps=0))
    named = str(caught.value).rpartition("finds ")[2]
    assert named == "picam:0 (Virtual counter), picam:1 (Virtual bars)"
    measured(named)


def test_sensor_time_is_between_request_and_arrival(measured: Measured) -> None:
    """Time: SensorTimestamp comes out on the monotonic clock, rising, and never after arrival."""
    with open_camera(SPEC) as camera:
        rows = []
        for _ in range(1000):
            asked_s = time.monotonic()
            frame = camera.read()
            assert frame is not None
            assert camera.stamped
            rows.append((asked_s, frame.captured_s, time.monotonic()))
    asked, captured, arrived = np.array(rows).T
    age_ms, early_ms = (arrived - captured) * 1000, (asked - captured) * 1000
    assert (np.diff(captured) > 0).all()
    assert (age_ms >= 0).all()
    # A frame that is being exposed when it is asked for is older than that; not by more than the
    # four buffers that are under way.
    assert np.median(early_ms) < 20
    assert np.median(age_ms) < 20
    p50, p99 = np.percentile(age_ms, (50, 99))
    measured(f"1000 frames, age at arrival p50 {p50:.1f} ms, p99 {p99:.1f} ms")


CLOCKS = """
import time
from tests.cameras import virtual
from edge.cameras import CameraSpec, open_camera
virtual.install()
with open_camera(CameraSpec("picam:0", 640, 480, 0)) as camera:
    for _ in range(20):
        frame = camera.read()
        age_s = time.monotonic() - frame.captured_s
apart_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
print(round(apart_s), camera.stamped, age_s)
"""


@pytest.mark.parametrize("slept_s", [1000, 10_000_000])
def test_sensor_time_is_right_on_a_machine_that_slept(slept_s: int, measured: Measured) -> None:
    """Time: with CLOCK_BOOTTIME ahead of CLOCK_MONOTONIC, as after a sleep, the stamp is right."""
    result = subprocess.run(
        ["unshare", "--time", "--boottime", str(slept_s), "--fork", sys.executable, "-c", CLOCKS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-500:]
    apart, stamped, age_s = result.stdout.split()[-3:]
    assert int(apart) >= slept_s
    assert stamped == "True"
    assert 0 <= float(age_s) < 0.2
    measured(f"clocks {apart} s apart, age {float(age_s) * 1000:.1f} ms")


def goes_on(earlier: Frame, later: Frame) -> bool:
    """Whether the pictures' numbers go forward; after longer than this they may be once round."""
    step = (virtual.number_of(later.pixels) - virtual.number_of(earlier.pixels)) % virtual.COUNT
    return later.captured_s - earlier.captured_s > ROUND_S / 3 or step < virtual.COUNT // 2


def test_the_frame_after_a_trigger_is_fresh(measured: Measured) -> None:
    """Freshness: after a trigger at t, a frame with captured_s >= t comes, and no older picture."""
    chance = random.Random(1)
    waits_ms = []
    with Capture(spec=SPEC, opener=OPENER) as capture:
        some(capture)
        for _ in range(200):
            before = some(capture)
            time.sleep(chance.uniform(0, 0.01))
            trigger_s = time.monotonic()
            while (frame := some(capture)).captured_s < trigger_s:
                pass
            waits_ms.append((time.monotonic() - trigger_s) * 1000)
            assert capture.stamped
            assert goes_on(before, frame)
    p50, p99 = np.percentile(waits_ms, (50, 99))
    assert p50 < 50
    measured(f"200 triggers, fresh frame after p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def test_pictures_come_in_the_order_of_their_times() -> None:
    """Order: what the pictures show never goes back while captured_s goes on."""
    with Capture(spec=SPEC, opener=OPENER) as capture:
        last = some(capture)
        for _ in range(300):
            frame = some(capture)
            assert goes_on(last, frame)
            assert frame.captured_s > last.captured_s
            assert frame.seq > last.seq
            last = frame


def test_a_slow_consumer_gets_the_newest_and_a_count(measured: Measured) -> None:
    """Slow consumer: after a pause the next frame is the newest; those dropped are counted."""
    ages_ms = []
    with Capture(spec=SPEC, opener=OPENER) as capture:
        first = last = some(capture)
        dropped = capture.dropped
        for _ in range(10):
            time.sleep(0.3)
            frame = some(capture)
            ages_ms.append((time.monotonic() - frame.captured_s) * 1000)
            assert frame.seq > last.seq + 1
            last = frame
        assert capture.dropped - dropped == last.seq - first.seq - 10
        assert capture.live
        lost = capture.dropped - dropped
    assert np.median(ages_ms) < 50
    measured(f"{lost} dropped in 3 s, age {max(ages_ms):.1f} ms at most")


def test_a_camera_that_stops_is_a_fault_in_time(measured: Measured) -> None:
    """Silence: a camera that stops delivering is a CameraError within its time-out, then closes."""
    camera = PiCamera(SPEC, number=0, read_timeout_s=1.0)
    camera.read()
    camera._driver.stop()
    start_s = time.monotonic()
    with pytest.raises(CameraError, match="gave no frame within 1 s"):
        camera.read()
    took_s = time.monotonic() - start_s
    assert 0.9 < took_s < 2
    camera.close()
    with open_camera(SPEC) as again:
        assert again.read() is not None
    measured(f"fault after {took_s:.1f} s of 1 s")


def test_capture_restarts_number_on(measured: Measured) -> None:
    """Restarts: the capture process is ended and started 10 times; numbers go on from the last."""
    with Capture(spec=SPEC, opener=OPENER) as capture:
        last, fds, took_s = some(capture), descriptors(), []
        for _ in range(10):
            start_s = time.monotonic()
            capture.restart()
            frame = some(capture)
            took_s.append(time.monotonic() - start_s)
            assert frame.seq > last.seq
            assert frame.captured_s > last.captured_s
            last = frame
        assert descriptors() == fds
    measured(f"{np.median(took_s):.1f} s from restart to frame")


def test_a_killed_capture_process_is_replaced(measured: Measured) -> None:
    """SIGKILL: the capture process killed in mid-stream 10 times is named and replaced."""
    chance = random.Random(2)
    said_s, back_s = [], []
    with Capture(spec=SPEC, opener=OPENER) as capture:
        for _ in range(10):
            some(capture)
            time.sleep(chance.uniform(0, 0.05))
            (pid,) = capture_processes()
            killed_s = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            sentence, _ = until_fault(capture)
            said_s.append(time.monotonic() - killed_s)
            assert "the capture process died of SIGKILL; restart the camera" in sentence
            back_s.append(back_again(capture))
    assert max(said_s) < 1
    measured(f"named after {max(said_s):.2f} s, frames again after {np.median(back_s):.1f} s")


def test_a_capture_process_killed_while_opening_is_replaced() -> None:
    """SIGKILL: also while libcamera starts, at any moment of the first half second."""
    with Capture(spec=SPEC, opener=OPENER) as capture:
        for tenths in range(1, 6):
            some(capture)
            capture.restart()
            while not (pids := capture_processes()):
                time.sleep(0.01)
            time.sleep(tenths / 10)
            os.kill(pids[0], signal.SIGKILL)
            assert "SIGKILL" in until_fault(capture)[0]
            capture.restart()
        some(capture)
