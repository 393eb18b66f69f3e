"""Things from a pocket or a sofa: a phone, keys, a remote control, sunglasses."""

import math
import random

from mathutils import Matrix

from .drawing import canvas, fitted, shaded, words
from .materials import plain, printed, srgb
from .model import Model
from .solids import ball, ring, rod, slab, tube

CASES = ["15171a", "20304c", "c9ccd0", "8f2333", "e6d9c8"]
KEY_METALS = ["b9bcc0", "b59a55", "9da1a6"]


def phone(rng: random.Random) -> Model:
    """A telephone: its screen off, its screen on, or its back with the cameras."""
    case = plain("case", srgb(rng.choice(CASES)), 0.25, 0.1)
    body = slab("body", (0.62, 1.28, 0.07), case, corner=0.09, edge=0.02, at=(0, 0, 0))
    view = rng.choice(["on", "off", "back"])
    if view == "back":
        return Model([body, *_cameras(rng)])
    glass = plain("screen", srgb("06070a"), 0.06)
    if view == "on":
        glass = printed("screen", _lock_screen(rng), 0.12)
    size = (0.575, 1.235, 0.004)
    screen = slab("screen", size, glass, corner=0.07, edge=0.001, at=(0, 0, 0.069))
    eye = rod("eye", (0, 0.56, 0.072), (0, 0.56, 0.075), 0.016, plain("eye", srgb("000000"), 0.1))
    return Model([body, screen, eye])


def _lock_screen(rng: random.Random):
    image, draw = canvas(360, 772, "black")
    tones = [tuple(rng.randint(10, 200) for _ in range(3)) for _ in range(2)]
    shaded(image, *tones)
    fitted(
        draw, (180, 170), f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", 250, 120, "white"
    )
    words(draw, (180, 250), "Thursday", 32, "white")
    for row in range(rng.randint(1, 3)):
        top = 330 + row * 110
        draw.rounded_rectangle([25, top, 335, top + 95], 22, fill=(235, 238, 242))
        draw.rounded_rectangle([42, top + 20, 92, top + 70], 12, fill=tones[row % 2])
        draw.rectangle([110, top + 28, 300, top + 38], fill=(90, 90, 95))
        draw.rectangle([110, top + 54, 260, top + 62], fill=(150, 150, 155))
    draw.rounded_rectangle([120, 748, 240, 754], 3, fill="white")
    return image


def _cameras(rng: random.Random) -> list:
    plate = plain("plate", srgb("202226"), 0.3)
    lens, rim = plain("lens", srgb("05060c"), 0.03), plain("rim", srgb("8d9096"), 0.25, 1)
    parts = [slab("plate", (0.27, 0.28, 0.02), plate, corner=0.07, at=(-0.14, 0.46, 0.068))]
    places = [(-0.2, 0.52), (-0.2, 0.4), (-0.08, 0.46)][: rng.randint(2, 3)]
    for x, y in places:
        parts.append(rod("rim", (x, y, 0.08), (x, y, 0.105), 0.05, rim))
        parts.append(rod("lens", (x, y, 0.1), (x, y, 0.108), 0.04, lens))
    return parts


def keys(rng: random.Random) -> Model:
    """A bunch of keys on a ring, sometimes with a coloured tag."""
    wire = plain("wire", srgb("c8cacd"), 0.2, 1)
    parts = [ring("ring", 0.2, 0.014, wire, at=(0, 0, 0.05))]
    parts.append(ring("ring", 0.205, 0.014, wire, at=(0, 0, 0.075)))
    count = rng.randint(2, 4)
    start = rng.uniform(0, math.tau)
    for number in range(count):
        angle = start + number * rng.uniform(0.5, 0.8)
        _hang(parts, _key(rng), angle, 0.028 * number)
    if rng.random() < 0.7:
        _hang(parts, _tag(rng), start - rng.uniform(0.9, 1.4), 0.02)
    return Model(parts)


def _hang(parts: list, hung: list, angle_rad: float, height: float) -> None:
    """Turn parts that were built along x from the ring's wire to their place round the ring."""
    for part in hung:
        there = Matrix.Rotation(angle_rad, 4, "Z") @ Matrix.Translation((0.17, 0, height))
        part.matrix_world = there @ part.matrix_basis
        parts.append(part)


