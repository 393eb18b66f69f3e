"""Metal: a crumpled drinks can, an opened food tin."""

import math
import random

import bpy

from . import labels
from .materials import Graph, grey, plain, printed, srgb
from .model import Model, slightly
from .shapes import Crease, crease, revolve


def can(rng: random.Random) -> Model:
    alloy = plain("alloy", srgb("d8d9db"), 0.24, 1)
    foot = [(0, 0.10), (0.12, 0.085), (0.2, 0.03), (0.23, 0), (0.25, 0), (0.27, 0.03), (0.33, 0.1)]
    wall = [(0.33, 0.1 + 0.0125 * step) for step in range(77)]
    rim = [(0.285, 1.14), (0.265, 1.18), (0.277, 1.2), (0.272, 1.22), (0.262, 1.22)]
    lid = [(0.25, 1.165), (0.24, 1.16), (0.225, 1.175), (0, 1.175)]
    shell = [
        revolve("foot", foot, alloy),
        revolve("wall", [*wall, (0.285, 1.14)], _can_print(rng), segments=220),
        revolve("lid", rim + lid, alloy),
    ]
    crease(shell, _creases(rng), wobble=0.01)
    objects = [*shell, *_ring_pull(alloy)]
    return Model(objects, lying=True, roll_rad=rng.uniform(0, math.tau), proportions=slightly(rng))


def _can_print(rng: random.Random):
    graph = Graph("can print")
    waves = graph.noise(graph.coordinates(), scale=5.0, detail=5.0)
    graph.principled(
        {
            "Base Color": graph.picture(labels.can(rng), "EXTEND"),
            "Metallic": 0.9,
            "Roughness": graph.ramp(waves, [(0.3, grey(0.2)), (0.7, grey(0.38))]),
            "Normal": graph.bump(waves, 0.12, 0.02),
        }
    )
    return graph.material


def _creases(rng: random.Random) -> list[Crease]:
    creases = []
    for number in range(rng.randint(3, 5)):
        creases.append(
            Crease(
                angle_rad=number * 1.3 + rng.uniform(-0.5, 0.5),
                height=rng.uniform(0.38, 0.9),
                depth=rng.uniform(0.04, 0.1),
                half_height=rng.uniform(0.12, 0.21),
                cut=rng.uniform(0.25, 0.5),
                tilt=rng.uniform(-0.15, 0.15),
            )
        )
    return creases


def _ring_pull(alloy) -> list:
    """Return the tab, its rivet and the open mouth of a drinks can."""
    bpy.ops.curve.primitive_bezier_circle_add(radius=1)
    tab = bpy.context.object
    tab.scale = (0.075, 0.125, 0.06)
    tab.location = (0.05, 0, 1.195)
    tab.rotation_euler = (0, 0, math.pi / 2)
    tab.data.bevel_depth = 0.16
    tab.data.dimensions = "3D"
    tab.data.materials.append(alloy)
    bpy.ops.mesh.primitive_cylinder_add(radius=0.03, depth=0.03, location=(0, 0, 1.19))
    rivet = bpy.context.object
    rivet.data.materials.append(alloy)
    bpy.ops.mesh.primitive_cylinder_add(depth=0.002, location=(-0.11, 0, 1.176), vertices=48)
    mouth = bpy.context.object
    mouth.scale = (0.085, 0.11, 1)
    mouth.data.materials.append(plain("mouth", grey(0.004), 0.8))
    return [tab, rivet, mouth]


def tin(rng: random.Random) -> Model:
    """A food tin, its lid folded open on the floor before it; the label is sometimes gone."""
    steel = _tinplate()
    outside = [(0, 0.03), (0.33, 0.03), (0.34, 0), (0.372, 0), (0.375, 0.03), (0.36, 0.04)]
    inside = [(0.36, 1.06), (0.378, 1.07), (0.378, 1.1), (0.345, 1.1), (0.345, 0.06), (0, 0.06)]
    body = revolve("body", outside + inside, steel, warp=_ribs)
    lid = revolve("lid", [(0, 0), (0.24, 0.006), (0.25, 0.016), (0.33, 0.016), (0.335, 0)], steel)
    lift = rng.uniform(1.3, 1.58)
    lid.rotation_euler = (0, -lift, 0)
    lid.location = (0.34 - 0.34 * math.cos(lift), 0, 1.12 + 0.34 * math.sin(lift))
    objects = [body, lid]
    if rng.random() < 0.7:
        paper = printed("tin label", labels.tin(rng), 0.5)
        objects.append(revolve("label", [(0.364, 0.1), (0.364, 1.0)], paper, rounded=False))
    crease(objects[:1] + objects[2:], _creases(rng)[:1], wobble=0.004)
    roll = rng.uniform(-0.4, 0.4)
    return Model(objects, lying=True, roll_rad=roll, proportions=slightly(rng, 0.08))


def _ribs(_angle: float, height: float) -> float:
    return 1 - 0.016 * (0.25 < height < 0.85) * (0.5 + 0.5 * math.cos(height * 62))


def _tinplate():
    graph = Graph("tinplate")
    stains = graph.noise(graph.coordinates(), scale=4.0, detail=6.0)
    graph.principled(
        {
            "Base Color": graph.ramp(stains, [(0.3, srgb("c9c8c4")), (0.75, srgb("b2aea6"))]),
            "Metallic": 1.0,
            "Roughness": graph.ramp(stains, [(0.3, grey(0.2)), (0.7, grey(0.36))]),
        }
    )
    return graph.material
