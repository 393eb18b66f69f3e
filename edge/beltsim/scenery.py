"""Pictures of the simulated belt, as its camera takes them."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.beltsim.world import PX_PER_MM, SPRITES, Thing, World
from edge.errors import SmartbinError
from edge.values import Pixels

Levels = npt.NDArray[np.float32]  # (h, w, 1 to 4)
NOISE_LEVELS = 2.0
BLUR_PX = 60.0  # what varies slower than this is light, which does not run with the belt


class Scenery:
    """Draws (H, W, 3) RGB; the belt runs from left to right."""

    def __init__(self, world: World) -> None:
        self._world = world
        belt = read_cut("belt.webp")[..., :3].astype(np.float32)
        self.height_px, self.width_px = belt.shape[:2]
        self._light = cv2.GaussianBlur(belt, (0, 0), BLUR_PX)
        texture = belt / self._light
        loop = np.concatenate([texture, texture[:, ::-1]], axis=1)  # meets itself
        self._loop_px = loop.shape[1]
        self._texture = np.concatenate([loop, loop[:, : self.width_px]], axis=1)
        self._cuts = [_cut(sprite.file) for sprite in world.sprites]
        rng = np.random.default_rng(world.seed)
        shape = (self.height_px * 2, self.width_px * 2, 3)
        self._grain: Levels = (NOISE_LEVELS * rng.standard_normal(shape)).astype(np.float32)

    @property
    def width_mm(self) -> float:
        """What of the belt the picture shows."""
        return float(self.width_px / PX_PER_MM)

    def picture(self, at_s: float) -> Pixels:
        """What the camera sees at that moment; the same moment gives the same picture."""
        travel_mm = self._world.travel_mm(at_s)
        left_mm = self._world.camera_mm - self.width_mm / 2  # from the gate
        # OpenCV's arithmetic, because numpy's takes ten times as long for a frame.
        shift = -round(travel_mm * PX_PER_MM) % self._loop_px
        texture = self._texture[:, shift : shift + self.width_px]
        picture = cast(Levels, cv2.multiply(texture, self._light))
        # A thing's leading edge is `travel - lead` past the gate.
        first_mm, last_mm = travel_mm - left_mm - self.width_mm, travel_mm - left_mm
        for thing in self._world.near(first_mm - 50, last_mm + 50):
            front_px = round((travel_mm - thing.lead_mm - left_mm) * PX_PER_MM)
            self._paste(picture, thing, front_px)
        spot = int(at_s * 1e6)
        y, x = spot % self.height_px, spot // 7 % self.width_px
        grain = self._grain[y : y + self.height_px, x : x + self.width_px]
        return cast(Pixels, cv2.add(picture, grain, dtype=cv2.CV_8U))

    def _paste(self, picture: Levels, thing: Thing, front_px: int) -> None:
        """Lay an item whose leading (right) edge is at the column `front_px`."""
        sprite = self._world.sprites[thing.sprite]
        colour, alpha = self._cuts[thing.sprite]
        if thing.flipped:
            colour, alpha = colour[::-1], alpha[::-1]
        height, width = alpha.shape[:2]
        left = front_px - sprite.body_x - sprite.body_width
        top = self.height_px - sprite.y - height if thing.flipped else sprite.y
        first, last = max(0, -left), min(width, self.width_px - left)
        if first >= last:
            return
        spot = picture[top : top + height, left + first : left + last]
        spot += alpha[:, first:last] * (colour[:, first:last] - spot)


def _cut(file: str) -> tuple[Levels, Levels]:
    """Colour (h, w, 3) 0..255 and alpha (h, w, 1) 0..1 of a cut-out."""
    rgba = read_cut(file).astype(np.float32)
    return rgba[..., :3], rgba[..., 3:] / np.float32(255)


def read_cut(file: str) -> npt.NDArray[np.uint8]:
    """A shipped picture, RGB or RGBA; raises SmartbinError."""
    picture = cv2.imread(str(SPRITES / file), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise SmartbinError(f"{SPRITES / file}: not in this installation; install smartbin again")
    code = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cast(npt.NDArray[np.uint8], cv2.cvtColor(picture, code))
