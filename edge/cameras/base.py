"""What every camera back-end shares: its spec, its contract, turning pictures upright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, cast

import numpy as np

from edge.values import Frame, Pixels

Clock = Callable[[], float]  # monotonic seconds


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """Which camera, and how it is to be set."""

    source: str  # picam:0, v4l2:/dev/video0, rtsp://..., gst:..., file:PATH, folder:PATH
    width_px: int  # asked of a live camera; pictures and videos keep their own size
    height_px: int
    fps: float  # 0: a live camera's own rate, pictures as fast as they are taken
    repeat: bool = False  # a folder or video file plays for ever
    rotate_deg: int = 0  # clockwise: 0, 90, 180 or 270
    # Where a folder or file that is not live goes on after a restart: behind what was taken.
    after: str = ""  # name of the last picture of a folder
    taken: int = 0  # frames of a file


class Camera(Protocol):
    """A source of frames; made by `open_camera`, used by one thread."""

    live: bool  # True: frames come whether or not they are taken; the newest counts
    stamped: bool  # True: captured_s of the last frame is the sensor's time, not its arrival
    skipped: int  # broken pictures passed over

    def read(self) -> Frame | None:
        """Block for one frame; None when the source has ended. Raises CameraError."""

    def close(self) -> None:
        """Give the device back; may be called again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BackEnd:
    """The part of `Camera` that is the same for every back-end."""

    live = True
    stamped = False
    skipped = 0

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def turn(pixels: Pixels, rotate_deg: int) -> Pixels:
    """Turn (H, W, 3) clockwise by a multiple of 90 degrees; contiguous."""
    quarters = rotate_deg // 90 % 4
    return cast(Pixels, np.ascontiguousarray(np.rot90(pixels, k=-quarters)))
