"""Things worn or used at home: a glove, a shoe, a mug, a wooden spoon."""

import math
import random

from mathutils import Matrix

from .hand import OPEN
from .materials import Graph, plain, srgb
from .model import Model
from .shapes import revolve
from .solids import ball, moulded, tube


def glove(rng: random.Random) -> Model:
    """A rubber or knitted glove lying flat."""
    limbs = []
    for root, tip, radius in OPEN:
        slack = rng.uniform(-0.08, 0.08)
        limbs.append(((*root, 0), (tip[0], tip[1] + slack, 0), radius * 1.15, radius))
    for side in (-0.24, -0.08, 0.08, 0.24):
        limbs.append(((0.88, side, 0), (1.5, side * 0.8, 0), 0.17, 0.18))
    limbs.append(((1.4, 0.1, 0), (2.1, 0.16, 0), 0.2, 0.22))
    limbs.append(((1.4, -0.1, 0), (2.1, -0.16, 0), 0.2, 0.22))
    skin = moulded("glove", limbs, _knit(rng), voxel=0.03)
    skin.matrix_world = Matrix.Diagonal((1, 1, 0.55, 1))
    trim = plain("trim", srgb(rng.choice(["202226", "c23a2a", "2a5aa0"])), 0.8)
    cuff = moulded("cuff", [((2.05, -0.15, 0), (2.05, 0.15, 0), 0.24, 0.24)], trim)
    cuff.matrix_world = Matrix.Diagonal((1, 1, 0.6, 1)) @ Matrix.Translation((0.06, 0, 0))
    return Model([skin, cuff])


def _knit(rng: random.Random):
    graph = Graph("knit")
    here = graph.coordinates()
    rows = graph.node("TexWave", {"Vector": here, "Scale": 14.0}, bands_direction="X").outputs[
        "Fac"
    ]
    colour = srgb(rng.choice(["e0b91c", "9aa0a6", "2f6fb5", "d86a8a"]))
    graph.principled(
        {"Base Color": colour, "Roughness": 0.75, "Normal": graph.bump(rows, 0.4, 0.02)}
    )
    return graph.material


def shoe(rng: random.Random) -> Model:
    """A laced sports shoe standing on its sole."""
    cloth = plain("cloth", srgb(rng.choice(["2a3a58", "a32a2a", "d7d6d2", "2b2c2e"])), 0.85)
    white = plain("rubber", srgb("e8e6e0"), 0.6)
    sole = moulded(
        "sole",
        [
            ((-0.62, 0, 0.08), (0, 0.03, 0.08), 0.27, 0.25),
            ((0, 0.03, 0.08), (0.65, -0.02, 0.08), 0.25, 0.32),
        ],
        white,
    )
    sole.matrix_world = Matrix.Diagonal((1, 1, 0.5, 1))
    upper = [
        ((-0.6, 0, 0.3), (-0.1, 0, 0.3), 0.24, 0.25),
        ((-0.1, 0, 0.3), (0.65, -0.02, 0.16), 0.25, 0.24),
    ]
    parts = [sole, moulded("upper", upper, cloth, voxel=0.025)]
    dark = plain("inside", srgb("0e0e10"), 1.0)
    parts.append(ball("inside", (0.32, 0.16, 0.04), dark, at=(-0.42, 0, 0.52)))
    rim = [
        (-0.42 + 0.34 * math.cos(a), 0.18 * math.sin(a), 0.54)
        for a in (0, 1.05, 2.1, 3.14, 4.19, 5.24)
    ]
    parts.append(tube("rim", rim, 0.04, cloth, closed=True))
    for step in range(4):
        x, z = 0.02 + step * 0.11, 0.53 - step * 0.035
        bow = [(x, -0.15, z - 0.03), (x + 0.02, 0, z + 0.03), (x + 0.04, 0.15, z - 0.03)]
        parts.append(tube("lace", bow, 0.022, white))
    parts.append(ball("cap", (0.2, 0.24, 0.12), white, at=(0.74, -0.02, 0.17)))
    return Model(parts)


def mug(rng: random.Random) -> Model:
    """A ceramic mug with its handle, standing or fallen over."""
    glaze = plain("glaze", srgb(rng.choice(["e9e4da", "24476a", "7a2e2e", "3f5a46"])), 0.12)
    wall = [
        (0, 0.04),
        (0.36, 0),
        (0.42, 0.05),
        (0.43, 0.95),
        (0.41, 0.97),
        (0.38, 0.95),
        (0.37, 0.1),
        (0, 0.09),
    ]
    cup = revolve("cup", wall, glaze)
    handle = [(0.4, 0, 0.78), (0.62, 0, 0.76), (0.7, 0, 0.5), (0.6, 0, 0.25), (0.4, 0, 0.2)]
    parts = [cup, tube("handle", handle, 0.055, glaze)]
    band = plain("band", srgb(rng.choice(["c8862a", "f0efe8", "1e1e22"])), 0.2)
    parts.append(
        revolve(
            "band", [(0.434, 0.6), (0.436, 0.61), (0.436, 0.74), (0.434, 0.75)], band, rounded=False
        )
    )
    fallen = rng.random() < 0.5
    return Model(parts, lying=fallen, roll_rad=math.pi + rng.uniform(-1.2, 1.2))


def spoon(rng: random.Random) -> Model:
    """A wooden spoon."""
    graph = Graph("beech")
    grain = graph.noise(graph.mapped(graph.coordinates(), Scale=(0.6, 8, 8)), 3.0, 5.0)
    tones = rng.choice([("b07f48", "cfa068"), ("8a5a30", "a9774a")])
    stops = [(0.35, srgb(tones[0])), (0.65, srgb(tones[1]))]
    graph.principled({"Base Color": graph.ramp(grain, stops), "Roughness": 0.6})
    length = rng.uniform(1.5, 2.0)
    body = moulded(
        "handle", [((0, 0, 0.08), (length, 0, 0.1), 0.055, 0.075)], graph.material, voxel=0.02
    )
    bowl = revolve(
        "bowl",
        [(0, 0), (0.16, 0.02), (0.26, 0.1), (0.27, 0.13), (0.24, 0.12), (0.14, 0.06), (0, 0.04)],
        graph.material,
    )
    bowl.matrix_world = Matrix.Translation((-0.3, 0, 0)) @ Matrix.Diagonal((1.3, 1, 1, 1))
    return Model([body, bowl])
