"""Reads picture files whole, or says in one sentence why not."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from edge import MAX_PICTURE_PX
from edge.errors import PictureError
from edge.values import Pixels

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_PICTURE_BYTES = 64_000_000
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG", b"IEND"


def read_picture(path: Path) -> Pixels:
    """Decode a picture to (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit pictures come out as 8-bit RGB; of an animation, the first
    picture. Raises PictureError where the file is missing, empty, truncated, too large or not a
    picture.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(f"{path}: not a file; name a picture")
        if status.st_size > MAX_PICTURE_BYTES:
            raise PictureError(
                f"{path}: over {MAX_PICTURE_BYTES // 1_000_000} MB; scale the picture down"
            )
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_picture(data, name=str(path))


def decode_picture(data: bytes, *, name: str) -> Pixels:
    """Decode the bytes of a picture file; `name` is what an error calls it."""
    if not data:
        raise PictureError(f"{name}: the file is empty; copy it again")
    _refuse_truncated(data, name)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        limit = f"at most {MAX_PICTURE_PX // 1_000_000} megapixels are read"
        raise PictureError(f"{name}: the picture cannot be decoded; {limit}") from error
    if decoded is None:
        known = ", ".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
        raise PictureError(f"{name}: not a picture that can be decoded; known are {known}")
    return cast(Pixels, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _refuse_truncated(data: bytes, name: str) -> None:
    # OpenCV fills what is missing of a truncated JPEG with grey and says nothing.
    tail = data[-4096:]
    cut_jpeg = data.startswith(JPEG_START) and JPEG_END not in tail
    cut_png = data.startswith(PNG_START) and PNG_END not in tail
    if cut_jpeg or cut_png:
        raise PictureError(f"{name}: the picture is truncated; copy it again")


def list_pictures(folder: Path) -> list[Path]:
    """Picture files directly in `folder`, by name; other files are passed over."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
