"""libcamera's virtual cameras under the real picamera2; buffers on memfd, not on a DMA heap.

What a Pi has and a plain kernel lacks is put in place here, in picamera2, before the back-end
imports it; the back-end itself runs unchanged.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np

from edge.cameras import Camera, CameraSpec, open_camera
from edge.cameras.picam import PiCamera

CONFIGURATION = Path("/usr/share/libcamera/pipeline/virtual/virtual.yaml")
FRAMES, RGB = Path("/frames"), Path("/frames-rgb")
SIZE = (640, 480)  # width, height of the pictures, and of the first camera's native format
RATES_FPS = (30, 60)
# libcamera reads no flow style here. the counter is picam:0: the last comes first.
YAML = f"""\
%YAML 1.1
---
"Virtual1":
  supported_formats:
  - width: 640
    height: 480
    frame_rates:
    - 30
    - 60
  - width: 1280
    height: 720
    frame_rates:
    - 30
    - 60
  frames:
    path: "{FRAMES}/"
  location: "CameraLocationExternal"
  model: "Virtual counter"
"Virtual0":
  supported_formats:
  - width: 800
    height: 600
    frame_rates:
    - 30
  test_pattern: "bars"
  location: "CameraLocationFront"
  model: "Virtual bars"
"""
# Left half red, upper right blue, lower right green: tells RGB from BGR, and every mirror.
RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 200, 40)
COUNT = 64  # pictures; a frame's number is written in its lowest rows, 6 bits black and white


def prepare() -> None:
    """Write the pictures that the first camera plays, and the list of cameras."""
    FRAMES.mkdir(exist_ok=True)
    for number in range(COUNT):
        picture = numbered(number)[..., ::-1]
        cv2.imwrite(str(FRAMES / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(YAML)


def rgb_files() -> list[Path]:
    """The same pictures as bare RGB, for a network camera and a video."""
    RGB.mkdir(exist_ok=True)
    files = [RGB / f"{number}.rgb" for number in range(COUNT)]
    for number, path in enumerate(files):
        if not path.exists():
            path.write_bytes(numbered(number).tobytes())
    return files


def numbered(number: int) -> Any:
    """The picture of a number; (480, 640, 3) uint8 RGB."""
    width, height = SIZE
    pixels = np.full((height, width, 3), RED, np.uint8)
    pixels[: height // 2, width // 2 :] = BLUE
    pixels[height // 2 :, width // 2 :] = GREEN
    for bit in range(6):
        x0, x1 = bit * width // 6, (bit + 1) * width // 6
        pixels[height * 5 // 6 :, x0:x1] = 255 if number >> bit & 1 else 0
    return pixels


def number_of(pixels: Any) -> int:
    """Read the number back, from a picture of any size."""
    height, width = pixels.shape[:2]
    row = pixels[height * 11 // 12]
    return sum(int(row[(2 * bit + 1) * width // 12].mean() > 127) << bit for bit in range(6))


def open_virtual(spec: CameraSpec) -> Camera:
    """What `Capture` calls in its child."""
    install()
    return open_camera(spec)


def open_virtual_yuv(spec: CameraSpec) -> Camera:
    """The same, asked for what a virtual camera has natively."""
    install()
    return PiCamera(spec, number=0, pixel_format="NV12")


def install() -> None:
    """Make `from picamera2 import Picamera2` give one that works without a Pi."""
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:FATAL")
    # Preview windows on a bare display; Debian has them for the Pi only.
    sys.modules["pykms"] = sys.modules["kms"] = MagicMock()
    import libcamera
    import picamera2
    import picamera2.picamera2 as module
    from picamera2.allocators.allocator import Allocator

    class MemfdAllocator(Allocator):  # type: ignore[misc]
        """In the place of DmaAllocator; libcamera keeps descriptors of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.sync = WholeFrame
            self._buffers: dict[Any, list[Any]] = {}

        def allocate(self, libcamera_config: Any, use_case: str) -> None:
            for stream in libcamera_config:
                self._buffers[stream.stream] = [
                    memfd_buffer(libcamera, stream) for _ in range(stream.buffer_count)
                ]

        def buffers(self, stream: Any) -> list[Any]:
            return self._buffers[stream]

    class VirtualPicamera2(picamera2.Picamera2):  # type: ignore[misc]
        def _get_raw_modes(self) -> list[dict[str, Any]]:
            return [{"format": "NV12", "size": SIZE}]  # there is no raw stream to ask for modes

    module.DmaAllocator = MemfdAllocator
    picamera2.Picamera2 = VirtualPicamera2


class WholeFrame:
    """Maps all planes of a frame buffer that lie in one memfd; libcamera dups it for each."""

    def __init__(self, allocator: Any, frame_buffer: Any, write: bool) -> None:
        self._planes = frame_buffer.planes

    def __enter__(self) -> mmap.mmap:
        self._map = mmap.mmap(self._planes[0].fd, sum(plane.length for plane in self._planes))
        return self._map

    def __exit__(self, *_: object) -> None:
        self._map.close()


def memfd_buffer(libcamera: Any, stream: Any) -> Any:
    """One NV12 frame: both planes in one memfd, as on a DMA heap."""
    fd = os.memfd_create("frame")
    os.ftruncate(fd, stream.frame_size)
    luma = stream.stride * stream.size.height
    planes = []
    for offset, length in ((0, luma), (luma, luma // 2)):
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = fd, offset, length
        planes.append(plane)
    buffer = libcamera.FrameBuffer(planes)
    os.close(fd)
    return buffer
