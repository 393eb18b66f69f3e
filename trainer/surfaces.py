"""Procedural surfaces that items are pasted onto: seeded, ours, and no picture of anyone's.

`training_bank` is what the student sees in training. `challenge_surface` draws the surfaces of the
background challenge from generators of its own, so that the challenge never shows a surface of
the bank: its wood is made of warped rings and the bank's of stretched noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge.values import Pixels

WIDTH, HEIGHT = 320, 240
Field = npt.NDArray[np.float32]  # (HEIGHT, WIDTH)
Kind = Literal["brown", "random", "cardboard"]
Maker = Callable[[np.random.Generator], Pixels]


def training_bank(count: int, seed: int) -> Pixels:
    """(count, HEIGHT, WIDTH, 3) uint8, the kinds of `TRAINING_MIX` in turn."""
    rng = np.random.default_rng([seed, 1])
    makers = [maker for maker, share in TRAINING_MIX for _ in range(share)]
    return np.stack([_lit(makers[i % len(makers)](rng), rng) for i in range(count)])


def odd_bank(count: int, seed: int) -> Pixels:
    """(count, HEIGHT, WIDTH, 3) uint8 of what no sorted item is made of: wood, cloth, stone."""
    rng = np.random.default_rng([seed, 2])
    makers = (wood, cloth, speckle, stone)
    return np.stack([_lit(makers[i % len(makers)](rng), rng) for i in range(count)])


def challenge_surface(kind: Kind, rng: np.random.Generator) -> Pixels:
    """(HEIGHT, WIDTH, 3) uint8 that the training bank does not hold."""
    makers = CHALLENGE[kind]
    return _lit(makers[int(rng.integers(len(makers)))](rng), rng)


def _smooth(rng: np.random.Generator, rows: int, columns: int) -> Field:
    """Smooth noise of about unit deviation with `rows` x `columns` knots."""
    knots = rng.standard_normal((max(rows, 2), max(columns, 2)), np.float32)
    return np.asarray(cv2.resize(knots, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)


def _fractal(rng: np.random.Generator, knots: int = 4, octaves: int = 5) -> Field:
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in range(octaves):
        total += _smooth(rng, knots * 3 * 2**octave // 4, knots * 2**octave) / 1.7**octave
    return np.asarray(total / total.std(), np.float32)


def _paint(base: npt.ArrayLike, field: Field, strength: float) -> Pixels:
    """A colour (0..255 RGB) made lighter and darker by a field of unit deviation."""
    shaded = np.asarray(base, np.float32) * (1 + strength * field[..., None])
    return np.clip(shaded, 0, 255).astype(np.uint8)


def _jitter(rng: np.random.Generator, colour: tuple[int, int, int], spread: float) -> Field:
    gain = np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread / 4, 3))
    return np.asarray(np.array(colour) * gain, np.float32)


def _turn(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by any angle about the middle; scaled so that no corner is left empty."""
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), float(rng.uniform(0, 360)), 1.3)
    turned = cv2.warpAffine(pixels, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, np.uint8)


def _lit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Uneven light: a gradient, and a soft pool brighter or darker than the rest."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    light = 1 + slope * (x * np.cos(angle) + y * np.sin(angle))
    px, py = rng.uniform(-1, 1, 2)
    light += rng.uniform(-0.25, 0.25) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 0.5)
    return np.asarray(np.clip(pixels * light[..., None], 0, 255), np.uint8)


