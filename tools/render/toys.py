"""Toys: building bricks, a car, a bear, a ball."""

import math
import random

from mathutils import Matrix

from .drawing import canvas
from .materials import Graph, plain, printed, srgb
from .model import Model
from .solids import ball, moulded, rod, slab

BRIGHT = ["d01f26", "1d57b0", "f2c015", "1f8f3f", "f07f1c"]
FURS = ["8a5a32", "b98a5a", "5d3c22", "d8c4a4"]
PITCH = 0.24  # between studs


def bricks(rng: random.Random) -> Model:
    """One to three building bricks with studs, lying apart or on each other."""
    parts = []
    for number in range(rng.randint(2, 3)):
        made = _brick(rng)
        height = 0.0 if number < 2 else 0.29
        where = Matrix.Translation((0.0, (number % 2) * 0.68, height))
        turn = Matrix.Rotation(rng.uniform(-0.35, 0.35), 4, "Z")
        for part in made:
            part.matrix_world = where @ turn @ part.matrix_basis
        parts += made
    return Model(parts)


def _brick(rng: random.Random) -> list:
    colour = plain("brick", srgb(rng.choice(BRIGHT)), 0.22)
    columns = rng.choice([3, 4])
    made = [
        slab(
            "brick",
            (columns * PITCH, 2 * PITCH, 0.29),
            colour,
            corner=0.01,
            edge=0.01,
            at=(0, 0, 0),
        )
    ]
    for column in range(columns):
        for row in range(2):
            x, y = (column - (columns - 1) / 2) * PITCH, (row - 0.5) * PITCH
            made.append(rod("stud", (x, y, 0.28), (x, y, 0.34), 0.072, colour))
    return made


def car(rng: random.Random) -> Model:
    """A small car on its wheels, sometimes on its side."""
    paint = plain("paint", srgb(rng.choice(BRIGHT)), 0.15)
    glass, tyre = plain("window", srgb("0c1218"), 0.05), plain("tyre", srgb("121212"), 0.8)
    hub = plain("hub", srgb("c5c7ca"), 0.3, 1)
    parts = [
        slab("body", (1.3, 0.56, 0.2), paint, corner=0.14, edge=0.06, at=(0, 0, 0.1)),
        slab("windows", (0.68, 0.47, 0.16), glass, corner=0.1, edge=0.05, at=(-0.08, 0, 0.28)),
        slab("roof", (0.5, 0.44, 0.04), paint, corner=0.1, edge=0.02, at=(-0.08, 0, 0.43)),
    ]
    for x in (-0.4, 0.4):
        for side in (-1, 1):
            parts.append(rod("tyre", (x, side * 0.2, 0.13), (x, side * 0.31, 0.13), 0.13, tyre))
            parts.append(rod("hub", (x, side * 0.3, 0.13), (x, side * 0.32, 0.13), 0.07, hub))
    for side in (-0.17, 0.17):
        lamp = plain("lamp", srgb("f4efd8"), 0.1)
        parts.append(ball("lamp", (0.03, 0.06, 0.04), lamp, at=(0.64, side, 0.22)))
    roll = Matrix.Rotation(rng.choice([0.0, 0.0, math.pi / 2]), 4, "X")
    for part in parts:
        part.matrix_world = roll @ part.matrix_basis
    return Model(parts)


def bear(rng: random.Random) -> Model:
    """A stuffed bear on its back, arms and legs spread."""
    fur = _fur(srgb(rng.choice(FURS)))
    bend = [rng.uniform(-0.12, 0.12) for _ in range(4)]
    limbs = [
        ((0, -0.15, 0.3), (0, 0.15, 0.3), 0.36, 0.3),
        ((0, 0.6, 0.34), (0, 0.64, 0.36), 0.3, 0.28),
    ]
    for number, side in enumerate((-1, 1)):
        limbs.append(((side * 0.2, 0.2, 0.3), (side * 0.62, 0.25 + bend[number], 0.2), 0.14, 0.13))
        limbs.append(
            ((side * 0.2, -0.35, 0.25), (side * 0.42, -0.8 + bend[number + 2], 0.2), 0.17, 0.16)
        )
        limbs.append(((side * 0.22, 0.84, 0.36), (side * 0.24, 0.87, 0.36), 0.1, 0.1))
    pale, black = _fur(srgb("dcc7a2")), plain("eye", srgb("050505"), 0.1)
    parts = [moulded("bear", limbs, fur, voxel=0.03)]
    parts.append(ball("muzzle", (0.14, 0.11, 0.1), pale, at=(0, 0.54, 0.62)))
    parts.append(ball("belly", (0.22, 0.26, 0.1), pale, at=(0, -0.05, 0.6)))
    parts.append(ball("nose", (0.05, 0.035, 0.03), black, at=(0, 0.58, 0.72)))
    for side in (-1, 1):
        parts.append(ball("eye", (0.035, 0.035, 0.035), black, at=(side * 0.11, 0.7, 0.62)))
    return Model(parts)


def _fur(colour):
    graph = Graph("fur")
    tufts = graph.noise(graph.coordinates(), scale=45.0, detail=4.0, roughness=0.7)
    dark = tuple(level * 0.5 for level in colour)
    tones = graph.ramp(tufts, [(0.3, dark), (0.7, colour)])
    graph.principled(
        {"Base Color": tones, "Roughness": 1.0, "Normal": graph.bump(tufts, 0.9, 0.05)}
    )
    return graph.material


def beach_ball(rng: random.Random) -> Model:
    """A ball in bright segments, or a grey and white one in patches."""
    image, draw = canvas(960, 320, "white")
    tones = ["#" + code for code in rng.sample(BRIGHT, 3)]
    for number in range(6):
        fill = "#f4f4f2" if number % 2 else tones[number // 2]
        draw.rectangle([number * 160, 0, number * 160 + 159, 319], fill=fill)
    draw.rectangle([0, 0, 959, 14], fill="#f4f4f2")
    sphere = ball("ball", (0.6, 0.6, 0.6), printed("panels", image, 0.25))
    turn = Matrix.Rotation(rng.uniform(0.3, 1.2), 4, "X") @ Matrix.Rotation(
        rng.uniform(0, 6), 4, "Z"
    )
    sphere.matrix_world = turn
    return Model([sphere])
