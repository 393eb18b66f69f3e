"""GStreamer strings, as a Jetson's camera is written, in Debian's OpenCV."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from edge.cameras import CameraSpec, open_camera
from edge.capture import Capture
from edge.errors import CameraError
from tests.cameras.conftest import Measured
from tests.cameras.rtsp import PORT, RtspServer, age_s
from tests.cameras.taking import back_again, some, until_fault, worst_error

RED = (200, 40, 40)
SOURCE = (
    "gst:videotestsrc is-live=true pattern=solid-color foreground-color=0xffC82828"
    " ! video/x-raw,width=320,height=240,framerate=30/1 ! videoconvert"
)
BGR = "video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
NETWORK = (
    f"gst:rtspsrc location=rtsp://127.0.0.1:{PORT}/bin latency=0 protocols=tcp"
    f" ! rtph264depay ! avdec_h264 ! videoconvert ! {BGR}"
)


def spec(source: str) -> CameraSpec:
    return CameraSpec(source, 640, 480, fps=0)


def test_a_pipeline_gives_frames(measured: Measured) -> None:
    """GStreamer: videotestsrc at its rate, red is red, and a slow consumer gets the newest."""
    with Capture(spec=spec(f"{SOURCE} ! {BGR}")) as capture:
        first = some(capture)
        assert first.pixels.shape == (240, 320, 3)
        for _ in range(59):
            last = some(capture)
        rate = (last.seq - first.seq) / (last.captured_s - first.captured_s)
        time.sleep(0.5)
        newest = some(capture)
        assert time.monotonic() - newest.captured_s < 0.2
        assert newest.seq - last.seq > 5
        assert capture.live
    off = int(np.abs(first.pixels.astype(int) - RED).max())
    assert off <= 2
    assert 25 < rate < 35
    measured(f"{rate:.1f} of 30 frames a second, off by {off} of 255")


@pytest.mark.parametrize("named", ["BGR", "BGRx", "BGRA"])
def test_formats_that_opencv_has_are_rgb_in_the_end(named: str) -> None:
    """GStreamer: a pipeline that ends in BGR, BGRx or BGRA gives the right colours."""
    with open_camera(spec(f"{SOURCE} ! video/x-raw,format={named} ! appsink")) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.pixels.shape == (240, 320, 3)
        assert np.abs(frame.pixels.astype(int) - RED).max() <= 2


@pytest.mark.parametrize("named", ["RGBA", "RGBx", "RGB", "NV12", "I420", "YUY2", "UYVY", "GRAY8"])
def test_other_formats_are_refused_rather_than_shown_wrong(named: str) -> None:
    """GStreamer: one that ends in anything else is refused; RGBA would swap red and blue."""
    with pytest.raises(CameraError, match=r"format=BGR ! (appsink|fakesink)"):
        open_camera(spec(f"{SOURCE} ! video/x-raw,format={named} ! appsink")).read()


def test_a_pipeline_that_ends_is_a_fault_at_once(measured: Measured) -> None:
    """GStreamer: the end of the stream is a CameraError at once, and says so."""
    source = f"{SOURCE} ! {BGR}".replace("is-live", "num-buffers=10 is-live")
    with Capture(spec=spec(source)) as capture:
        some(capture)
        sentence, silent_s = until_fault(capture)
    assert "the stream ended; try it with gst-launch-1.0" in sentence
    assert silent_s < 2
    measured(f"{silent_s:.1f} s")


def test_a_pipeline_whose_camera_stalls_or_dies_is_a_fault_in_time(measured: Measured) -> None:
    """GStreamer, rtspsrc: stalled, a CameraError within 5 s; killed, at once; frames afterwards."""
    with RtspServer() as server, Capture(spec=spec(NETWORK)) as capture:
        for _ in range(50):
            frame = some(capture)
        assert worst_error(frame.pixels) <= 6
        age_ms = np.median([age_s(some(capture)) for _ in range(25)]) * 1000
        server.signal(signal.SIGSTOP)
        sentence, stalled_s = until_fault(capture)
        assert "gave no frame within 5 s" in sentence
        assert 4.5 < stalled_s < 7
        server.signal(signal.SIGCONT)
        back_again(capture)
        server.kill()
        sentence, dead_s = until_fault(capture)
        assert "the stream ended" in sentence
        assert dead_s < 2
        server.start()
        back_s = back_again(capture)
    measured(
        f"{age_ms:.0f} ms old; stalled: fault after {stalled_s:.1f} s, killed: {dead_s:.1f} s; "
        f"frames again after {back_s:.1f} s"
    )


@pytest.mark.parametrize(
    "source",
    [
        "gst:videotestsrc is-live=true ! valve drop=true ! videoconvert",
        "gst:videotestsource ! videoconvert",
    ],
    ids=["silent", "misspelt"],
)
def test_a_pipeline_that_never_starts_can_be_given_up(source: str, measured: Measured) -> None:
    """GStreamer: silent or misspelt, it holds OpenCV for 40 s, but restart and close for 2."""
    with Capture(spec=spec(f"{source} ! {BGR}")) as capture:
        assert capture.next(3.0) is None
        start_s = time.monotonic()
        capture.restart()
        took_s = time.monotonic() - start_s
        assert capture.next(1.0) is None
    assert took_s < 2.5
    measured(f"{took_s:.1f} s")
