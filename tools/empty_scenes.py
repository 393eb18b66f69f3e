"""Drawn trays for tools.empties: a fixed camera over a surface, in many lights, with and without.

Light is drawn as light: a reflectance, an ambient part from the whole room, a direct part from a
lamp that something may stand in the way of, and a camera with a tone curve, noise and JPEG. A
seed decides surface, lamp, camera and every shadow; seeds of `tune` may be looked at, those of
`test` are only measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.values import Pixels
from trainer import masks, surfaces

WIDTH, HEIGHT = surfaces.WIDTH, surfaces.HEIGHT
Field = npt.NDArray[np.float32]  # (HEIGHT, WIDTH) or (HEIGHT, WIDTH, 3)
Light = tuple[Field, float]  # (HEIGHT, WIDTH, 3), 1 as usual, and how many times noisier it is
GAMMA = 2.2
TUNE_SEED, TEST_SEED = 1000, 20_000
LIGHTS = ("lit", "bright", "dim", "dark", "slope", "warm", "spot", "shadow", "shadows", "hand")
MAKERS = {
    "tune": (surfaces.wood, surfaces.stone, surfaces.metal, surfaces.card, surfaces.cloth),
    "test": (
        surfaces.wood,
        surfaces.card,
        surfaces.belt,
        surfaces.speckle,
        surfaces.ring_wood,
        surfaces.kraft,
        surfaces.tiles,
    ),
}


class Site:
    """One tray under one camera: `look` shows it in a light, with a thing on it or without."""

    def __init__(self, split: str, number: int) -> None:
        seed = (TEST_SEED if split == "test" else TUNE_SEED) + number
        self.dice = np.random.default_rng(seed)
        maker = MAKERS[split][number % len(MAKERS[split])]
        self.name = f"{maker.__name__}_{seed}"
        self._surface = _linear(maker(self.dice))
        self._falloff = _falloff(self.dice)
        self._direct = self.dice.uniform(0.45, 0.85)  # of the light in the middle
        self._lamp = self.dice.normal(1, 0.025, 3).astype(np.float32)
        self._room = self.dice.normal(1, 0.05, 3).astype(np.float32)
        self._blur_px = self.dice.uniform(0.35, 0.75)
        self._noise = self.dice.uniform(0.7, 1.6)
        bright = float(np.percentile(self._surface, 95))
        self._gain = _linear_level(self.dice.uniform(150, 225)) / max(bright, 0.08)

    def light(self, kind: str) -> Light:
        """One of LIGHTS; each time it falls elsewhere."""
        dice, lamp, gain, noise = self.dice, self._lamp, 1.0, 1.0
        seen = np.ones((HEIGHT, WIDTH), np.float32)  # of the lamp
        if kind == "bright":
            gain = dice.uniform(1.2, 1.5)
        elif kind == "dim":
            gain, noise = dice.uniform(0.3, 0.5), 1.6
        elif kind == "dark":
            gain, noise = dice.uniform(0.07, 0.12), 3.5
        elif kind == "warm":
            lamp = lamp * np.array([1.08, 0.98, 0.78], np.float32)
        elif kind == "slope":
            seen = _slope(dice)
        elif kind == "spot":
            gain, seen = 0.6, 0.6 + _spot(dice) * dice.uniform(0.5, 1.5)
        elif kind in ("shadow", "hand"):
            seen = _shadow(dice, _hand if kind == "hand" else None)
        elif kind == "shadows":
            seen = _shadow(dice) * _shadow(dice)
        direct = self._direct * self._falloff * seen
        light = direct[..., None] * lamp + (1 - self._direct) * self._room
        return np.asarray(light * gain, np.float32), noise

    def look(self, light: Light, thing: Thing | None = None) -> Pixels:
        """(HEIGHT, WIDTH, 3) as the camera shows it; noise is new each time."""
        level, noise = light
        scene = self._surface.copy()
        if thing is not None:
            scene = thing(scene)
        levels = 255 * np.clip(scene * level * self._gain, 0, 1) ** (1 / GAMMA)
        levels = cv2.GaussianBlur(levels, (0, 0), self._blur_px)
        spread = noise * np.sqrt(self._noise**2 + 0.1**2 * levels)
        levels += spread * self.dice.standard_normal(levels.shape, np.float32)
        pixels = np.clip(levels + 0.5, 0, 255).astype(np.uint8)
        done, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        if not done:
            raise ValueError("a drawn picture could not be coded as JPEG")
        return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])

    def drawn_thing(self, kind: str) -> Thing:
        """One of DRAWN, somewhere on this tray."""
        return _thing(DRAWN[kind](self.dice, self._surface))

    def photo_thing(self, photo: Path, mask: Path) -> Thing | None:
        """An item cut out of a photo of TrashNet's kind; None where its mask is not good."""
        cut = masks.read_mask(mask)
        pixels = cv2.imread(str(photo))
        if pixels is None or not masks.is_good_mask(cut):
            return None
        alpha = cv2.resize(masks.alpha_of(cut), pixels.shape[1::-1])
        colour = _linear(pixels[..., ::-1])
        return _thing(_placed(self.dice, colour, alpha))


