"""A hand and forearm that reach into the picture: what a bin must not take for an item."""

import random

import bmesh
from mathutils import Matrix, Vector

from .materials import plain, srgb
from .shapes import add_object

SKINS = ["e0ac8a", "c68a66", "9a6244", "6b4330"]
SLEEVES = ["2a3c60", "3a3d40", "7a2430"]
FINGERS = [  # root and tip in the palm's plane, thickness; the thumb last
    ((0.86, -0.30), (0.22, -0.36), 0.095),
    ((0.84, -0.10), (0.04, -0.11), 0.105),
    ((0.86, 0.11), (0.10, 0.13), 0.10),
    ((0.92, 0.30), (0.34, 0.37), 0.085),
    ((1.32, -0.36), (0.80, -0.72), 0.115),
]


def arm(rng: random.Random) -> list:
    """Return a hand whose fingertips touch the origin, its forearm along the x axis."""
    work = bmesh.new()
    for root, tip, radius in FINGERS:
        _limb(work, (*root, 0.05), (*tip, rng.uniform(-0.14, 0.02)), radius, radius * 0.82)
    for side in (-0.24, -0.08, 0.08, 0.24):
        _limb(work, (0.88, side, 0.05), (1.5, side * 0.6, 0.08), 0.17, 0.2)
    _limb(work, (1.4, 0, 0.08), (3.2, 0, 0.2), 0.26, 0.38)
    skin = add_object("hand", work, plain("skin", srgb(rng.choice(SKINS)), 0.5))
    _melt(skin)
    cloth = bmesh.new()
    _limb(cloth, (2.5, 0, 0.18), (6.0, 0, 0.4), 0.46, 0.56)
    sleeve = add_object("sleeve", cloth, plain("sleeve", srgb(rng.choice(SLEEVES)), 0.9))
    return [skin, sleeve]


def _limb(work, start, stop, first: float, last: float) -> None:
    """Add a cone with round ends."""
    start, stop = Vector(start), Vector(stop)
    along = stop - start
    turn = along.to_track_quat("Z", "Y").to_matrix().to_4x4()
    middle = Matrix.Translation((start + stop) / 2) @ turn
    ends = {"radius1": first, "radius2": last, "depth": along.length}
    bmesh.ops.create_cone(work, cap_ends=True, segments=24, matrix=middle, **ends)
    for where, radius in ((start, first), (stop, last)):
        place = Matrix.Translation(where)
        bmesh.ops.create_uvsphere(work, u_segments=20, v_segments=12, radius=radius, matrix=place)


def _melt(target) -> None:
    """Join the overlapping parts into one skin."""
    joined = target.modifiers.new("join", "REMESH")
    joined.mode = "VOXEL"
    joined.voxel_size = 0.035
    joined.use_smooth_shade = True
    soft = target.modifiers.new("soft", "SMOOTH")
    soft.iterations = 8
