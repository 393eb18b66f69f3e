"""What edge.segmenters.rembg and its process agree on: one picture and one mask in a memory."""

from __future__ import annotations

import mmap
import struct

import numpy as np
import numpy.typing as npt

MAX_SIDE_PX = 640  # of a picture; isnet looks at 1024, the others at 320
MEMORY_BYTES = MAX_SIDE_PX * MAX_SIDE_PX * 4  # pixels (h, w, 3), then the mask (h, w)
REQUEST = struct.Struct("<IHH")  # number, height, width


def pixel_view(memory: mmap.mmap, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3), where the picture lies."""
    return np.ndarray((height, width, 3), np.uint8, memory)


def mask_view(memory: mmap.mmap, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(h, w), where the mask lies."""
    return np.ndarray((height, width), np.uint8, memory, MAX_SIDE_PX * MAX_SIDE_PX * 3)
