"""The OpenCV back-end on a video file and on a network camera that stalls, dies and comes back.

Runs with the OpenCV of PyPI and with Debian's. The network camera's pictures say when they were
made, so the age of a frame is measured, not guessed.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import CameraSpec, open_camera
from edge.capture import Capture
from edge.errors import CameraError
from edge.values import Frame
from tests.cameras import virtual
from tests.cameras.conftest import LANE, Measured
from tests.cameras.rtsp import FPS, PORT, RtspServer, age_s, link
from tests.cameras.taking import back_again, descriptors, some, until_fault, worst_error

URL = f"rtsp://127.0.0.1:{PORT}/bin"
SPEC = CameraSpec(URL, *virtual.SIZE, fps=0)
# H.264 in full-range pictures of plain colour: measured 2 of 255.
COLOUR_SLACK = 6


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer() as running:
        yield running


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 numbered pictures as H.264 in a Matroska file, 30 a second."""
    path = tmp_path_factory.mktemp("video") / "numbered.mkv"
    pictures = virtual.rgb_files()
    raw = path.with_suffix(".rgb")
    raw.write_bytes(b"".join(picture.read_bytes() for picture in pictures))
    width, height = virtual.SIZE
    subprocess.run(
        [
            *("gst-launch-1.0", "-q", "filesrc", f"location={raw}", "!", "rawvideoparse"),
            *("format=rgb", f"width={width}", f"height={height}", "framerate=30/1"),
            *("!", "videoconvert", "!", "video/x-raw,format=I420"),
            *("!", "x264enc", "speed-preset=ultrafast", "key-int-max=16"),
            *("!", "matroskamux", "!", "filesink", f"location={path}"),
        ],
        check=True,
    )
    raw.unlink()
    return path


def played(source: Path) -> tuple[list[Frame], Capture]:
    """All frames of a file."""
    frames = []
    with Capture(spec=CameraSpec(f"file:{source}", *virtual.SIZE, fps=0)) as capture:
        while not capture.ended:
            if frame := capture.next(20):
                frames.append(frame)
    return frames, capture


def test_this_opencv_is_the_one_that_is_meant(measured: Measured) -> None:
    """OpenCV: the lane's own, which says whether it was built with FFmpeg and GStreamer."""
    built = dict(
        line.strip().split(":", 1) for line in cv2.getBuildInformation().splitlines() if ":" in line
    )
    gstreamer, ffmpeg = built["GStreamer"].split()[0], built["FFMPEG"].split()[0]
    assert (ffmpeg, gstreamer) == ("YES", "YES" if LANE == "debian-opencv" else "NO")
    measured(f"OpenCV {cv2.__version__}, FFmpeg {ffmpeg}, GStreamer {gstreamer}")


def test_a_file_is_played_whole_and_in_order(video: Path, measured: Measured) -> None:
    """File: every frame of an H.264 video once and in order, RGB, none dropped, then the end."""
    frames, capture = played(video)
    assert [virtual.number_of(frame.pixels) for frame in frames] == list(range(virtual.COUNT))
    assert {frame.pixels.shape for frame in frames} == {(480, 640, 3)}
    worst = max(worst_error(frame.pixels) for frame in frames)
    assert worst <= COLOUR_SLACK
    assert (capture.dropped, capture.live) == (0, False)
    measured(f"{len(frames)} of {virtual.COUNT} frames, off by {worst} of 255")


def test_a_file_keeps_its_rate_and_plays_again(video: Path, measured: Measured) -> None:
    """File: at 50 a second, again from the start after the last frame, without a gap."""
    spec = CameraSpec(f"file:{video}", *virtual.SIZE, fps=50, repeat=True)
    with Capture(spec=spec) as capture:
        frames = [some(capture) for _ in range(150)]
    numbers = [virtual.number_of(frame.pixels) for frame in frames]
    assert numbers == [n % virtual.COUNT for n in range(150)]
    rate = 149 / (frames[-1].captured_s - frames[0].captured_s)
    assert 25 < rate <= 50.5  # less on a busy machine, never more
    measured(f"{rate:.1f} of 50 frames a second, twice round")


@pytest.mark.parametrize("kept", [0.9, 0.5])
def test_a_file_that_was_cut_off_plays_what_is_there(
    video: Path, tmp_path: Path, kept: float
) -> None:
    """File: one that was cut off plays what is left of it, without a crash."""
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(video.read_bytes()[: int(video.stat().st_size * kept)])
    frames, capture = played(cut)
    assert 0 < len(frames) < virtual.COUNT
    assert capture.ended


def test_a_file_without_a_whole_frame_is_a_fault(video: Path, tmp_path: Path) -> None:
    """File: one that ends before its first frame is a CameraError in one sentence."""
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(video.read_bytes()[:600])
    with pytest.raises(CameraError, match=r"no frame in it can be decoded|cannot be opened"):
        played(cut)


