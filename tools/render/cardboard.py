"""Cardboard: an open box, a closed box, a flattened box; all of corrugated board."""

import math
import random
from itertools import pairwise

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector, noise

from .materials import Graph, grey, plain, srgb
from .model import Model
from .shapes import add_object, grid, thicken

BOARD = 0.04  # thickness
KRAFTS = [("a37a4c", "ba9161"), ("a37a4c", "ba9161"), ("96703f", "ab8353"), ("b08a60", "c6a279")]
WALLS = ((1, 0.0), (0, math.pi / 2), (1, math.pi), (0, -math.pi / 2))  # along the width?, turn


def open_box(rng: random.Random) -> Model:
    spread = ((0, 50), (20, 75), (-15, 50), (-30, 20))  # no two boxes are left open alike
    folds = [math.radians(rng.uniform(*degrees)) for degrees in spread]
    board = _kraft(rng)
    wide, deep, high = 2.0 * rng.uniform(0.9, 1.08), 1.5, 0.75 * rng.uniform(0.85, 1.15)
    objects = _box(board, (wide, deep, high), folds, (0.7, 0.62), rng.uniform(0, 50))
    objects.append(_tape(wide * 0.98, 0.44, 0.075))
    return Model(objects, proportions=(0.92, 0.92, 0.92))


def carton(rng: random.Random) -> Model:
    """A closed box, its tape still on."""
    wide, deep, high = 1.7 * rng.uniform(0.9, 1.15), 1.25, rng.uniform(0.55, 0.85)
    board = _kraft(rng)
    closed = [math.radians(angle) for angle in (-89, -91, -88, -91)]
    objects = _box(board, (wide, deep, high), closed, (deep / 2 - 0.01, 0.5), rng.uniform(0, 50))
    objects.append(_tape(wide + 0.11, 0.2, high + 0.075))
    objects += [_tape_end(side * (wide / 2 + 0.055), high) for side in (-1, 1)]
    return Model(objects, proportions=(0.95, 0.95, 0.95))


def flattened(rng: random.Random) -> Model:
    """A sheet cut from a box: a wall with the flaps still on it, lifting a little."""
    board = _kraft(rng)
    wide, high = 1.7 * rng.uniform(0.85, 1.1), 1.05 * rng.uniform(0.85, 1.1)
    shape = rng.uniform(0, 50)
    objects = [_panel(board, wide, high, Matrix(), shape)]
    ends = [(Matrix.Translation((0, high, 0)), 1), (Matrix.Rotation(math.pi, 4, "Z"), 2)]
    for base, number in ends[: rng.randint(1, 2)]:
        lift = Matrix.Rotation(math.radians(rng.uniform(4, 22)), 4, "X")
        objects.append(
            _panel(board, wide - 0.05, rng.uniform(0.35, 0.6), base @ lift, shape + number)
        )
    return Model(objects)


def _box(board, size, folds, flaps, shape: float) -> list:
    """Return a box of (width, depth, height); folds are the flaps' turns from upright, outwards."""
    wide, deep, high = size
    panels = [_panel(board, wide, deep, Matrix.Translation((0, -deep / 2, 0)), shape)]
    for number, ((long_side, turn), fold) in enumerate(zip(WALLS, folds, strict=True)):
        length, away, flap = (wide, deep / 2, flaps[0]) if long_side else (deep, wide / 2, flaps[1])
        wall = Matrix.Rotation(turn, 4, "Z") @ Matrix.Translation((0, -away, 0))
        wall @= Matrix.Rotation(math.pi / 2, 4, "X")
        panels.append(_panel(board, length, high, wall, shape + number + 1))
        top = 0.0 if long_side else -BOARD  # the short flaps fold in first, under the long ones
        hinge = wall @ Matrix.Translation((0, high + top, 0)) @ Matrix.Rotation(fold, 4, "X")
        panels.append(_panel(board, length - 0.04, flap, hinge, shape + number + 7))
    return panels


def _panel(board, width: float, height: float, place: Matrix, shape: float):
    """Return one piece of board: two liners, and between them the flutes seen at its edges."""
    work = bmesh.new()

    def lift(x: float, y: float) -> float:
        bow = 0.03 * math.sin(x / width * 2.2 + shape) * (y / height)
        return bow + 0.018 * noise.noise(Vector((x * 1.3, y * 1.3, shape * 3.7)))

    def flute(x: float, y: float) -> float:
        return lift(x, y) + BOARD / 2 + BOARD * 0.48 * math.sin(x / 0.07 * math.tau)

    across = np.linspace(-width / 2, width / 2, 31)
    fine = np.linspace(-width / 2, width / 2, int(width / 0.008) + 1)
    along = np.linspace(0, height, 21)
    _sheet(work, across, along, lift)
    _sheet(work, across, along, lambda x, y: lift(x, y) + BOARD)
    _sheet(work, fine, along, flute)
    panel = add_object("panel", work, board)
    thicken(panel, 0.004, offset=0)
    panel.matrix_world = place
    return panel


def _sheet(work, across, along, height_at) -> None:
    rows = [[work.verts.new((x, y, height_at(x, y))) for x in across] for y in along]
    for low, high in pairwise(rows):
        for left in range(len(across) - 1):
            work.faces.new((low[left], low[left + 1], high[left + 1], high[left]))


def _tape(length: float, width: float, height: float):
    tape = grid("tape", length, width, 1, 1, _tape_material())
    tape.location = (0, 0, height)
    return tape


def _tape_end(x: float, height: float):
    end = grid("tape end", 0.24, 0.2, 1, 1, _tape_material())
    end.rotation_euler = (0, math.pi / 2, 0)
    end.location = (x, 0, height - 0.045)
    return end


def _tape_material():
    return bpy.data.materials.get("tape") or plain("tape", srgb("a87c46"), 0.38)


def _kraft(rng: random.Random):
    """Brown board: blotches, fibres along it, and the flutes pressing through the liner."""
    dark, light = rng.choice(KRAFTS)
    graph = Graph("kraft")
    here = graph.coordinates()
    blotches = graph.noise(here, scale=1.6, detail=6.0)
    fibres = graph.noise(graph.mapped(here, Scale=(60, 14, 14)), scale=1.0, detail=5.0)
    base = graph.ramp(blotches, [(0.3, srgb(dark)), (0.7, srgb(light))])
    streaks = graph.ramp(fibres, [(0.35, grey(0.72)), (0.6, grey(1))])
    wave = {"Vector": here, "Scale": 6.2, "Distortion": 0.3}
    flutes = graph.node("TexWave", wave, bands_direction="X").outputs["Fac"]
    graph.principled(
        {
            "Base Color": graph.multiply(base, streaks, 0.5),
            "Roughness": 0.8,
            "Specular IOR Level": 0.25,
            "Normal": graph.bump(flutes, 0.16, 0.006),
        }
    )
    return graph.material
