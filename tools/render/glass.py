"""Glass: a beer bottle, a wine bottle, a jam jar."""

import math
import random

from . import labels
from .materials import clear, plain, printed, srgb
from .model import Model, slightly
from .shapes import revolve

BROWN = ((0.70, 0.47, 0.21), (0.55, 0.33, 0.13))  # by sight, in the shadow
GREEN = ((0.42, 0.66, 0.34), (0.30, 0.46, 0.22))
DARK_GREEN = ((0.28, 0.46, 0.20), (0.18, 0.28, 0.12))
CLEAR = ((0.95, 0.98, 0.965), (0.88, 0.91, 0.90))


def beer(rng: random.Random) -> Model:
    glass = clear("bottle glass", *rng.choice([BROWN, BROWN, BROWN, GREEN]), ripple=0.05)
    foot = [(0, 0.06), (0.2, 0.03), (0.27, 0), (0.305, 0.05)]
    shoulder = [(0.305, 1.25), (0.29, 1.42), (0.2, 1.62), (0.155, 1.75), (0.135, 2.1)]
    lip = [(0.132, 2.18), (0.147, 2.19), (0.147, 2.26), (0.125, 2.3), (0.1, 2.3)]
    inside = [(0.095, 2.2), (0.11, 1.75), (0.155, 1.6), (0.25, 1.4), (0.272, 1.25), (0.272, 0.1)]
    bottle = revolve("bottle", foot + shoulder + lip + inside + [(0.22, 0.07), (0, 0.1)], glass)
    paper = printed("label", labels.beer(rng), 0.45, "EXTEND")
    front = [(0.307, 0.32), (0.307, 1.12)]
    foil = plain("foil", srgb(rng.choice(["b08a3a", "b9b9bc", "8c2222"])), 0.3, 0.9)
    objects = [
        bottle,
        revolve("front", front, paper, arc=(-1.35, 1.35), rounded=False),
        revolve("neck", [(0.1535, 1.79), (0.1425, 2.03)], foil, rounded=False),
    ]
    roll = math.pi + rng.uniform(-0.6, 0.6)
    return Model(objects, lying=True, roll_rad=roll, proportions=slightly(rng))


def wine(rng: random.Random) -> Model:
    glass = clear("bottle glass", *rng.choice([DARK_GREEN, DARK_GREEN, GREEN, CLEAR]), ripple=0.05)
    punt = [(0, 0.22), (0.16, 0.12), (0.3, 0.0), (0.36, 0.05)]
    shoulder = [(0.365, 1.62), (0.35, 1.78), (0.26, 1.95), (0.165, 2.1), (0.145, 2.3)]
    lip = [(0.14, 2.82), (0.16, 2.83), (0.16, 2.92), (0.145, 2.94), (0.105, 2.94)]
    inside = [(0.1, 2.3), (0.12, 2.1), (0.22, 1.93), (0.31, 1.76), (0.33, 1.6), (0.33, 0.14)]
    bottle = revolve("bottle", punt + shoulder + lip + inside + [(0.16, 0.18), (0, 0.26)], glass)
    paper = printed("label", labels.wine(rng), 0.55, "EXTEND")
    front = revolve("front", [(0.367, 0.5), (0.367, 1.3)], paper, arc=(-1.1, 1.1), rounded=False)
    objects = [bottle, front]
    if rng.random() < 0.5:  # else the capsule went with the cork
        foil = plain("capsule", srgb(rng.choice(["5a1620", "1c1c20", "a88a44"])), 0.35, 0.6)
        capsule = [(0.152, 2.32), (0.147, 2.8), (0.166, 2.82), (0.166, 2.925)]
        objects.append(revolve("capsule", capsule, foil))
    roll = math.pi + rng.uniform(-0.7, 0.7)
    return Model(objects, lying=True, roll_rad=roll, proportions=slightly(rng))


def jar(rng: random.Random) -> Model:
    glass = clear("jar glass", *CLEAR, ripple=0.04)
    outside = [(0, 0.03), (0.34, 0.0), (0.39, 0.05), (0.395, 0.86), (0.36, 0.95), (0.34, 0.98)]
    inside = [(0.34, 1.12), (0.31, 1.12), (0.31, 0.97), (0.335, 0.94), (0.365, 0.85), (0.36, 0.09)]
    objects = [revolve("jar", outside + inside + [(0.33, 0.05), (0, 0.06)], glass)]
    paper = printed("label", labels.jam(rng), 0.5, "EXTEND")
    front = [(0.398, 0.2), (0.398, 0.72)]
    objects.append(revolve("front", front, paper, arc=(-1.2, 1.2), rounded=False))
    if rng.random() < 0.6:
        objects.append(_screw_lid(rng))
    roll = math.pi + rng.uniform(-0.8, 0.8)
    return Model(objects, lying=True, roll_rad=roll, proportions=slightly(rng, 0.1))


def _screw_lid(rng: random.Random):
    tinted = plain("lid", srgb(rng.choice(["b8963c", "a81f24", "e6e6e2", "1f4f9a"])), 0.3, 0.7)
    profile = [(0, 1.15), (0.34, 1.15), (0.375, 1.13), (0.38, 0.99), (0.365, 0.985)]
    knurled = revolve("lid", profile, tinted, segments=240, warp=_knurl)
    return knurled


def _knurl(angle: float, height: float) -> float:
    return 1 + 0.008 * math.cos(60 * angle) * (height < 1.12)
