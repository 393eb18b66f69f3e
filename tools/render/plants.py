"""Things that grow: a potted plant, a twig with leaves, a cut flower, an apple."""

import math
import random

from mathutils import Matrix

from .materials import Graph, plain, srgb
from .model import Model
from .shapes import revolve
from .solids import leaf, rod, tube

GREENS = ["2f6b2a", "4c8a35", "3c7a52", "6d8f2f"]
PETALS = ["d8324a", "f0c628", "e9e6ee", "b45ad0", "f08a2a"]


def _green(rng: random.Random):
    """Return leaf tissue: darker between the veins, half shiny."""
    graph = Graph("leaf")
    shade = graph.noise(graph.coordinates("UV"), scale=9.0, detail=4.0)
    code = srgb(rng.choice(GREENS))
    dark = tuple(level * 0.55 for level in code)
    graph.principled(
        {"Base Color": graph.ramp(shade, [(0.35, dark), (0.65, code)]), "Roughness": 0.4}
    )
    return graph.material


def potted(rng: random.Random) -> Model:
    """A pot with a rosette of leaves over it, seen from above."""
    clay = plain("clay", srgb(rng.choice(["a9552f", "d9d4ca", "39414a"])), 0.8)
    profile = [
        (0, 0),
        (0.34, 0),
        (0.44, 0.62),
        (0.5, 0.62),
        (0.5, 0.76),
        (0.44, 0.76),
        (0.42, 0.6),
        (0, 0.6),
    ]
    pot = revolve("pot", profile, clay)
    soil = revolve(
        "soil", [(0.43, 0.64), (0.2, 0.67), (0, 0.66)], plain("soil", srgb("2a1c12"), 1.0)
    )
    green = _green(rng)
    parts = [pot, soil]
    count = rng.randint(9, 14)
    for number in range(count):
        length = rng.uniform(0.55, 0.95)
        blade = leaf("leaf", length, rng.uniform(0.22, 0.36), green, arch=rng.uniform(0.1, 0.3))
        rise = Matrix.Rotation(-rng.uniform(0.2, 1.0), 4, "Y")
        around = Matrix.Rotation(number * math.tau * 0.382 + rng.uniform(-0.2, 0.2), 4, "Z")
        blade.matrix_world = Matrix.Translation((0, 0, 0.64)) @ around @ rise
        parts.append(blade)
    return Model(parts)


def twig(rng: random.Random) -> Model:
    """A fallen twig with leaves on both sides."""
    bark, green = plain("bark", srgb("5a4028"), 0.9), _green(rng)
    bend = rng.uniform(-0.2, 0.2)
    line = [(x, bend * math.sin(x * 2), 0.05) for x in (-0.8, -0.3, 0.2, 0.7)]
    parts = [tube("stem", line, 0.022, bark)]
    for number in range(rng.randint(5, 8)):
        x = -0.55 + number * 0.19
        side = 1 if number % 2 else -1
        blade = leaf(
            "leaf", rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.3), green, arch=0.08, cup=0.15
        )
        turn = Matrix.Rotation(side * rng.uniform(0.5, 1.1), 4, "Z")
        blade.matrix_world = Matrix.Translation((x, bend * math.sin(x * 2), 0.06)) @ turn
        parts.append(blade)
    return Model(parts)


def flower(rng: random.Random) -> Model:
    """A cut flower lying on its side: stem, two leaves, a head of petals turned upwards."""
    green = _green(rng)
    petal = plain("petal", srgb(rng.choice(PETALS)), 0.6)
    parts = [tube("stem", [(-1.3, -0.1, 0.04), (-0.6, 0.06, 0.05), (0, 0, 0.12)], 0.028, green)]
    count = rng.randint(8, 13)
    for number in range(count):
        blade = leaf("petal", rng.uniform(0.36, 0.46), 0.17, petal, arch=0.05, cup=0.1)
        turn = Matrix.Rotation(number * math.tau / count, 4, "Z")
        lift = Matrix.Rotation(-rng.uniform(0.05, 0.35), 4, "Y")
        blade.matrix_world = Matrix.Translation((0, 0, 0.14)) @ turn @ lift
        parts.append(blade)
    yellow = plain("middle", srgb("8a5a12"), 0.95)
    parts.append(rod("middle", (0, 0, 0.1), (0, 0, 0.22), 0.14, yellow, tip=0.1))
    for x, side in ((-0.9, 1), (-0.65, -1)):
        blade = leaf("leaf", 0.5, 0.18, green, arch=0.1)
        blade.matrix_world = Matrix.Translation((x, 0, 0.05)) @ Matrix.Rotation(side * 0.6, 4, "Z")
        parts.append(blade)
    return Model(parts)


def apple(rng: random.Random) -> Model:
    """An apple with its stalk, red over yellow or green."""
    graph = Graph("peel")
    blush = graph.noise(graph.coordinates(), scale=1.6, detail=6.0)
    tones = rng.choice([("b01b20", "e2b640"), ("7fa82e", "b8c95a"), ("8a1420", "c2452f")])
    stops = [(0.4, srgb(tones[0])), (0.65, srgb(tones[1]))]
    graph.principled({"Base Color": graph.ramp(blush, stops), "Roughness": 0.25})
    profile = [(0, 0.1), (0.12, 0.04), (0.3, 0.03), (0.45, 0.25), (0.5, 0.5), (0.42, 0.74),
               (0.25, 0.82), (0.1, 0.76), (0, 0.66)]  # fmt: skip
    body = revolve("apple", profile, graph.material)
    stalk = tube(
        "stalk",
        [(0, 0, 0.64), (0.02, 0, 0.8), (0.08, 0.02, 0.95)],
        0.02,
        plain("wood", srgb("4a3018"), 0.9),
    )
    parts = [body, stalk]
    tilt = Matrix.Rotation(rng.uniform(-0.7, 0.7), 4, "X")
    for part in parts:
        part.matrix_world = tilt @ part.matrix_basis
    return Model(parts)
