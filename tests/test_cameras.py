"""Cameras: one contract for every back-end, and the sentences of each when it cannot."""

from __future__ import annotations

import logging
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, CameraSpec, check_source, open_camera, shown
from edge.cameras.opencv import OpenCvCamera
from edge.cameras.picam import PiCamera
from edge.errors import CameraError

WIDTH, HEIGHT = 64, 48
# Left half red, upper right blue, lower right green: tells RGB from BGR, and every rotation.
RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 200, 40)


def picture() -> Any:
    pixels = np.full((HEIGHT, WIDTH, 3), RED, np.uint8)
    pixels[: HEIGHT // 2, WIDTH // 2 :] = BLUE
    pixels[HEIGHT // 2 :, WIDTH // 2 :] = GREEN
    return pixels


def spec(source: str, **changed: Any) -> CameraSpec:
    settings: dict[str, Any] = {"width_px": WIDTH, "height_px": HEIGHT, "fps": 0.0}
    return CameraSpec(source, **(settings | changed))


def make_folder(folder: Path, count: int = 4) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), picture()[..., ::-1])
    return f"folder:{folder}"


def make_video(path: Path, count: int = 4) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for _ in range(count):
        writer.write(picture()[..., ::-1])
    writer.release()
    return f"file:{path}"


class FakePicamera2:
    """Stands in for picamera2.Picamera2, with what the back-end uses of it."""

    cameras: tuple[dict[str, str], ...] = ({"Model": "imx708"},)
    gives_format: str | None = None  # libcamera may adjust what it was asked for
    fault: Exception | None = None
    stamp: Callable[[], int | None] = staticmethod(
        lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000
    )

    def __init__(self, number: int) -> None:
        if number >= len(self.cameras):
            raise IndexError("list index out of range")
        self.calls: list[str] = []
        self.held = 0  # requests not given back

    @classmethod
    def global_camera_info(cls) -> list[dict[str, str]]:
        return list(cls.cameras)

    def create_video_configuration(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return asked

    def configure(self, configuration: dict[str, Any]) -> None:
        main = dict(configuration["main"])
        self._main = main | {"format": self.gives_format or main["format"]}

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": self._main}

    def start(self) -> None:
        self.calls.append("start")

    def capture_request(self, wait: bool) -> Any:
        assert not wait
        return types.SimpleNamespace(get_result=self._request)

    def _request(self, timeout: float) -> Any:
        if self.fault:
            raise self.fault
        self.held += 1
        assert self.held <= 4, "all buffers are out: a real camera would stall"
        return types.SimpleNamespace(
            make_array=lambda name: self._array(),
            get_metadata=lambda: {"SensorTimestamp": self.stamp()},
            release=self._release,
        )

    def _release(self) -> None:
        self.held -= 1

    def _array(self) -> Any:
        rgb = picture()
        x = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        match self._main["format"]:  # libcamera's names read backwards in memory
            case "BGR888":
                return rgb
            case "RGB888":
                return rgb[..., ::-1]
            case "XBGR8888":
                return np.concatenate([rgb, x], axis=2)
            case "XRGB8888":
                return np.concatenate([rgb[..., ::-1], x], axis=2)
            case "YUV420":
                planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
                # A stride of 128 for 64 pixels, as an ISP aligns its rows.
                padded = np.zeros((HEIGHT * 3 // 2, 128), np.uint8)
                padded[:HEIGHT, :WIDTH] = planar[:HEIGHT]
                chroma = planar[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
                padded[HEIGHT:].reshape(2, HEIGHT // 2, 64)[..., : WIDTH // 2] = chroma
                return padded
            case "NV12":
                planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
                chroma = planar[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
                woven = chroma.transpose(1, 2, 0).reshape(HEIGHT // 2, WIDTH)
                return np.concatenate([planar[:HEIGHT], woven])
            case other:
                raise RuntimeError(f"Format {other} not supported")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def fake_picamera2(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    class Fake(FakePicamera2):
        pass

    module = types.ModuleType("picamera2")
    module.Picamera2 = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return Fake


BACK_ENDS = ("folder", "file", "picam")


@pytest.fixture(params=BACK_ENDS)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, fake_picamera2: object
) -> Iterator[Callable[..., Camera]]:
    """Opens a camera of each back-end that shows `picture`."""
    cameras: list[Camera] = []

    def open_one(**changed: Any) -> Camera:
        source = {
            "folder": lambda: make_folder(tmp_path / "pictures"),
            "file": lambda: make_video(tmp_path / "video.avi"),
            "picam": lambda: "picam:0",
        }[request.param]()
        cameras.append(open_camera(spec(source, **changed)))
        return cameras[-1]

    yield open_one
    for camera in cameras:
        camera.close()


def read_one(camera: Camera) -> Any:
    frame = camera.read()
    assert frame is not None
    return frame


def test_frames_are_rgb_of_the_cameras_size(opened: Callable[..., Camera]) -> None:
    """(H, W, 3) uint8, contiguous, red is red; JPEG and chroma planes may blur it a little."""
    pixels = read_one(opened()).pixels
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert pixels.flags.c_contiguous
    assert pixels[10, 10] == pytest.approx(RED, abs=12)
    assert pixels[10, 50] == pytest.approx(BLUE, abs=12)
    assert pixels[40, 50] == pytest.approx(GREEN, abs=12)


@pytest.mark.parametrize(
    ("rotate_deg", "shape", "corners"),
    [
        (90, (WIDTH, HEIGHT, 3), (RED, RED, GREEN, BLUE)),
        (180, (HEIGHT, WIDTH, 3), (GREEN, RED, BLUE, RED)),
        (270, (WIDTH, HEIGHT, 3), (BLUE, GREEN, RED, RED)),
    ],
)
def test_a_rotation_turns_clockwise(
    opened: Callable[..., Camera], rotate_deg: int, shape: Any, corners: Any
) -> None:
    """Afterwards the corners are: upper left, upper right, lower left, lower right."""
    pixels = read_one(opened(rotate_deg=rotate_deg)).pixels
    assert pixels.shape == shape
    assert pixels.flags.c_contiguous
    found = (pixels[5, 5], pixels[5, -6], pixels[-6, 5], pixels[-6, -6])
    for pixel, colour in zip(found, corners, strict=True):
        assert pixel == pytest.approx(colour, abs=14)


def test_frames_are_numbered_from_one_and_never_older_than_the_last(
    opened: Callable[..., Camera],
) -> None:
    """captured_s is on the clock of time.monotonic, just before now."""
    camera = opened()
    frames = [read_one(camera) for _ in range(4)]
    assert [frame.seq for frame in frames] == [1, 2, 3, 4]
    times_s = [frame.captured_s for frame in frames]
    assert times_s == sorted(times_s)
    assert 0 <= time.monotonic() - times_s[-1] < 10


def test_a_closed_camera_says_so_and_closes_again(opened: Callable[..., Camera]) -> None:
    """close is idempotent; read is a CameraError afterwards; `with` closes."""
    with opened() as camera:
        read_one(camera)
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.read()


def test_a_frame_keeps_its_pixels_when_the_next_is_read(opened: Callable[..., Camera]) -> None:
    """No back-end hands out a buffer that the driver writes to again."""
    camera = opened()
    first = read_one(camera)
    before = first.pixels.copy()
    first.pixels[:] += 1
    second = read_one(camera)
    assert not np.shares_memory(first.pixels, second.pixels)
    assert (first.pixels == before + 1).all()


@pytest.mark.parametrize("make", [make_folder, make_video])
def test_a_stored_source_ends_once_or_plays_for_ever(
    make: Callable[..., str], tmp_path: Path
) -> None:
    """Once: None after the last. For ever: numbers go on."""
    source = make(tmp_path / "stored.avi", count=3)
    with open_camera(spec(source)) as camera:
        assert not camera.live
        assert [frame.seq for frame in iter(camera.read, None)] == [1, 2, 3]
        assert camera.read() is None
    with open_camera(spec(source, repeat=True)) as camera:
        assert [read_one(camera).seq for _ in range(8)] == list(range(1, 9))


@pytest.mark.parametrize("make", [make_folder, make_video])
def test_a_stored_source_keeps_its_rate(make: Callable[..., str], tmp_path: Path) -> None:
    """At 50 a second, four pictures take three intervals; the first comes at once."""
    with open_camera(spec(make(tmp_path / "stored.avi"), fps=50.0)) as camera:
        times_s = [frame.captured_s for frame in iter(camera.read, None)]
    assert all(0.0199 <= gap < 0.2 for gap in np.diff(times_s))


def test_a_folder_plays_by_name_and_says_which(tmp_path: Path) -> None:
    """Other files are passed over."""
    source = make_folder(tmp_path / "pictures", 3)
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    with open_camera(spec(source)) as camera:
        assert [frame.source for frame in iter(camera.read, None)] == ["0.png", "1.png", "2.png"]


def test_a_broken_picture_is_skipped_logged_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its own sentence; the others play on."""
    source = make_folder(tmp_path / "pictures", 3)
    broken = tmp_path / "pictures" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with caplog.at_level(logging.WARNING), open_camera(spec(source)) as camera:
        assert [frame.source for frame in iter(camera.read, None)] == ["0.png", "2.png"]
        assert camera.skipped == 1
    assert f"{broken}: the picture is truncated" in caplog.text


def test_a_folder_of_broken_pictures_is_a_fault_not_a_busy_loop(tmp_path: Path) -> None:
    """Played for ever it would skip for ever."""
    source = make_folder(tmp_path / "pictures", 2)
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(b"")
    with (
        open_camera(spec(source, repeat=True)) as camera,
        pytest.raises(CameraError, match="none of its 2 pictures"),
    ):
        camera.read()


def test_a_repeated_folder_plays_what_was_added_meanwhile(tmp_path: Path) -> None:
    """Each round looks at the folder again."""
    source = make_folder(tmp_path / "pictures", 1)
    with open_camera(spec(source, repeat=True)) as camera:
        read_one(camera)
        make_folder(tmp_path / "pictures", 2)
        assert [read_one(camera).source for _ in range(2)] == ["0.png", "1.png"]


def test_closing_wakes_a_folder_that_waits_for_its_time(tmp_path: Path) -> None:
    """A picture every hundred seconds does not hold up the end."""
    camera = open_camera(spec(make_folder(tmp_path / "pictures"), fps=0.01))
    read_one(camera)
    threading.Timer(0.1, camera.close).start()
    start_s = time.monotonic()
    camera.read()
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("folder:/nowhere", "folder:/nowhere: the folder cannot be read .* check the path"),
        ("file:/nowhere.avi", "file:/nowhere.avi: no such file; check the path"),
        ("v4l2:/dev/video97", "/dev/video97 does not exist; (present are|there is no /dev/video)"),
        ("usb:97", "usb:97: /dev/video97 does not exist"),
        ("picm:0", "'picm:0': not a camera source; did you mean 'picam:0'"),
        ("webcam", "not a camera source; allowed are picam:0, .*folder:PATH"),
        ("gst:videotestsrc ! fakesink", "a gst camera is written"),
    ],
)
def test_a_camera_that_is_not_there_is_one_sentence(source: str, sentence: str) -> None:
    """Which, what is wrong, and what there is or may be."""
    with pytest.raises(CameraError, match=sentence) as caught:
        open_camera(spec(source))
    assert "\n" not in str(caught.value)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """Rather than played, silently, for ever."""
    with pytest.raises(CameraError, match="no pictures in it"):
        open_camera(spec(f"folder:{tmp_path}"))


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "notes.avi"
    path.write_text("not a video")
    with pytest.raises(CameraError, match=r"notes\.avi: cannot be opened"):
        open_camera(spec(f"file:{path}"))


@pytest.mark.skipif(
    cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER),
    reason="this OpenCV has GStreamer: the sentence for one without cannot be seen",
)
def test_opencv_without_gstreamer_says_where_to_get_it() -> None:
    """As pip's builds are."""
    with pytest.raises(CameraError, match=r"built without GStreamer; .*python3-opencv"):
        open_camera(spec("gst:videotestsrc ! videoconvert ! appsink"))


@pytest.mark.timeout(30)
def test_a_network_camera_that_never_answers_is_a_fault_in_time() -> None:
    """The address accepts and says nothing; the password is not in the sentence."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"rtsp://bin:secret@127.0.0.1:{server.getsockname()[1]}/live"
        start_s = time.monotonic()
        with pytest.raises(CameraError, match=r"rtsp://bin:\*\*\*@127.*cannot be opened") as caught:
            OpenCvCamera(spec(source), open_timeout_s=1.0)
        assert time.monotonic() - start_s < 8
    assert "secret" not in str(caught.value)


class FakeDevice:
    """Stands in for cv2.VideoCapture on a V4L2 device."""

    def __init__(self, *_: object, position_ms: float = 0.0, frames: int = 10) -> None:
        self.settings: dict[int, float] = {}
        self._position_ms, self._frames = position_ms, frames

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_POS_MSEC
        return self._position_ms

    def grab(self) -> bool:
        self._frames -= 1
        return self._frames >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, picture()[..., ::-1].copy()

    def release(self) -> None:
        self.settings.clear()


def device_camera(tmp_path: Path, device: FakeDevice, **changed: Any) -> OpenCvCamera:
    path = tmp_path / "video0"
    path.touch()
    return OpenCvCamera(
        spec(f"v4l2:{path}", **changed), clock=lambda: 100.0, make_capture=lambda *_: device
    )


@pytest.mark.parametrize(
    ("position_ms", "captured_s", "stamped"),
    [(99_950.0, 99.95, True), (0.0, 100.0, False), (5_000_000.0, 100.0, False)],
    ids=["ours", "none", "another clock"],
)
def test_a_devices_own_time_is_taken_where_it_is_ours(
    tmp_path: Path, position_ms: float, captured_s: float, stamped: bool
) -> None:
    """Else the arrival, and `stamped` says which."""
    camera = device_camera(tmp_path, FakeDevice(position_ms=position_ms))
    assert read_one(camera).captured_s == pytest.approx(captured_s)
    assert camera.stamped is stamped


def test_a_device_is_asked_for_its_size_its_rate_and_one_buffer(tmp_path: Path) -> None:
    """An old frame in a queue would be judged as if it were new."""
    device = FakeDevice()
    device_camera(tmp_path, device, fps=15.0)
    assert device.settings[cv2.CAP_PROP_FRAME_WIDTH] == WIDTH
    assert device.settings[cv2.CAP_PROP_FRAME_HEIGHT] == HEIGHT
    assert device.settings[cv2.CAP_PROP_FPS] == 15
    assert device.settings[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_an_unplugged_device_is_a_fault(tmp_path: Path) -> None:
    """OpenCV only says False."""
    camera = device_camera(tmp_path, FakeDevice(frames=1))
    read_one(camera)
    with pytest.raises(CameraError, match="gave no frame within 5 s; unplug it"):
        camera.read()


@pytest.mark.parametrize("gives", ["BGR888", "RGB888", "XBGR8888", "XRGB8888", "YUV420", "NV12"])
def test_each_format_of_libcamera_becomes_rgb(
    fake_picamera2: type[FakePicamera2], gives: str
) -> None:
    """Whatever libcamera adjusted the configuration to, rows padded or not."""
    fake_picamera2.gives_format = gives
    with open_camera(spec("picam:0")) as camera:
        pixels = read_one(camera).pixels
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels[10, 10] == pytest.approx(RED, abs=6)
    assert pixels[40, 50] == pytest.approx(GREEN, abs=6)


def test_an_unknown_format_is_refused_and_the_camera_given_back(
    fake_picamera2: type[FakePicamera2],
) -> None:
    """The sentence names those that are known."""
    fake_picamera2.gives_format = "MJPEG"
    with pytest.raises(CameraError, match="it gives MJPEG, known are BGR888"):
        open_camera(spec("picam:0"))


@pytest.mark.parametrize(
    ("sensor_s", "captured_s", "stamped"),
    [
        (1099.98, 99.98, True),  # CLOCK_BOOTTIME, as libcamera documents
        (99.98, 99.98, True),  # CLOCK_MONOTONIC, as the virtual pipeline stamps
        (555.0, 100.0, False),
        (None, 100.0, False),
    ],
)
def test_sensor_time_comes_onto_the_monotonic_clock(
    fake_picamera2: type[FakePicamera2],
    sensor_s: float | None,
    captured_s: float,
    stamped: bool,
) -> None:
    """The machine slept for 1000 s, so the clocks differ; a stamp on neither is not believed."""
    stamp_ns = None if sensor_s is None else round(sensor_s * 1e9)
    fake_picamera2.stamp = staticmethod(lambda: stamp_ns)
    camera = PiCamera(spec("picam:0"), number=0, clock=lambda: 100.0, boot_clock=lambda: 1100.0)
    assert read_one(camera).captured_s == pytest.approx(captured_s, abs=1e-6)
    assert camera.stamped is stamped


def test_picamera2_gets_its_size_rate_and_a_queue_of_none(
    fake_picamera2: type[FakePicamera2],
) -> None:
    """And whatever a host needs besides, with a driver of its own making."""
    made: list[FakePicamera2] = []

    def make(number: int) -> FakePicamera2:
        made.append(fake_picamera2(number))
        return made[-1]

    camera = PiCamera(
        spec("picam:0", fps=12.0),
        number=0,
        make_picamera2=make,
        configure_with={"raw": None, "buffer_count": 3},
    )
    camera.close()
    (driver,) = made
    assert driver.asked["main"] == {"size": (WIDTH, HEIGHT), "format": "BGR888"}
    assert driver.asked["controls"] == {"FrameRate": 12.0}
    assert (driver.asked["queue"], driver.asked["raw"], driver.asked["buffer_count"]) == (
        False,
        None,
        3,
    )
    assert driver.calls == ["start", "stop", "close"]


def test_buffers_go_back_to_picamera2(fake_picamera2: type[FakePicamera2]) -> None:
    """The stand-in has four, as the driver has; a hundred frames need each many times."""
    with open_camera(spec("picam:0")) as camera:
        assert [read_one(camera).seq for _ in range(100)][-1] == 100


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (TimeoutError(), "gave no frame within 5 s; check the ribbon cable"),
        (RuntimeError("Camera frontend has timed out!"), "stopped working .*frontend"),
    ],
)
def test_a_pi_camera_that_hangs_or_breaks_is_a_fault(
    fake_picamera2: type[FakePicamera2], fault: Exception, sentence: str
) -> None:
    """With what libcamera said."""
    with open_camera(spec("picam:0")) as camera:
        fake_picamera2.fault = fault
        with pytest.raises(CameraError, match=sentence):
            camera.read()


@pytest.mark.parametrize(
    ("cameras", "sentence"),
    [((), "libcamera finds none"), (({"Model": "imx708"},), r"libcamera finds picam:0 \(imx708\)")],
)
def test_an_absent_pi_camera_names_those_that_are_there(
    fake_picamera2: type[FakePicamera2], cameras: Any, sentence: str
) -> None:
    """picam:1 where there is one or none."""
    fake_picamera2.cameras = cameras
    with pytest.raises(CameraError, match=f"picam:1: no such camera; {sentence}"):
        open_camera(spec("picam:1"))


def test_without_picamera2_the_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From apt, into an environment that sees the system's packages."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"apt install python3-picamera2.*--system-site-packages"):
        open_camera(spec("picam:0"))


@pytest.mark.parametrize(
    "source",
    [
        "picam:0",
        "v4l2:/dev/video0",
        "v4l2:/dev/v4l/by-id/usb-cam-index0",
        "usb:2",
        "rtsp://user:pw@10.0.0.5:554/stream?x=1",
        "https://cam.local/mjpeg",
        "gst:nvarguscamerasrc ! nvvidconv ! appsink drop=true",
        "file:belt.avi",
        "folder:edge/samples/stills",
    ],
)
def test_known_sources_pass_the_check(source: str) -> None:
    """Syntax only: nothing is opened."""
    assert check_source(source) is None


@pytest.mark.parametrize(
    "source", ["", "picam:", "picam:x", "usb:/dev/video0", "v4l2:0", "rtsp://", "folder:", "C:\\x"]
)
def test_other_sources_fail_the_check_with_a_sentence(source: str) -> None:
    """What it got and how it is written."""
    fault = check_source(source)
    assert fault
    assert repr(source) in fault


def test_the_check_imports_no_camera_library() -> None:
    """check-config on a host without OpenCV or a camera still works."""
    import subprocess

    code = (
        "import sys; from edge.cameras import check_source; check_source('picam:0');"
        "sys.exit(bool({'cv2', 'picamera2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "changed", [{"width_px": 0}, {"height_px": 99999}, {"fps": -1.0}, {"rotate_deg": 45}]
)
def test_a_spec_out_of_range_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    """With the range."""
    with pytest.raises(CameraError, match=r"must be|allowed are"):
        open_camera(spec(make_folder(tmp_path / "p"), **changed))


def test_a_password_is_never_shown() -> None:
    """In no sentence and no log."""
    assert shown("rtsp://bin:s:cret@host/x") == "rtsp://bin:***@host/x"
    assert shown("rtsp://host:554/x") == "rtsp://host:554/x"
