"""Other light on a built scene: dim, dark, from one side, and shadows of what the camera misses."""

import math
import random

import bpy
from mathutils import Matrix, Vector

from .materials import plain, srgb
from .solids import moulded, slab

SHADOW_HEIGHT = 1.1  # above the surface, unseen by the camera
REACH = 2.6  # a shadow caster this far from the middle leaves the picture alone


def set_light(stage, light: str, rng: random.Random) -> None:
    """Change the light of a stage; light is one of plan.LIGHTS."""
    if light == "bright":
        stage.dim(1.45)
    elif light == "dim":
        stage.dim(0.4)
    elif light == "dark":
        stage.dim(0.09)
    elif light == "uneven":
        stage.dim(0.35)
        _spot(rng, 260)
    elif light == "warm":
        stage.dim(0.9, colour=(1.0, 0.72, 0.45))
    elif light in ("shadow", "shadows"):
        sharpen(stage)
        cast(rng, rng.uniform(-0.5, 0.5))
        if light == "shadows":
            cast(rng, rng.uniform(-1.4, 1.4))


def sharpen(stage) -> None:
    """Make the lamp small and the room dimmer, so that shadows have edges."""
    stage.lamp.size, stage.lamp.size_y = 0.9, 0.9
    stage.lamp.energy *= 1.1
    stage.room.inputs["Strength"].default_value *= 0.6


def cast(rng: random.Random, shift: float):
    """Hang something over the surface that only its shadow shows; return it."""
    form = rng.choice(["plank", "arm", "bars"])
    paper = plain("caster", srgb("202020"), 1.0)
    if form == "plank":
        size = (0.7 + rng.random(), 7, 0.05)
        parts = [slab("caster", size, paper, corner=0.02, at=(0, 0, 0))]
    elif form == "arm":
        limbs = [((-0.2, 0, 0), (3.5, 0, 0), 0.3, 0.5), ((-0.2, 0, 0), (-0.8, 0.1, 0), 0.2, 0.12)]
        parts = [moulded("caster", limbs, paper)]
    else:
        size = (0.22, 7, 0.05)
        parts = [slab("caster", size, paper, corner=0.02, at=(0.8 * n, 0, 0)) for n in (-1, 0, 1)]
    holder = bpy.data.objects.new("caster", None)
    bpy.context.scene.collection.objects.link(holder)
    for part in parts:
        part.parent = holder
        part.visible_camera = part.visible_glossy = part.visible_transmission = False
    turn = Matrix.Rotation(rng.uniform(-0.7, 0.7), 4, "Z")
    holder.matrix_world = Matrix.Translation(over_view(shift)) @ turn
    return holder


def over_view(shift: float) -> Vector:
    """Return where a caster hangs; at shift 0 its shadow is about the picture's middle."""
    lamp = bpy.data.objects["panel"].location
    towards = lamp / lamp.z * SHADOW_HEIGHT
    return Vector((towards.x + shift, towards.y, SHADOW_HEIGHT))


def _spot(rng: random.Random, energy: float) -> None:
    """Shine a lamp on one part of the surface from the side."""
    light = bpy.data.lights.new("spot", "SPOT")
    light.energy, light.spot_blend = energy, rng.uniform(0.3, 0.9)
    light.spot_size = math.radians(rng.uniform(22, 38))
    light.shadow_soft_size = 0.15
    lamp = bpy.data.objects.new("spot", light)
    bpy.context.scene.collection.objects.link(lamp)
    lamp.location = (rng.choice([-1, 1]) * rng.uniform(2, 3), rng.uniform(-1, 2), 3.0)
    at = Vector((rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 0.4), 0))
    lamp.rotation_euler = (at - lamp.location).to_track_quat("-Z", "Y").to_euler()
