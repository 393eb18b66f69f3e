"""Trash: a crisps bag and a chocolate bar's wrapper, blown up and let down as cloth."""

import math
import random

import bmesh
import bpy
from mathutils import Vector, noise

from . import prints
from .materials import Graph
from .model import Model, slightly
from .shapes import add_object

STEP = 1.5 / 66  # between vertices
FRAMES = 18


def crisps(rng: random.Random) -> Model:
    bag = _pouch(1.5, 2.1, _film(prints.crisps(rng)))
    _inflate(bag, pressure=rng.uniform(0.9, 1.2))
    _crumple(bag, rng.uniform(0, 30), lift=0.10)
    return Model([bag], proportions=slightly(rng))


def bar(rng: random.Random) -> Model:
    wrapper = _pouch(0.72, 2.1, _film(prints.bar(rng)))
    _inflate(wrapper, pressure=rng.uniform(0.7, 1.0))
    _crumple(wrapper, rng.uniform(0, 30), lift=0.16)
    return Model([wrapper], proportions=slightly(rng, 0.08))


def _pouch(width: float, height: float, film):
    """Return two sheets joined at their edges."""
    columns, rows = round(width / STEP), round(height / STEP)
    work = bmesh.new()
    layer = work.loops.layers.uv.new("UVMap")
    edge = {}
    for side in (1, -1):
        points = {}
        for row in range(rows + 1):
            for column in range(columns + 1):
                inset = min(column, columns - column, row, rows - row)
                where = (width * (column / columns - 0.5), height * (row / rows - 0.5))
                if inset and (column, row) not in edge:
                    points[column, row] = work.verts.new(_puffed(*where, inset, side))
                elif (column, row) not in edge:
                    edge[column, row] = work.verts.new(_puffed(*where, 0, side))
        _fill(work, layer, points | edge, columns, rows, side)
    return add_object("pouch", work, film)


def _puffed(x: float, y: float, inset: int, side: int) -> tuple[float, float, float]:
    """Return where a vertex starts: the inside a little apart, so that pressure finds room."""
    apart = side * (0.012 + 0.02 * min(1, inset / 6)) if inset else 0
    return (x, y, apart + 0.02 * noise.noise(Vector((x * 2, y * 2, 3))))


def _fill(work, layer, points, columns: int, rows: int, side: int) -> None:
    for row in range(rows):
        for column in range(columns):
            corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
            corners = corners[::side]
            try:
                face = work.faces.new([points[corner] for corner in corners])
            except ValueError:  # a corner cell whose four vertices are all on the seam
                continue
            for loop, corner in zip(face.loops, corners, strict=True):
                loop[layer].uv = (corner[0] / columns, corner[1] / rows)


def _film(image):
    """Metallised film, its picture under a coat of lacquer, ribbed at the two seams."""
    graph = Graph("film")
    height = graph.node("SeparateXYZ", {0: graph.node("UVMap").outputs[0]}).outputs[1]
    from_middle = graph.math("ABSOLUTE", graph.math("SUBTRACT", height, 0.5))
    at_seam = graph.math("GREATER_THAN", from_middle, 0.438)
    ribs = graph.math("SINE", graph.math("MULTIPLY", height, math.tau * 130))
    graph.principled(
        {
            "Base Color": graph.picture(image),
            "Roughness": 0.22,
            "Metallic": 0.35,
            "Coat Weight": 0.5,
            "Coat Roughness": 0.12,
            "Normal": graph.bump(graph.math("MULTIPLY", ribs, at_seam), 0.5, 0.01),
        }
    )
    return graph.material


def _inflate(bag, *, pressure: float) -> None:
    """Blow the bag up as cloth, let most of the air out, and keep that shape."""
    cloth = bag.modifiers.new("cloth", "CLOTH")
    cloth.collision_settings.use_collision = False
    settings = cloth.settings
    settings.quality = 6
    settings.mass = 0.15
    settings.tension_stiffness = settings.compression_stiffness = 40
    settings.shear_stiffness = 20
    settings.bending_stiffness = 1.2
    settings.use_pressure = True
    settings.uniform_pressure_force = pressure
    settings.shrink_min = 0.0
    settings.effector_weights.gravity = 0
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, FRAMES
    cloth.point_cache.frame_end = FRAMES
    for number in range(1, FRAMES + 1):
        if number == 12:
            settings.uniform_pressure_force = 0.1
        scene.frame_set(number)
    shaped = bag.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = bpy.data.meshes.new_from_object(shaped)
    bag.modifiers.clear()
    bag.data = mesh
    scene.frame_set(1)


def _crumple(bag, shift: float, *, lift: float) -> None:
    for vertex in bag.data.vertices:
        x, y, _ = vertex.co
        ridge = 1 - 2 * abs(noise.noise(Vector((x * 3.3, y * 2.1, 5 + shift))))
        vertex.co.z += lift * noise.noise(Vector((x * 1.1, y * 0.9, 9 + shift))) + 0.025 * ridge
        vertex.co.x += 0.04 * noise.noise(Vector((y * 2, x, 1 + shift)))
    bag.data.polygons.foreach_set("use_smooth", [True] * len(bag.data.polygons))
    smooth = bag.modifiers.new("smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 1
