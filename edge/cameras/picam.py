"""Raspberry Pi cameras through picamera2; its only importer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np

from edge.cameras.base import BackEnd, CameraSpec, Clock, turn
from edge.errors import CameraError
from edge.values import Frame, Pixels

# libcamera names a format by its bits from the top of a little-endian word: its "BGR888" lies
# in memory as R, G, B.
TO_RGB: dict[str, Callable[[Any], Any]] = {
    "BGR888": lambda array: array,
    "RGB888": lambda array: array[..., ::-1],
    "XBGR8888": lambda array: array[..., :3],
    "XRGB8888": lambda array: array[..., 2::-1],
    "YUV420": lambda array: cv2.cvtColor(array, cv2.COLOR_YUV2RGB_I420),
    "NV12": lambda array: cv2.cvtColor(array, cv2.COLOR_YUV2RGB_NV12),
}
MAX_STAMP_AGE_S = 2.0  # a sensor time further from now than this is on another clock
STAMP_SLACK_S = 0.002  # reading two clocks is not one act
SLEEP_S = 0.5  # a machine that slept did so for longer than two clocks can be read apart


class PiCamera(BackEnd):
    """Reads `picam:N`, in the video configuration, with the sensor's own time.

    `make_picamera2` and `configure_with` are for hosts without a Pi's DMA heaps: the first makes
    the driver (with an allocator, say), the second adds to its video configuration.
    """

    def __init__(
        self,
        spec: CameraSpec,
        *,
        number: int,
        clock: Clock = time.monotonic,
        read_timeout_s: float = 5.0,
        pixel_format: str = "BGR888",
        make_picamera2: Callable[[int], Any] | None = None,
        configure_with: dict[str, Any] | None = None,
        boot_clock: Clock | None = None,
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._boot_clock = boot_clock or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self._read_timeout_s = read_timeout_s
        self._where = f"camera picam:{number}"
        self._boot_ahead_s = 0.0
        self._seq = 0
        self._driver = self._open(number, make_picamera2)
        try:
            self._start(pixel_format, configure_with or {})
        except Exception as error:  # picamera2 and libcamera raise whatever they like
            self.close()
            raise CameraError(
                f"{self._where}: refuses {spec.width_px}x{spec.height_px} at {spec.fps:g} fps "
                f"({error}); `rpicam-hello --list-cameras` shows what it can do"
            ) from error

    def read(self) -> Frame | None:
        """Return the next frame; never None, a camera does not end."""
        if self._driver is None:
            raise CameraError(f"{self._where}: closed; open it again")
        try:
            request = self._driver.capture_request(wait=False).get_result(
                timeout=self._read_timeout_s
            )
            try:
                metadata = request.get_metadata()
                array = request.make_array("main")
            finally:
                request.release()  # buffers are few: one not given back stalls the camera
        except TimeoutError as error:
            raise CameraError(
                f"{self._where}: gave no frame within {self._read_timeout_s:g} s; check the ribbon "
                "cable and restart the camera"
            ) from error
        except Exception as error:
            raise CameraError(
                f"{self._where}: stopped working ({error}); restart the camera"
            ) from error
        captured_s = self._stamp(metadata.get("SensorTimestamp"))
        self._seq += 1
        return Frame(self._to_pixels(array), captured_s, self._seq)

    def close(self) -> None:
        """Stop the camera and give it back to the system."""
        driver, self._driver = self._driver, None
        if driver is None:
            return
        # A camera that fell off the bus raises here too; there is nothing left to give back.
        with contextlib.suppress(Exception):
            driver.stop()
        with contextlib.suppress(Exception):
            driver.close()

    def _open(self, number: int, make_picamera2: Callable[[int], Any] | None) -> Any:
        if make_picamera2 is None:
            make_picamera2 = _import_picamera2(self._where)
            self._refuse_absent(number, make_picamera2)
        try:
            return make_picamera2(number)
        except Exception as error:
            raise CameraError(
                f"{self._where}: cannot be opened ({error}); another program may be using it, and "
                "`rpicam-hello --list-cameras` shows whether it is found"
            ) from error

    def _refuse_absent(self, number: int, picamera2_class: Any) -> None:
        found = picamera2_class.global_camera_info()
        if number < len(found):
            return
        # picamera2 sorts this list, but opens by libcamera's own order, which is Num.
        numbered = sorted((c.get("Num", i), c.get("Model", "?")) for i, c in enumerate(found))
        names = ", ".join(f"picam:{i} ({model})" for i, model in numbered)
        remedy = f"libcamera finds {names}" if found else "libcamera finds none; check the cable"
        raise CameraError(f"{self._where}: no such camera; {remedy}")

    def _start(self, pixel_format: str, configure_with: dict[str, Any]) -> None:
        size = (self._spec.width_px, self._spec.height_px)
        controls = {"FrameRate": self._spec.fps} if self._spec.fps else {}
        # queue=False: the frame handed out is one that completed after it was asked for.
        options = {"controls": controls, "queue": False, "buffer_count": 4} | configure_with
        driver = self._driver
        driver.configure(
            driver.create_video_configuration(
                main={"size": size, "format": pixel_format}, **options
            )
        )
        main = driver.camera_configuration()["main"]  # libcamera may have adjusted both
        self._width_px, self._height_px = main["size"]
        if main["format"] not in TO_RGB:
            allowed = ", ".join(TO_RGB)
            raise ValueError(f"it gives {main['format']}, known are {allowed}")
        self._to_rgb = TO_RGB[main["format"]]
        driver.start()

    def _to_pixels(self, array: Any) -> Pixels:
        rgb = self._to_rgb(array)[: self._height_px, : self._width_px]  # cuts stride padding
        return turn(cast(Pixels, np.ascontiguousarray(rgb)), self._spec.rotate_deg)

    def _stamp(self, sensor_ns: int | None) -> float:
        """Bring SensorTimestamp onto our clock; without a believable one, say now.

        libcamera documents CLOCK_BOOTTIME, which runs on while the machine sleeps; some
        pipelines (virtual, USB) stamp with CLOCK_MONOTONIC. The right reading is the one that
        lies just before now; the two agree on a machine that never slept.
        """
        now_s = self._clock()
        if sensor_ns is not None:
            for ahead_s in (self._boot_ahead(), 0.0):
                age_s = now_s - (sensor_ns / 1e9 - ahead_s)
                if -STAMP_SLACK_S <= age_s < MAX_STAMP_AGE_S:
                    self.stamped = True
                    return now_s - max(0.0, age_s)
        self.stamped = False
        return now_s

    def _boot_ahead(self) -> float:
        """How far CLOCK_BOOTTIME is ahead of our clock: one number from sleep to sleep.

        Measured anew for each frame it would jitter, and of two frames the later could come out
        the earlier (by 2 us, seen on libcamera's virtual camera).
        """
        ahead_s = self._boot_clock() - self._clock()
        if abs(ahead_s - self._boot_ahead_s) > SLEEP_S:
            # What comes between the two readings makes it smaller, never larger.
            self._boot_ahead_s = max(self._boot_clock() - self._clock() for _ in range(3))
        return self._boot_ahead_s


def _import_picamera2(where: str) -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise CameraError(
            f"{where}: picamera2 is not installed here ({error}); apt install python3-picamera2, "
            "then make the environment with --system-site-packages: pip cannot install libcamera"
        ) from error
    return Picamera2
