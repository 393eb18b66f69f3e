"""Pictures are read whole and upright, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import PictureError
from edge.pictures import decode_picture, read_picture
from tests.harness import write_picture


def test_colours_come_out_as_rgb(tmp_path: Path) -> None:
    """Red is in the first channel."""
    pixels = read_picture(write_picture(tmp_path / "red.png", (200, 10, 20)))
    assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
    assert tuple(pixels[0, 0]) == (200, 10, 20)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    """Half a file is an error that names the file, not grey pixels."""
    path = write_picture(tmp_path / f"half.{suffix}", (9, 9, 9), size=(400, 300))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=rf"half\.{suffix}: the picture is truncated"):
        read_picture(path)


@pytest.mark.parametrize(
    ("data", "part"),
    [(b"", "is empty"), (b"hello", "not a picture"), (b"\xff\xd8\xff\xd9", "not a")],
)
def test_other_files_are_refused(data: bytes, part: str) -> None:
    """Empty files and other files give a sentence with the name."""
    with pytest.raises(PictureError, match=f"x.jpg: .*{part}"):
        decode_picture(data, name="x.jpg")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """The sentence holds the system's own word."""
    with pytest.raises(PictureError, match=r"no\.jpg: cannot be read \(No such file"):
        read_picture(tmp_path / "no.jpg")


def test_grey_16_bit_and_palette_come_out_as_8_bit_rgb(tmp_path: Path) -> None:
    """Every kind of picture has the one shape and type."""
    grey16 = np.full((20, 30), 40_000, np.uint16)
    assert cv2.imwrite(str(tmp_path / "grey16.png"), grey16)
    pixels = read_picture(tmp_path / "grey16.png")
    assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8
    assert abs(int(pixels[0, 0, 0]) - 40_000 // 256) <= 1


def test_huge_picture_is_refused_before_it_fills_the_memory() -> None:
    """A few bytes that claim 65,000 by 65,000 pixels give a sentence."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(PictureError, match=r"bomb\.png: .*(megapixels|not a picture)"):
        decode_picture(bomb, name="bomb.png")