Thing = Callable[[Field], Field]  # the surface's reflectance to that with the thing on it
Layer = tuple[Field, Field, float]  # reflectance (H, W, 3), alpha (H, W), depth of its own shadow


def _thing(layer: Layer) -> Thing:
    colour, alpha, depth = layer

    def lay(surface: Field) -> Field:
        fallen = cv2.warpAffine(alpha, np.float32([[1, 0, 3], [0, 1, 4]]), (WIDTH, HEIGHT))
        shade = 1 - depth * cv2.GaussianBlur(fallen, (0, 0), 4)
        under = surface * shade[..., None]
        return np.asarray(under + alpha[..., None] * (colour - under), np.float32)

    return lay


def _placed(dice: np.random.Generator, colour: Field, alpha: Field) -> Layer:
    """Scale a cut-out so that its item is 18 to 60 % of the frame high, and lay it inside."""
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    scale = min(dice.uniform(0.18, 0.6) * HEIGHT / high, 0.8 * WIDTH / wide)
    left = dice.uniform(2, WIDTH - 2 - wide * scale) - columns[0] * scale
    top = dice.uniform(2, HEIGHT - 2 - high * scale) - rows[0] * scale
    move = np.float32([[scale, 0, left], [0, scale, top]])
    size = (WIDTH, HEIGHT)
    shrink = cv2.GaussianBlur(colour, (0, 0), max(0.3, 0.45 / scale))
    alpha = cv2.GaussianBlur(alpha, (0, 0), max(0.3, 0.45 / scale))
    return cv2.warpAffine(shrink, move, size), cv2.warpAffine(alpha, move, size), 0.5


def _form(dice: np.random.Generator, kind: str = "") -> Field:
    """(H, W) 0..1: a bottle, a sheet or a crumpled outline, 50 to 120 px long."""
    side = dice.uniform(80, 120) if kind == "bottle" else dice.uniform(50, 110)
    x, y = dice.uniform(60, WIDTH - 60), dice.uniform(55, HEIGHT - 55)
    turn = dice.uniform(0, 2 * np.pi)
    if kind == "bottle":
        corners = np.array([[-1, 0.28], [0.45, 0.28], [0.7, 0.1], [1, 0.1]])
        corners = np.concatenate([corners, corners[::-1] * [1, -1]]) * side / 2
    elif kind == "sheet":
        corners = np.array([[-1, -0.7], [1, -0.7], [1, 0.7], [-1, 0.7]]) * side / 2
        corners += dice.normal(0, 0.03 * side, corners.shape)
    else:
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        reach = side / 2 * dice.uniform(0.6, 1.0, 14)
        corners = np.stack([reach * np.cos(angles), reach * np.sin(angles)], 1)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline = np.round((corners @ spin + [x, y]) * 8).astype(np.int32)
    form = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(form, [outline], 255, cv2.LINE_AA, shift=3)
    return form.astype(np.float32) / 255


def _rim(form: Field, width_px: int) -> Field:
    kernel = np.ones((width_px, width_px), np.uint8)
    return np.asarray(cv2.morphologyEx(form, cv2.MORPH_GRADIENT, kernel), np.float32)


def _glass(dice: np.random.Generator, surface: Field) -> Layer:
    """Clear: dims what is below by 4 to 12 %, its rim darker or brighter, a highlight on it."""
    form = _form(dice, "bottle")
    rim, shine = _rim(form, 3), cv2.erode(form, np.ones((9, 9))) * _streak(dice)
    seen = surface * (1 - dice.uniform(0.04, 0.12))
    seen = seen * (1 - dice.uniform(0.2, 0.5) * rim[..., None])
    seen = seen + shine[..., None] * dice.uniform(0.2, 0.6)
    return np.asarray(seen, np.float32), form, 0.12


def _streak(dice: np.random.Generator) -> Field:
    """(H, W): some of a bottle shines."""
    noise = cv2.resize(dice.random((12, 16), np.float32), (WIDTH, HEIGHT))
    return np.asarray(np.clip((noise - 0.75) * 12, 0, 1), np.float32)


def _paper(dice: np.random.Generator, surface: Field) -> Layer:
    """A white sheet with a fold or two."""
    form = _form(dice, "sheet")
    return _folded(dice, form, np.float32([0.84, 0.84, 0.82]), 0.03), form, 0.3


def _grey(dice: np.random.Generator, surface: Field) -> Layer:
    """A grey card as bright as the tray is, within 12 %: a flat thing that is least seen."""
    form = _form(dice, "sheet")
    bright = float(surface.mean()) * dice.uniform(0.88, 1.12)
    return _folded(dice, form, np.full(3, bright, np.float32), 0.015), form, 0.3


def _black(dice: np.random.Generator, surface: Field) -> Layer:
    """A black bag or film."""
    form = _form(dice)
    return _folded(dice, form, np.full(3, dice.uniform(0.008, 0.03), np.float32), 0.25), form, 0.5


