"""A sheet to lay pictures, words and bars on, drawn with OpenCV; colours are RGB."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np

from edge.errors import PictureError
from edge.values import Pixels

Colour = tuple[int, int, int]
PAPER: Colour = (250, 249, 246)
INK: Colour = (32, 36, 42)
FAINT: Colour = (120, 126, 134)
LINE: Colour = (222, 222, 216)
FONT = cv2.FONT_HERSHEY_SIMPLEX
UNIT_PX = 22.0  # height of the font at scale 1


class Canvas:
    """A white sheet of a fixed size."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Pixels = np.full((height, width, 3), PAPER, np.uint8)

    def text(
        self, words: str, x: int, y: int, *, size: float = 15, ink: Colour = INK, bold: bool = False
    ) -> int:
        """Write one line with its baseline at y; returns where it ends."""
        scale, thick = size / UNIT_PX, 2 if bold else 1
        cv2.putText(self.pixels, plain(words), (x, y), FONT, scale, ink, thick, cv2.LINE_AA)
        return x + width_of(words, size, bold=bold)

    def paragraph(
        self, words: str, x: int, y: int, *, width: int, size: float = 15, ink: Colour = INK
    ) -> int:
        """Write lines no wider than `width`; returns the baseline of the next one."""
        line = ""
        for word in [*words.split(), ""]:
            longer = f"{line} {word}".strip()
            if line and (not word or width_of(longer, size) > width):
                self.text(line, x, y, size=size, ink=ink)
                line, y = word, y + round(size * 1.5)
            else:
                line = longer
        return y

    def picture(self, pixels: Pixels, x: int, y: int, width: int, height: int) -> None:
        """Lay a picture into a frame of this size, framed by a fine line."""
        enlarges = pixels.shape[1] < width
        how = cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA
        self.pixels[y : y + height, x : x + width] = cv2.resize(
            pixels, (width, height), interpolation=how
        )
        self.frame(x, y, width, height)

    def frame(self, x: int, y: int, width: int, height: int, ink: Colour = LINE) -> None:
        cv2.rectangle(self.pixels, (x - 1, y - 1), (x + width, y + height), ink, 1)

    def fill(self, x: int, y: int, width: int, height: int, ink: Colour) -> None:
        """A filled rectangle."""
        cv2.rectangle(self.pixels, (x, y), (x + max(width, 1) - 1, y + height - 1), ink, -1)

    def save(self, path: Path) -> None:
        """Write the sheet; raises PictureError where it cannot be written."""
        bgr = cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR)
        try:
            good, data = cv2.imencode(path.suffix or ".png", bgr)
            if not good:
                raise PictureError(f"{path}: cannot be encoded; name a .png")
            path.write_bytes(data.tobytes())
        except cv2.error as error:
            raise PictureError(f"{path}: not a kind of picture; name a .png") from error
        except OSError as error:
            raise PictureError(f"{path}: cannot be written ({error.strerror})") from error


def width_of(words: str, size: float, *, bold: bool = False) -> int:
    """Width of a line, px."""
    (width, _), _ = cv2.getTextSize(plain(words), FONT, size / UNIT_PX, 2 if bold else 1)
    return int(width)


def plain(words: str) -> str:
    """What OpenCV's own font can draw."""
    return words.encode("ascii", "replace").decode()


def framed(pixels: Pixels, width: int, height: int, ground: Colour = LINE) -> tuple[Pixels, float]:
    """Fit a picture into a size without distorting it; returns it and its scale."""
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    whole = np.full((height, width, 3), ground, np.uint8)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    whole[y : y + size[1], x : x + size[0]] = cv2.resize(pixels, size, interpolation=how)
    return cast(Pixels, whole), scale
