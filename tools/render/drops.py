"""Short sequences as a camera over a bin would see them: an item falls in, a hand passes.

Little of a sequence is rendered: the empty surface, the pictures with motion in them and the
picture at rest. The camera's noise is what differs between frames in which nothing moves.
"""

import math
import random
from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils import Euler, Vector

from . import hand
from .items import NOTHING
from .scene import Shot, Stage

FPS = 10
EMPTY, REST = 5, 10  # frames before the item comes, frames it lies still
SEEN_LEVELS, SEEN_SHARE = 24, 0.01  # so different from the empty surface, in so many pixels
SHUTTER = 0.35  # of the time between frames, i.e. 35 ms


@dataclass(frozen=True, slots=True)
class Sequence:
    """Frames without noise, and where in them things happen."""

    frames: list[np.ndarray]  # (h, w, 3) uint8 RGB
    first_in_view: int | None = None
    first_at_rest: int | None = None


def drop(shot: Shot) -> Sequence:
    """An item comes in from one side, falling, and lies still."""
    stage = Stage(shot)
    rng = random.Random(f"drop {shot.item} {shot.surface} {shot.seed}")
    before = [stage.empty()] * EMPTY
    moving = _moving(stage, _fall(stage.extent, rng))
    after = [stage.picture()] * REST
    return Sequence([*before, *moving, *after], _first_seen(before[0], moving), EMPTY + len(moving))


def reach(shot: Shot) -> Sequence:
    """A hand reaches in and goes again; nothing is left behind."""
    stage = Stage(replace(shot, item=NOTHING))
    rng = random.Random(f"hand {shot.surface} {shot.seed}")
    empty = stage.picture()
    stage.carry(hand.arm(rng))
    moving = _moving(stage, _in_and_out(rng))
    frames = [*[empty] * EMPTY, *moving, *[empty] * (REST - 2)]
    return Sequence(frames, _first_seen(empty, moving))


def light(shot: Shot) -> Sequence:
    """The lamp is switched on half way; nothing else happens."""
    stage = Stage(replace(shot, item=NOTHING))
    lit = stage.picture()
    stage.dim(0.16)
    dark = stage.picture()
    halfway = np.round((lit.astype(np.float32) + dark) / 2).astype(np.uint8)
    return Sequence([*[dark] * 8, halfway, *[lit] * 9])


def _first_seen(empty: np.ndarray, moving: list[np.ndarray]) -> int:
    """Return the number of the frame that first shows the item, its hand or a clear shadow."""
    for number, pixels in enumerate(moving, EMPTY):
        off = np.abs(pixels.astype(np.int16) - empty).max(axis=2)
        if (off > SEEN_LEVELS).mean() >= SEEN_SHARE:
            return number
    return EMPTY + len(moving)


Place = tuple[Vector, Euler]  # of the carrier


def _fall(extent: float, rng: random.Random) -> list[Place]:
    """Return where the item is at each frame, from outside the picture to its rest."""
    side = rng.choice([-1, 1]) * rng.uniform(0.3, 1.2)
    away = Vector((math.sin(side), math.cos(side), 0)) * (1.25 * extent + 0.2)
    spin, tumble = rng.uniform(-1.4, 1.4), rng.uniform(-0.5, 0.5)
    path = []
    for share in (1.15, 0.68, 0.36, 0.1, 0.0):
        lifted = away * share + Vector((0, 0, 0.45 * extent * share))
        path.append((lifted, Euler((tumble * share, 0, spin * share))))
    return path


def _in_and_out(rng: random.Random) -> list[Place]:
    angle = rng.uniform(0.9, 2.2)  # from the far side, where people stand
    away = Vector((math.cos(angle), math.sin(angle), 0))
    path = []
    for share in (2.4, 1.2, 0.2, -0.6, -0.8, 0.0, 1.1, 2.4):
        path.append((away * share + Vector((0, 0, 0.7)), Euler((0, 0, angle))))
    return path


def _moving(stage: Stage, path: list[Place]) -> list[np.ndarray]:
    """Return pictures, blurred by motion, of all places but the first and the last."""
    carrier = stage.carrier
    for number, (place, turn) in enumerate(path):
        carrier.location, carrier.rotation_euler = place, turn
        carrier.keyframe_insert("location", frame=number)
        carrier.keyframe_insert("rotation_euler", frame=number)
    for curve in carrier.animation_data.action.fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    scene = bpy.context.scene
    scene.render.use_motion_blur = True
    scene.render.motion_blur_shutter = SHUTTER
    pictures = []
    for number in range(1, len(path) - 1):
        scene.frame_set(number)
        pictures.append(stage.picture())
    scene.render.use_motion_blur = False
    scene.frame_set(len(path) - 1)
    return pictures
