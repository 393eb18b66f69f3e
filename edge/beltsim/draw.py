"""The line as a picture, and pictures as a film; for those who have no browser at hand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.beltsim.scenery import read_cut
from edge.errors import SmartbinError, UsageError
from edge.values import Pixels

WIDTH_PX, HEIGHT_PX = 1200, 430
BELT_TOP, BELT_HIGH, BIN_TOP, BIN_HIGH = 70, 165, 300, 100
BEFORE_MM, AFTER_MM = 330.0, 330.0
FALL_S = 0.4
# RGB
INK, SOFT, WHITE, RED = (29, 35, 39), (102, 114, 123), (255, 255, 255), (229, 72, 77)
COLOURS = {"glass": (47, 143, 91), "packaging": (216, 154, 29), "paper": (59, 111, 182)}
GREY = (109, 117, 124)
FORMATS = (".gif", ".webp")


class Film:
    """Pictures at a rate, saved as an animation."""

    def __init__(self, path: Path, *, seconds: float, fps: float) -> None:
        """Raises UsageError for a format that is none, SmartbinError where OpenCV is too old."""
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"--gif {path}: must end in {' or '.join(FORMATS)}")
        if not hasattr(cv2, "Animation"):
            raise SmartbinError(
                "--gif needs OpenCV 4.12; run: pip install -U opencv-python-headless"
            )
        self._path, self._fps = path, fps
        self._most = round(seconds * fps)
        self._frames: list[Pixels] = []
        self._due_s = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing was taken yet."""
        return not self._frames

    def wants(self, now_s: float) -> bool:
        """Whether a picture is due."""
        return now_s >= self._due_s and len(self._frames) < self._most

    def add(self, picture: Pixels, now_s: float) -> None:
        """Take a picture in."""
        self._due_s = max(self._due_s + 1 / self._fps, now_s)
        half = (picture.shape[1] * 2 // 3, picture.shape[0] * 2 // 3)
        small = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
        self._frames.append(cast(Pixels, cv2.cvtColor(small, cv2.COLOR_RGB2BGR)))

    def save(self) -> None:
        """Write what was taken; raises SmartbinError where that is not possible."""
        animation = cv2.Animation()
        animation.frames = self._frames
        animation.durations = [round(1000 / self._fps)] * len(self._frames)
        if not self._frames or not cv2.imwriteanimation(str(self._path), animation):
            raise SmartbinError(f"--gif {self._path}: cannot be written; check the folder")


def save_picture(picture: Pixels, path: Path) -> None:
    """As PNG or JPEG; raises SmartbinError."""
    try:
        written = cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error:
        written = False
    if not written:
        raise SmartbinError(f"--png {path}: cannot be written; check the folder, end it in .png")


def draw(scene: Mapping[str, Any], counts: Mapping[str, Any]) -> Pixels:
    """Belt, items with label and confidence, diverters, bins with count and purity; RGB."""
    canvas = np.full((HEIGHT_PX, WIDTH_PX, 3), 250, np.uint8)
    sheet = _Sheet(canvas, scene)
    sheet.belt()
    sheet.stations()
    sheet.bins(counts)
    for thing in scene["things"]:
        sheet.thing(thing)
    sheet.caption(counts)
    return canvas


class _Sheet:
    """One picture on its way."""

    def __init__(self, canvas: Pixels, scene: Mapping[str, Any]) -> None:
        self._canvas = canvas
        self._scene = scene
        self._layout = scene["layout"]
        self._now_s = scene["now_s"]
        self._scale: float = WIDTH_PX / (BEFORE_MM + self._layout["end_mm"] + AFTER_MM)  # px a mm

    def belt(self) -> None:
        end = self._x(self._layout["end_mm"])
        tile = _belt_tile()
        shift = round(self._travel_mm(self._now_s) * self._scale) % tile.shape[1]
        row = np.roll(np.concatenate([tile] * (end // tile.shape[1] + 2), axis=1), shift, axis=1)
        self._canvas[BELT_TOP : BELT_TOP + BELT_HIGH, :end] = row[:, :end]

    def stations(self) -> None:
        gate, layout = self._x(0), self._layout
        for y in range(BELT_TOP - 12, BELT_TOP + BELT_HIGH + 12, 10):
            cv2.line(self._canvas, (gate, y), (gate, y + 5), RED, 2)
        self._text("light gate", gate, BELT_TOP - 22, SOFT)
        middle, half = self._x(layout["picture_mm"]), round(160 * self._scale)
        corners = (middle - half, BELT_TOP + 4), (middle + half, BELT_TOP + BELT_HIGH - 5)
        cv2.rectangle(self._canvas, *corners, WHITE, 1, cv2.LINE_AA)
        self._text("camera", middle, BELT_TOP - 22, SOFT)
        for route, at_mm in layout["diverters_mm"].items():
            self._paddle(route, self._x(at_mm))

    def bins(self, counts: Mapping[str, Any]) -> None:
        places = {**self._layout["diverters_mm"], "residual": self._layout["end_mm"] + 130}
        for name, at_mm in places.items():
            x, half, colour = self._x(at_mm), round(165 * self._scale), COLOURS.get(name, GREY)
            box = (x - half, BIN_TOP), (x + half, BIN_TOP + BIN_HIGH)
            pale = tuple(int(255 - (255 - part) * 0.15) for part in colour)
            cv2.rectangle(self._canvas, *box, pale, -1)
            cv2.rectangle(self._canvas, *box, colour, 2, cv2.LINE_AA)
            self._text(name, x, BIN_TOP + 28, INK, size=0.55)
            inside = counts["bins"][name]
            self._text(f"{inside['count']} items", x, BIN_TOP + 54, INK)
            pure = f"{inside['right'] / inside['count']:.0%} pure" if inside["count"] else "empty"
            safe = "all not sure" if name == "residual" else pure
            self._text(safe, x, BIN_TOP + 78, SOFT)

    def thing(self, thing: Mapping[str, Any]) -> None:
        swept_s, sizes = thing["swept_s"], self._scale / self._scene["px_per_mm"]
        at_s, drop = self._now_s, 0
        if swept_s is not None and self._now_s > swept_s:
            part = (self._now_s - swept_s) / FALL_S
            if part > 1:
                return
            at_s, drop = swept_s, round(part * part * (BIN_TOP - BELT_TOP - 30))
        front_mm = self._travel_mm(at_s) - thing["lead_mm"]
        if front_mm - thing["length_mm"] / 2 > self._layout["end_mm"]:
            return
        cut = _cut(thing["file"], sizes, thing["flipped"])
        left = self._x(front_mm) - round((thing["body_x"] + thing["body_width"]) * sizes)
        high = round(336 * sizes)
        top = round(thing["y"] * sizes)
        top = high - top - cut.shape[0] if thing["flipped"] else top
        _paste(self._canvas, cut, left, BELT_TOP + (BELT_HIGH - high) // 2 + top + drop)
        if thing["outcome"] and not drop:
            self._tag(thing, left + cut.shape[1] // 2)

    def caption(self, counts: Mapping[str, Any]) -> None:
        f = counts["figures"]
        pure = "-" if f["sorted_purity"] is None else f"{f['sorted_purity']:.1%}"
        words = (
            f"{counts['passed']} of {counts['items']} items, {f['per_min']:.0f} a minute, "
            f"{f['speed_mm_s'] / 1000:.2f} m/s   sorted bins {pure} pure   "
            f"wrong kicks {f['wrong_kicks']}   late {f['late_share']:.1%}"
        )
        self._text(words, 12, HEIGHT_PX - 10, INK, align="left")

    def _paddle(self, route: str, x: int) -> None:
        out, delay_s = 0, self._layout["delay_s"]
        for kick in self._scene["kicks"]:
            since_s = self._now_s - kick["at_s"] + delay_s
            if kick["route"] == route and 0 <= since_s < delay_s + 0.12:
                out = round(min(1.0, since_s / delay_s) * (BELT_HIGH - 30))
        colour = COLOURS.get(route, GREY)
        cv2.rectangle(
            self._canvas, (x - 3, BELT_TOP - 30), (x + 3, BELT_TOP - 15 + out), colour, -1
        )
        paddle = (x - 17, BELT_TOP - 15 + out), (x + 17, BELT_TOP - 3 + out)
        cv2.rectangle(self._canvas, *paddle, colour, -1, cv2.LINE_AA)
        self._text(f"{route} diverter", x, BELT_TOP - 38, SOFT)

    def _tag(self, thing: Mapping[str, Any], x: int) -> None:
        good = thing["outcome"] == "sorted"
        doubt = "too close" if thing["close"] else thing["outcome"]
        words = f"{thing['label']} {thing['confidence']:.0%}" if good else doubt
        (wide, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        y, colour = BELT_TOP + BELT_HIGH + 8, COLOURS.get(thing["route"], GREY)
        box = (x - wide // 2 - 8, y), (x + wide // 2 + 8, y + 22)
        cv2.rectangle(self._canvas, *box, colour if good else WHITE, -1)
        cv2.rectangle(self._canvas, *box, colour, 1, cv2.LINE_AA)
        self._text(words, x, y + 15, WHITE if good else INK)

    def _text(
        self,
        words: str,
        x: int,
        y: int,
        colour: tuple[int, ...],
        *,
        size: float = 0.42,
        align: str = "middle",
    ) -> None:
        (wide, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        left = x if align == "left" else x - wide // 2
        cv2.putText(
            self._canvas, words, (left, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA
        )

    def _x(self, mm: float) -> int:
        return round((mm + BEFORE_MM) * self._scale)

    def _travel_mm(self, at_s: float) -> float:
        speed, now_s = self._scene["speed_mm_s"], self._scene["now_s"]
        return float(self._scene["travel_mm"] + speed * (at_s - now_s))  # the wobble is too small


def _paste(canvas: Pixels, cut: npt.NDArray[np.uint8], left: int, top: int) -> None:
    """Lay an RGBA cut-out onto the picture; what is outside is left out."""
    height, width = cut.shape[:2]
    x0, x1 = max(0, left), min(canvas.shape[1], left + width)
    y0, y1 = max(0, top), min(canvas.shape[0], top + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = cut[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha, spot = part[..., 3:] / 255, canvas[y0:y1, x0:x1]
    spot[:] = np.clip(spot + alpha * (part[..., :3] - spot), 0, 255).astype(np.uint8)


@cache
def _cut(file: str, sizes: float, flipped: bool) -> npt.NDArray[np.uint8]:
    small = cv2.resize(read_cut(file), None, fx=sizes, fy=sizes, interpolation=cv2.INTER_AREA)
    return cast(npt.NDArray[np.uint8], small[::-1] if flipped else small)


@cache
def _belt_tile() -> Pixels:
    """The belt's own picture and its mirror image, which meet, as high as the belt is drawn."""
    belt = read_cut("belt.webp")
    wide = round(belt.shape[1] * BELT_HIGH / belt.shape[0])
    small = cv2.resize(belt, (wide, BELT_HIGH), interpolation=cv2.INTER_AREA)
    return np.concatenate([small, small[:, ::-1]], axis=1)