def test_a_network_camera_gives_frames(server: RtspServer, measured: Measured) -> None:
    """RTSP: frames at the camera's rate, RGB; their age, from the making of the picture."""
    start_s = time.monotonic()
    with Capture(spec=SPEC) as capture:
        some(capture)
        opened_s = time.monotonic() - start_s
        frames, ages = [], []
        for _ in range(3 * FPS):
            frames.append(some(capture))
            ages.append(age_s(frames[-1]))
        assert capture.live
        assert not capture.stamped
    assert {frame.pixels.shape for frame in frames} == {(480, 640, 3)}
    worst = max(worst_error(frame.pixels) for frame in frames)
    assert worst <= COLOUR_SLACK
    assert np.median(ages) < 0.5
    measured(
        f"first frame after {opened_s:.1f} s, then {np.median(ages) * 1000:.0f} ms old, "
        f"off by {worst} of 255"
    )


def test_a_slow_consumer_of_a_network_camera_sees_the_newest(
    server: RtspServer, measured: Measured
) -> None:
    """RTSP: after each pause of 1.3 s the next frame is as new as before; the rest is counted."""
    with Capture(spec=SPEC) as capture:
        some(capture)
        ages = []
        for _ in range(5):
            time.sleep(1.3)
            ages.append(age_s(some(capture)))
        assert capture.dropped > 5 * FPS
    assert max(ages) < 0.6
    measured(f"{max(ages) * 1000:.0f} ms old at most, {capture.dropped} dropped")


def test_a_stalled_network_camera_is_a_fault_in_time(
    server: RtspServer, measured: Measured
) -> None:
    """RTSP stalls (SIGSTOP): a CameraError within 5 s, 10 s when opened; frames when it goes on."""
    with Capture(spec=SPEC) as capture:
        some(capture)
        fds = descriptors()
        server.signal(signal.SIGSTOP)
        sentence, silent_s = until_fault(capture)
        assert "gave no frame within 5 s" in sentence
        assert 4.5 < silent_s < 7
        start_s = time.monotonic()
        capture.restart()
        assert "cannot be opened" in until_fault(capture)[0]
        opening_s = time.monotonic() - start_s
        assert opening_s < 18  # with the start of the process
        server.signal(signal.SIGCONT)
        back_s = back_again(capture)
        assert descriptors() == fds
    measured(
        f"fault after {silent_s:.1f} s, at opening {opening_s:.1f} s; frames again {back_s:.1f} s "
        "after SIGCONT"
    )


def test_a_network_camera_that_dies_is_a_fault_at_once(
    server: RtspServer, measured: Measured
) -> None:
    """RTSP dies (SIGKILL): a CameraError at once, again at each try; frames when it is back."""
    with Capture(spec=SPEC) as capture:
        some(capture)
        server.kill()
        sentence, silent_s = until_fault(capture)
        assert "the stream ended" in sentence
        assert silent_s < 2
        capture.restart()
        assert "cannot be opened" in until_fault(capture)[0]
        server.start()
        back_s = back_again(capture)
    measured(f"fault after {silent_s:.1f} s; frames again {back_s:.1f} s after its return")


def test_a_network_that_goes_is_a_fault_in_time(server: RtspServer, measured: Measured) -> None:
    """RTSP, link down: nothing arrives and nobody says so; a CameraError within 5 s, then back."""
    with Capture(spec=SPEC) as capture:
        some(capture)
        link("down")
        try:
            sentence, silent_s = until_fault(capture)
        finally:
            link("up")
        assert "gave no frame within 5 s" in sentence
        assert 4.5 < silent_s < 7
        back_s = back_again(capture)
    measured(f"fault after {silent_s:.1f} s; frames again {back_s:.1f} s after the link")


def test_a_password_opens_the_camera_and_stays_hidden(measured: Measured) -> None:
    """RTSP with a password: right, frames; wrong, a CameraError at once that does not tell it."""
    with RtspServer(login="bin:s3cret"):
        right = CameraSpec(URL.replace("//", "//bin:s3cret@"), *virtual.SIZE, fps=0)
        with Capture(spec=right) as capture:
            some(capture)
        wrong = CameraSpec(URL.replace("//", "//bin:wr0ng@"), *virtual.SIZE, fps=0)
        start_s = time.monotonic()
        with pytest.raises(CameraError) as caught:
            open_camera(wrong)
        took_s = time.monotonic() - start_s
    assert "bin:***@" in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    measured(f"refused after {took_s:.1f} s")


def test_a_wrong_path_is_a_fault_at_once(server: RtspServer, measured: Measured) -> None:
    """RTSP, no such path: a CameraError at once, not after the time-out."""
    start_s = time.monotonic()
    with pytest.raises(CameraError, match="check the address"):
        open_camera(CameraSpec(URL + "s", *virtual.SIZE, fps=0))
    took_s = time.monotonic() - start_s
    assert took_s < 3
    measured(f"{took_s:.1f} s")