def _key(rng: random.Random) -> list:
    metal = plain("key", srgb(rng.choice(KEY_METALS)), 0.28, 1)
    made = []
    radius = rng.uniform(0.15, 0.19)
    for step in range(3):  # the bow: rings side by side leave the hole open
        made.append(ring("bow", radius * (0.55 + 0.2 * step), 0.02, metal, at=(radius, 0, 0.03)))
    length = rng.uniform(0.42, 0.55)
    blade = (length, 0.085, 0.035)
    first = 2 * radius - 0.02
    made.append(slab("blade", blade, metal, corner=0.02, at=(first + length / 2, 0, 0.012)))
    for tooth in range(5):
        x = first + length * (0.3 + 0.14 * tooth)
        size = (0.045, rng.uniform(0.03, 0.09), 0.033)
        made.append(slab("tooth", size, metal, corner=0.005, edge=0.004, at=(x, -0.055, 0.013)))
    return made


def _tag(rng: random.Random) -> list:
    colour = plain("tag", srgb(rng.choice(["c22b2b", "1f6f4a", "2450a4", "e0a020"])), 0.4)
    return [
        slab("tag", (0.5, 0.26, 0.05), colour, corner=0.1, at=(0.3, 0, 0.01)),
        slab("paper", (0.32, 0.15, 0.004), plain("paper", srgb("eeeade"), 0.6), corner=0.02,
             edge=0.001, at=(0.33, 0, 0.06)),
    ]  # fmt: skip


def remote(rng: random.Random) -> Model:
    """A remote control with its rows of buttons."""
    shell = plain("shell", srgb(rng.choice(["17181b", "2c2e33", "d5d6d4"])), 0.45)
    body = slab("body", (0.42, 1.55, 0.15), shell, corner=0.12, edge=0.05, at=(0, 0, 0))
    rubber = plain("rubber", srgb(rng.choice(["6d7075", "a9acb0"])), 0.7)
    parts = [body, _button((-0.12, 0.66), 0.04, plain("power", srgb("b3161c"), 0.5))]
    for row in range(rng.randint(5, 7)):
        for column in (-0.12, 0.0, 0.12):
            parts.append(_button((column, -0.12 - row * 0.095), 0.032, rubber))
    dial = plain("dial", srgb("3a3c41"), 0.35)
    parts.append(rod("dial", (0, 0.22, 0.14), (0, 0.22, 0.165), 0.15, dial))
    parts.append(rod("ok", (0, 0.22, 0.15), (0, 0.22, 0.175), 0.06, rubber))
    for number, code in enumerate(["b3161c", "1c8a3a", "d8b21a", "1f4fb0"]):
        parts.append(_button((-0.135 + number * 0.09, 0.46), 0.03, plain("key", srgb(code), 0.5)))
    return Model(parts)


def _button(where: tuple[float, float], radius: float, material):
    return rod("button", (*where, 0.13), (*where, 0.17), radius, material)


def sunglasses(rng: random.Random) -> Model:
    """Sunglasses lying open, lenses towards the camera."""
    frame = plain("frame", srgb(rng.choice(["141414", "4a2a16", "7a1420"])), 0.25)
    tint = plain("tint", srgb(rng.choice(["0b0d0c", "1b1208", "0a1420"])), 0.04)
    parts = []
    for side in (-1, 1):
        middle = side * 0.34
        outline = [(0.27, 0), (0.22, 0.17), (0, 0.21), (-0.22, 0.17), (-0.27, 0), (-0.18, -0.19),
                   (0, -0.23), (0.18, -0.19)]  # fmt: skip
        points = [(middle + x, 0.25, 0.25 + y) for x, y in outline]
        parts.append(tube("rim", points, 0.03, frame, closed=True))
        parts.append(ball("lens", (0.25, 0.02, 0.2), tint, at=(middle, 0.25, 0.24)))
        hook = [(side * 0.62, 0.25, 0.36), (side * 0.64, -0.4, 0.34), (side * 0.6, -0.85, 0.2)]
        parts.append(tube("temple", hook, 0.03, frame))
    parts.append(
        tube("bridge", [(-0.09, 0.25, 0.3), (0, 0.27, 0.34), (0.09, 0.25, 0.3)], 0.03, frame)
    )
    tilt = Matrix.Rotation(rng.uniform(-0.9, -0.5), 4, "X")
    for part in parts:
        part.matrix_world = tilt @ part.matrix_basis
    return Model(parts)
