"""Cameras through OpenCV: V4L2 devices, network streams, GStreamer pipelines, video files.

The only importer of cv2.VideoCapture.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2

from edge.cameras import shown
from edge.cameras.base import BackEnd, CameraSpec, Clock, turn
from edge.errors import CameraError
from edge.values import Frame, Pixels

# Old frames are worthless here: no reordering buffer, no waiting for packets lost by UDP.
FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
GSTREAMER_LIMITS_SINCE = (4, 7)  # OpenCV before waits 30 s, or for ever; the daemon notices
MAX_STAMP_AGE_S = 2.0  # a driver's time further from now than this is on another clock


class OpenCvCamera(BackEnd):
    """Reads what cv2.VideoCapture opens; live unless it is a file."""

    def __init__(
        self,
        spec: CameraSpec,
        *,
        clock: Clock = time.monotonic,
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 5.0,
        make_capture: Callable[..., Any] = cv2.VideoCapture,
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._timeouts_ms = (round(open_timeout_s * 1000), round(read_timeout_s * 1000))
        self._make_capture = make_capture
        self._kind, _, self._rest = spec.source.partition(":")
        self._where = f"camera {shown(spec.source)}"
        self.live = self._kind != "file"
        self._seq = 0
        self._frames_this_round = 0
        self._due_s: float | None = None
        self._capture: Any = None
        self._open()

    def read(self) -> Frame | None:
        """Return the next frame; None at the end of a file that is played once."""
        if self._capture is None:
            raise CameraError(f"{self._where}: closed; open it again")
        asked_s = self._clock()
        grabbed = self._capture.grab()
        waited_s = self._clock() - asked_s
        captured_s = self._stamp()
        ok, bgr = self._capture.retrieve() if grabbed else (False, None)
        # At its time-out GStreamer grabs nothing and calls it a success.
        if not grabbed or (not ok and self._kind == "gst"):
            return self._on_no_frame(waited_s=waited_s)
        if not ok or bgr is None:
            raise CameraError(f"{self._where}: gave a frame that cannot be decoded; open it again")
        pixels = turn(self._to_rgb(bgr), self._spec.rotate_deg)
        if not self.live:
            captured_s = self._wait_until_due()
        self._seq += 1
        self._frames_this_round += 1
        return Frame(pixels, captured_s, self._seq)

    def close(self) -> None:
        """Release the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _open(self) -> None:
        opener = {
            "v4l2": self._open_device,
            "usb": self._open_device,
            "gst": self._open_pipeline,
            "file": self._open_file,
        }.get(self._kind, self._open_stream)
        self._capture = opener()
        if not self._capture.isOpened():
            self.close()
            raise CameraError(f"{self._where}: cannot be opened; {self._remedy()}")
        self._frames_this_round = 0

    def _open_device(self) -> Any:
        path = Path(f"/dev/video{self._rest}" if self._kind == "usb" else self._rest)
        if not path.exists():
            raise CameraError(f"{self._where}: {path} does not exist; {_devices()}")
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraError(
                f"{self._where}: no permission for {path}; add this user to the group video"
            )
        seconds = str(max(1, self._timeouts_ms[1] // 1000))
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", seconds)
        capture = self._make_capture(str(path), cv2.CAP_V4L2)
        # MJPG first: raw YUYV over USB 2 is 10 frames a second at 1280x720.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._spec.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._spec.height_px)
        if self._spec.fps:
            capture.set(cv2.CAP_PROP_FPS, self._spec.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _open_stream(self) -> Any:
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", FFMPEG_OPTIONS)
        return self._make_capture(self._spec.source, cv2.CAP_FFMPEG, self._limits())

    def _open_pipeline(self) -> Any:
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise CameraError(
                f"{self._where}: this OpenCV was built without GStreamer; install the system's "
                "(apt install python3-opencv), make the environment with --system-site-packages "
                "and remove opencv-python-headless from it"
            )
        if _version() < GSTREAMER_LIMITS_SINCE:  # it would refuse what it does not know
            return self._make_capture(self._rest, cv2.CAP_GSTREAMER)
        return self._make_capture(self._rest, cv2.CAP_GSTREAMER, self._limits())

    def _open_file(self) -> Any:
        path = Path(self._rest).expanduser()
        if not path.is_file():
            raise CameraError(f"{self._where}: no such file; check the path")
        capture = self._make_capture(str(path))
        if self._spec.taken and not self._spec.repeat:
            capture.set(cv2.CAP_PROP_POS_FRAMES, self._spec.taken)
        return capture

    def _limits(self) -> list[int]:
        open_ms, read_ms = self._timeouts_ms
        return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, open_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, read_ms]

    def _to_rgb(self, bgr: Any) -> Pixels:
        """(H, W, 3 or 4) in OpenCV's order to RGB; refuses what a pipeline gives besides."""
        channels = bgr.shape[2] if bgr.ndim == 3 else 1
        if channels == 3:
            return cast(Pixels, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        # OpenCV hands on four channels as they come, so only the pipeline says whether red or
        # blue is first.
        if channels == 4 and _last_format(self._rest) in ("BGRx", "BGRA"):
            return cast(Pixels, cv2.cvtColor(bgr, cv2.COLOR_BGRA2RGB))
        raise CameraError(
            f"{self._where}: its pixels are not BGR, nor BGRx by name; "
            "end it in ... ! videoconvert ! video/x-raw,format=BGR ! appsink"
        )

    def _on_no_frame(self, *, waited_s: float) -> Frame | None:
        if self.live:
            limit_s = self._timeouts_ms[1] / 1000
            # OpenCV only says False. A device that is gone says so as late as it likes.
            ended = waited_s < limit_s / 2 and self._kind not in ("v4l2", "usb")
            what = "the stream ended" if ended else f"gave no frame within {limit_s:g} s"
            raise CameraError(f"{self._where}: {what}; {self._remedy()}")
        if not self._frames_this_round:
            raise CameraError(f"{self._where}: no frame in it can be decoded; copy it again")
        if not self._spec.repeat:
            return None
        self.close()  # seeking back to 0 is not exact in every container
        self._open()
        return self.read()

    def _stamp(self) -> float:
        """Return when the frame was captured: the driver's time where it is ours, else now."""
        now_s = self._clock()
        if self._kind in ("v4l2", "usb"):
            driver_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            self.stamped = 0 <= now_s - driver_s < MAX_STAMP_AGE_S
            return driver_s if self.stamped else now_s
        return now_s

    def _wait_until_due(self) -> float:
        now_s = self._clock()
        if self._due_s is not None and self._due_s > now_s:
            time.sleep(min(self._due_s - now_s, 1 / self._spec.fps))
            now_s = self._clock()
        if self._spec.fps:
            self._due_s = max(now_s, self._due_s or now_s) + 1 / self._spec.fps
        return now_s

    def _remedy(self) -> str:
        return {
            "v4l2": f"unplug it and plug it in again, or choose another: {_devices()}",
            "usb": f"unplug it and plug it in again, or choose another: {_devices()}",
            "gst": "try it with gst-launch-1.0, ending in video/x-raw,format=BGR ! fakesink",
            "file": "it must be a video that FFmpeg decodes",
        }.get(self._kind, "check the address, the password and the network")


def _last_format(pipeline: str) -> str | None:
    """The pixel format that a GStreamer pipeline names nearest to its end."""
    named = re.findall(r"format\s*=\s*(?:\(string\))?\s*(\w+)", pipeline)
    return named[-1] if named else None


def _version() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", cv2.__version__)[:2])


def _devices() -> str:
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return f"present are {', '.join(found)}" if found else "there is no /dev/video* on this host"
