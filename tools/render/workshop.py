"""Hand tools: a screwdriver, a hammer, pliers."""

import math
import random

from .materials import Graph, plain, srgb
from .model import Model
from .shapes import revolve
from .solids import moulded, rod, slab

GRIPS = ["c8251e", "e0a113", "1d5fae", "1f1f21", "2f8a45"]


def _steel():
    return plain("tool steel", srgb("a5a8ab"), 0.3, 1)


def screwdriver(rng: random.Random) -> Model:
    """A fluted plastic handle, a round blade with a flat or a pointed tip."""
    grip = plain("grip", srgb(rng.choice(GRIPS)), 0.3)
    profile = [(0, 0), (0.1, 0), (0.135, 0.06), (0.14, 0.5), (0.1, 0.62), (0.125, 0.72),
               (0.06, 0.78), (0, 0.78)]  # fmt: skip
    handle = revolve("handle", profile, grip, warp=_flutes)
    collar = revolve(
        "collar",
        [(0.142, 0.1), (0.145, 0.11), (0.145, 0.17), (0.142, 0.18)],
        plain("band", srgb("111112"), 0.6),
    )
    steel = _steel()
    end = 0.78 + rng.uniform(0.8, 1.15)
    shaft = rod("shaft", (0, 0, 0.75), (0, 0, end), 0.04, steel)
    if rng.random() < 0.5:
        tip = rod("tip", (0, 0, end), (0, 0, end + 0.1), 0.04, steel, tip=0.008)
    else:
        tip = slab("tip", (0.03, 0.1, 0.12), steel, corner=0.01, edge=0.005, at=(0, 0, end - 0.01))
    return Model([handle, collar, shaft, tip], lying=True, roll_rad=rng.uniform(0, math.tau))


def _flutes(angle: float, height: float) -> float:
    return 1 - 0.07 * (0.08 < height < 0.55) * (0.5 + 0.5 * math.cos(angle * 8))


def hammer(rng: random.Random) -> Model:
    """A claw hammer with a handle of ash wood, or of steel with a rubber grip."""
    steel = plain("head", srgb("55585b"), 0.35, 1)
    parts = []
    if rng.random() < 0.6:
        parts.append(rod("handle", (0, 0, 0), (0, 0, 2.1), 0.085, _ash(), tip=0.065))
    else:
        parts.append(rod("handle", (0, 0, 0.8), (0, 0, 2.1), 0.055, steel))
        parts.append(
            rod("grip", (0, 0, 0), (0, 0, 0.95), 0.1, plain("grip", srgb(rng.choice(GRIPS)), 0.8))
        )
    parts.append(rod("neck", (0, -0.12, 2.12), (0, 0.42, 2.12), 0.1, steel))
    parts.append(rod("face", (0, 0.38, 2.12), (0, 0.52, 2.12), 0.15, steel))
    for side in (-0.055, 0.055):
        claw = [((0, -0.1, 2.13), (side, -0.34, 2.12), 0.09, 0.06)]
        claw.append(((side, -0.34, 2.12), (side * 1.5, -0.58, 1.98), 0.06, 0.025))
        parts.append(moulded("claw", claw, steel, voxel=0.015))
    return Model(parts, lying=True, roll_rad=0.0)


def _ash():
    graph = Graph("ash wood")
    here = graph.mapped(graph.coordinates(), Scale=(6, 6, 0.5))
    grain = graph.noise(here, scale=4.0, detail=5.0)
    tones = graph.ramp(grain, [(0.35, srgb("b98a52")), (0.65, srgb("d8b27a"))])
    graph.principled({"Base Color": tones, "Roughness": 0.5})
    return graph.material


def pliers(rng: random.Random) -> Model:
    """Two crossed arms, half open, their handles dipped in plastic."""
    steel, dip = _steel(), plain("dip", srgb(rng.choice(GRIPS)), 0.45)
    spread = rng.uniform(0.6, 1.1)
    parts = [rod("pivot", (0, 0, -0.02), (0, 0, 0.16), 0.1, steel)]
    for side in (-1, 1):
        jaw = [((side * 0.02, -0.1, 0.07), (-side * 0.1 * spread, 0.2, 0.07), 0.09, 0.08)]
        jaw.append(
            ((-side * 0.1 * spread, 0.2, 0.07), (-side * 0.05 * spread, 0.52, 0.07), 0.08, 0.035)
        )
        jaw.append(((side * 0.02, -0.1, 0.07), (side * 0.14, -0.3, 0.07), 0.09, 0.06))
        parts.append(moulded("jaw", jaw, steel, voxel=0.015))
        grip = [((side * 0.14, -0.3, 0.07), (side * 0.32 * spread, -0.75, 0.07), 0.075, 0.085)]
        foot = (side * 0.26 * spread, -1.35, 0.07)
        grip.append(((side * 0.32 * spread, -0.75, 0.07), foot, 0.085, 0.07))
        parts.append(moulded("grip", grip, dip, voxel=0.015))
    return Model(parts)