def wood(rng: np.random.Generator) -> Pixels:
    """Boards of brown wood with stretched grain and dark joints."""
    tone = ((150, 105, 65), (115, 75, 45), (185, 145, 100), (90, 58, 38))[int(rng.integers(4))]
    boards = int(rng.integers(1, 8))
    board = np.minimum(np.arange(HEIGHT) * boards // HEIGHT, boards - 1)
    grain = _smooth(rng, int(rng.integers(40, 160)), int(rng.integers(2, 8)))
    grain += 0.6 * _smooth(rng, int(rng.integers(10, 40)), int(rng.integers(2, 5)))
    grain += 0.25 * rng.standard_normal((HEIGHT, WIDTH), np.float32)
    grain += rng.normal(0, 0.9, boards).astype(np.float32)[board][:, None]
    painted = _paint(_jitter(rng, tone, 0.15), grain / grain.std(), rng.uniform(0.05, 0.22))
    joints = np.flatnonzero(np.diff(board))
    painted[joints] = painted[joints] // 2
    return _turn(painted, rng)


def stone(rng: np.random.Generator) -> Pixels:
    """Concrete, granite or terrazzo: grey of any brightness, with specks."""
    grey = int(rng.uniform(50, 210))
    base = _jitter(rng, (grey, grey, grey), 0.08)
    pixels = _paint(base, _fractal(rng, int(rng.integers(3, 10))), rng.uniform(0.03, 0.15))
    specks = rng.random((HEIGHT, WIDTH)) < rng.uniform(0, 0.05)
    pixels[specks] = (pixels[specks] * rng.uniform(0.4, 1.4)).clip(0, 255).astype(np.uint8)
    return pixels


def belt(rng: np.random.Generator) -> Pixels:
    """Conveyor rubber: dark, fine-grained, at times ribbed or with a scratched track."""
    base = _jitter(rng, ((38, 38, 42), (30, 60, 50), (60, 62, 66))[int(rng.integers(3))], 0.2)
    field = 0.6 * rng.standard_normal((HEIGHT, WIDTH), np.float32) + _smooth(rng, 3, 30)
    if rng.random() < 0.5:
        period_px = rng.uniform(6, 30)
        field += 2 * np.sin(np.arange(WIDTH, dtype=np.float32) * 2 * np.pi / period_px)[None]
    return _turn(_paint(base, field / field.std(), rng.uniform(0.05, 0.2)), rng)


def metal(rng: np.random.Generator) -> Pixels:
    """Brushed sheet: grey or tinted, with fine parallel streaks and a broad reflection."""
    grey = int(rng.uniform(90, 200))
    field = _smooth(rng, HEIGHT, 3) + 1.5 * _smooth(rng, 2, 3)
    painted = _paint(_jitter(rng, (grey, grey, grey), 0.1), field, rng.uniform(0.03, 0.12))
    return _turn(painted, rng)


def cloth(rng: np.random.Generator) -> Pixels:
    """A weave in any colour, with folds."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    period_px = rng.uniform(3, 9)
    weave = np.sin(x * 2 * np.pi / period_px) * np.sin(y * 2 * np.pi / period_px)
    field = np.asarray(weave + _smooth(rng, 4, 5) + 0.3 * _fractal(rng), np.float32)
    base = rng.uniform(30, 225, 3)
    return _turn(_paint(base, field / field.std(), rng.uniform(0.04, 0.2)), rng)


def speckle(rng: np.random.Generator) -> Pixels:
    """Coloured noise of no particular kind: floors, carpets, dirt, other waste."""
    base = rng.uniform(30, 225, 3)
    fields = [_fractal(rng, int(rng.integers(2, 16))) for _ in range(3)]
    mixed = np.stack([fields[0] + rng.uniform(0, 0.6) * field for field in fields], -1)
    painted = base * (1 + rng.uniform(0.05, 0.35) * mixed)
    return np.asarray(np.clip(painted, 0, 255), np.uint8)


def card(rng: np.random.Generator) -> Pixels:
    """Plain card or plastic: white, grey or one colour, nearly without texture."""
    kind = rng.random()
    grey = rng.uniform(195, 250) if kind < 0.45 else rng.uniform(25, 195)
    base = np.full(3, grey) * rng.normal(1, 0.03, 3) if kind < 0.75 else rng.uniform(20, 240, 3)
    return _paint(base, _fractal(rng), rng.uniform(0.002, 0.03))


def cardboard(rng: np.random.Generator) -> Pixels:
    """Brown corrugated board: faint ribs, fibres, now and then a crease."""
    base = _jitter(rng, (176, 136, 96), 0.14)
    ribs = np.sin(np.arange(HEIGHT, dtype=np.float32) * 2 * np.pi / rng.uniform(5, 16))[:, None]
    field = rng.uniform(0, 1) * ribs + 0.7 * _fractal(rng, 8) + 0.3 * _smooth(rng, 120, 160)
    pixels = _paint(base, np.asarray(field, np.float32), rng.uniform(0.015, 0.06))
    if rng.random() < 0.4:
        row = int(rng.integers(10, HEIGHT - 10))
        pixels[row : row + 2] = (pixels[row : row + 2] * rng.uniform(0.6, 1.15)).clip(0, 255)
    return _turn(pixels, rng)


def tiles(rng: np.random.Generator) -> Pixels:
    """A floor of tiles or slats with joints."""
    side_px = int(rng.integers(25, 110))
    pixels = stone(rng) if rng.random() < 0.6 else card(rng)
    shade = rng.uniform(0.4, 1.2)
    for axis, length in ((0, HEIGHT), (1, WIDTH)):
        at = np.arange(int(rng.integers(side_px)), length - 1, side_px)
        lines = (at[:, None] + np.arange(2)[None]).ravel()
        index = (lines,) if axis == 0 else (slice(None), lines)
        pixels[index] = (pixels[index] * shade).clip(0, 255).astype(np.uint8)
    return _turn(pixels, rng)


def ring_wood(rng: np.random.Generator) -> Pixels:
    """The challenge's brown table: annual rings, bent by slow noise, seen on a cut board."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    warp = 0.12 * _smooth(rng, 3, 4) + 0.01 * _smooth(rng, 60, 12)
    far = rng.uniform(0.5, 3.0)
    radius = np.sqrt((x * rng.uniform(0.05, 0.4)) ** 2 + (y + far) ** 2) + warp
    rings = np.asarray(np.sin(radius * rng.uniform(25, 90)), np.float32)
    pores = (rng.random((HEIGHT, WIDTH)) < 0.02).astype(np.float32)
    field = rings - 2.0 * cv2.blur(pores, (9, 1)) + 0.4 * _smooth(rng, 2, 3)
    tone = ((142, 98, 60), (122, 84, 54), (164, 118, 76))[int(rng.integers(3))]
    return _turn(_paint(_jitter(rng, tone, 0.08), field, rng.uniform(0.07, 0.16)), rng)


def kraft(rng: np.random.Generator) -> Pixels:
    """The challenge's cardboard: fibres in all directions, print-through flutes, a taped seam."""
    fibres = np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(500):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        dx, dy = rng.integers(-9, 10, 2)
        shade = float(rng.choice([-1.0, 1.0]))
        cv2.line(fibres, (int(x), int(y)), (int(x + dx), int(y + dy)), shade, 1)
    flutes = np.abs(np.sin(np.arange(WIDTH, dtype=np.float32) * np.pi / rng.uniform(7, 12)))[None]
    field = 0.8 * cv2.GaussianBlur(fibres, (3, 3), 0) + 0.6 * flutes + 0.4 * _smooth(rng, 3, 4)
    pixels = _paint(_jitter(rng, (183, 143, 103), 0.08), field, rng.uniform(0.03, 0.07))
    seam = int(rng.integers(30, HEIGHT - 60))
    pixels[seam : seam + 2] = pixels[seam : seam + 2] // 2
    return _turn(pixels, rng)


TRAINING_MIX: tuple[tuple[Maker, int], ...] = (
    (wood, 6),
    (stone, 3),
    (belt, 2),
    (metal, 2),
    (cloth, 2),
    (speckle, 3),
    (card, 5),
    (cardboard, 2),
    (tiles, 2),
)
CHALLENGE: dict[Kind, tuple[Maker, ...]] = {
    "brown": (ring_wood,),
    "random": (stone, belt, metal, cloth, speckle, tiles),
    "cardboard": (kraft,),
}