def _folded(
    dice: np.random.Generator, form: Field, colour: npt.NDArray[np.float32], depth: float
) -> Field:
    """A colour with creases: planes that are each a little lighter or darker."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    tone = np.zeros((HEIGHT, WIDTH))
    middle = np.argwhere(form > 0.5).mean(axis=0)
    for _ in range(3):
        turn, off = dice.uniform(0, 2 * np.pi), dice.uniform(-12, 12)
        side = (rows - middle[0]) * np.sin(turn) + (columns - middle[1]) * np.cos(turn) > off
        tone += depth * dice.uniform(0.3, 1) * (side - 0.5)
    return np.asarray(colour * (1 + tone[..., None]), np.float32)


DRAWN: Mapping[str, Callable[[np.random.Generator, Field], Layer]] = {
    "clear glass": _glass,
    "white paper": _paper,
    "grey card": _grey,
    "black film": _black,
}


def _linear(pixels: Pixels) -> Field:
    return np.asarray((pixels.astype(np.float32) / 255) ** GAMMA, np.float32)


def _linear_level(level: float) -> float:
    return float((level / 255) ** GAMMA)


def _falloff(dice: np.random.Generator) -> Field:
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    y, x = dice.uniform(-0.6, 0.6, 2)
    far = ((rows - y) ** 2 + (columns - x) ** 2) / 2
    return np.asarray(1 - dice.uniform(0.1, 0.35) * far, np.float32)


def _slope(dice: np.random.Generator) -> Field:
    """From a window at one side."""
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    turn = dice.uniform(0, 2 * np.pi)
    along = rows * np.sin(turn) + columns * np.cos(turn)
    return np.asarray(np.exp(dice.uniform(0.2, 0.6) * along), np.float32)


def _spot(dice: np.random.Generator) -> Field:
    """A lamp on one part, its edge 12 to 50 px wide."""
    spot = np.zeros((HEIGHT, WIDTH), np.float32)
    x, y = int(dice.integers(40, WIDTH - 40)), int(dice.integers(40, HEIGHT - 40))
    axes = (int(dice.integers(30, 90)), int(dice.integers(30, 90)))
    cv2.ellipse(spot, (x, y), axes, dice.uniform(0, 180), 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(spot, (0, 0), dice.uniform(4, 16)), np.float32)


def _shadow(
    dice: np.random.Generator, form: Callable[[np.random.Generator], Field] | None = None
) -> Field:
    """How much of the lamp each point sees past a thing that the camera does not; soft-edged."""
    forms = (_plank, _bars, _hand)
    blocked = (form or forms[int(dice.integers(len(forms)))])(dice)
    soft_px = float(np.exp(dice.uniform(np.log(1.5), np.log(8))))
    return np.asarray(1 - cv2.GaussianBlur(blocked, (0, 0), soft_px), np.float32)


def _line(blocked: Field, at: npt.ArrayLike, turn: float, width: float) -> None:
    along = np.array([np.cos(turn), np.sin(turn)]) * 600
    ends = [tuple(int(v * 8) for v in np.asarray(at) + sign * along) for sign in (-1, 1)]
    cv2.line(blocked, ends[0], ends[1], 1.0, max(1, round(width)), cv2.LINE_8, shift=3)


def _plank(dice: np.random.Generator) -> Field:
    blocked = np.zeros((HEIGHT, WIDTH), np.float32)
    at = dice.uniform((60, 40), (WIDTH - 60, HEIGHT - 40))
    _line(blocked, at, dice.uniform(0, np.pi), dice.uniform(40, 120))
    return blocked


def _bars(dice: np.random.Generator) -> Field:
    blocked = np.zeros((HEIGHT, WIDTH), np.float32)
    turn, at = dice.uniform(0, np.pi), dice.uniform((60, 40), (WIDTH - 60, HEIGHT - 40))
    aside = np.array([-np.sin(turn), np.cos(turn)]) * dice.uniform(50, 90)
    for number in (-1, 0, 1):
        _line(blocked, at + number * aside, turn, dice.uniform(12, 26))
    return blocked


def _hand(dice: np.random.Generator) -> Field:
    """An arm from outside with a fist at its end."""
    blocked = np.zeros((HEIGHT, WIDTH), np.float32)
    fist = dice.uniform((70, 60), (WIDTH - 70, HEIGHT - 60))
    turn = dice.uniform(0, 2 * np.pi)
    far = fist + 500 * np.array([np.cos(turn), np.sin(turn)])
    ends = [tuple(int(v) for v in point) for point in (fist, far)]
    cv2.line(blocked, ends[0], ends[1], 1.0, int(dice.integers(28, 50)))
    cv2.circle(blocked, ends[0], int(dice.integers(22, 36)), 1.0, -1)
    for finger in dice.uniform(-0.7, 0.7, 3):
        tip = fist - 55 * np.array([np.cos(turn + finger), np.sin(turn + finger)])
        cv2.line(blocked, ends[0], tuple(int(v) for v in tip), 1.0, 11)
    return blocked
