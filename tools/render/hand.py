"""A hand and forearm that reach into the picture: what a bin must not take for an item."""

import random

import bmesh

from .materials import plain, srgb
from .shapes import add_object
from .solids import limb, melt

SKINS = ["e0ac8a", "c68a66", "9a6244", "6b4330"]
SLEEVES = ["2a3c60", "3a3d40", "7a2430"]
OPEN = [  # root and tip in the palm's plane, thickness; the thumb last
    ((0.86, -0.30), (0.22, -0.36), 0.095),
    ((0.84, -0.10), (0.04, -0.11), 0.105),
    ((0.86, 0.11), (0.10, 0.13), 0.10),
    ((0.92, 0.30), (0.34, 0.37), 0.085),
    ((1.32, -0.36), (0.80, -0.72), 0.115),
]


FIST = [
    ((0.86, -0.30), (0.62, -0.28), 0.125),
    ((0.84, -0.10), (0.56, -0.09), 0.135),
    ((0.86, 0.11), (0.58, 0.10), 0.13),
    ((0.92, 0.30), (0.66, 0.28), 0.115),
    ((1.30, -0.36), (0.72, -0.40), 0.115),
]
POINTING = [OPEN[0], *FIST[1:]]
SPREAD = [
    ((0.86, -0.30), (0.28, -0.58), 0.095),
    ((0.84, -0.10), (0.06, -0.18), 0.105),
    ((0.86, 0.11), (0.12, 0.26), 0.10),
    ((0.92, 0.30), (0.40, 0.62), 0.085),
    ((1.32, -0.36), (0.94, -0.92), 0.115),
]
POSES = (OPEN, SPREAD, POINTING, FIST)


def arm(rng: random.Random, fingers=OPEN) -> list:
    """Return a hand whose fingertips touch the origin, its forearm along the x axis."""
    work = bmesh.new()
    for root, tip, radius in fingers:
        limb(work, (*root, 0.05), (*tip, rng.uniform(-0.14, 0.02)), radius, radius * 0.82)
    for side in (-0.24, -0.08, 0.08, 0.24):
        limb(work, (0.88, side, 0.05), (1.5, side * 0.6, 0.08), 0.17, 0.2)
    limb(work, (1.4, 0, 0.08), (3.2, 0, 0.2), 0.26, 0.38)
    skin = add_object("hand", work, plain("skin", srgb(rng.choice(SKINS)), 0.5))
    melt(skin)
    cloth = bmesh.new()
    limb(cloth, (2.5, 0, 0.18), (6.0, 0, 0.4), 0.46, 0.56)
    sleeve = add_object("sleeve", cloth, plain("sleeve", srgb(rng.choice(SLEEVES)), 0.9))
    return [skin, sleeve]
