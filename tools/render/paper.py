"""Paper: a crumpled ball, a printed sheet, a folded newspaper."""

import math
import random

import bmesh
from mathutils import Vector, noise

from . import prints
from .materials import Graph, printed
from .model import Model, slightly
from .shapes import add_object, grid

BALL = 0.5  # radius a ball is crushed to
FACES_MAX = 26_000  # more folds than this are not seen at the size of a picture


def ball(rng: random.Random) -> Model:
    """A sheet folded at random, then crushed until nothing sticks far out."""
    work = bmesh.new()
    bmesh.ops.create_grid(work, x_segments=6, y_segments=8, size=1)
    layer = work.loops.layers.uv.new("UVMap")
    for face in work.faces:
        for loop in face.loops:
            loop[layer].uv = (loop.vert.co.x * 0.5 + 0.5, loop.vert.co.y * 0.5 + 0.5)
    for vertex in work.verts:
        vertex.co = (vertex.co.x * 1.05, vertex.co.y * 1.48, 0)
    _fold(work, rng)
    _crush(work, rng)
    _refine(work)
    for vertex in work.verts:
        where = vertex.co * 4.5
        vertex.co += noise.noise_vector(where) * 0.022 + noise.noise_vector(where * 3.1) * 0.008
    crumpled = add_object("paper", work, _crumpled_paper(rng))
    crumpled.data.set_sharp_from_angle(angle=math.radians(24))
    return Model([crumpled], proportions=slightly(rng, 0.12))


def _direction(rng: random.Random, flatness: float = 1.0) -> Vector:
    return Vector((rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, flatness))).normalized()


def _cut(work, normal: Vector, distance: float) -> None:
    """Give the sheet an edge where it will fold."""
    parts = work.verts[:] + work.edges[:] + work.faces[:]
    bmesh.ops.bisect_plane(work, geom=parts, plane_co=normal * distance, plane_no=normal, dist=1e-5)


def _fold(work, rng: random.Random) -> None:
    """Bend the flat sheet along 22 random lines."""
    for _ in range(22):
        normal = _direction(rng, 0.45)
        distance = rng.gauss(0, 0.6)
        _cut(work, normal, distance)
        slope = rng.uniform(-0.35, 0.35)
        for vertex in work.verts:
            beyond = vertex.co.dot(normal) - distance
            if beyond > 0:
                vertex.co.z += slope * beyond


def _crush(work, rng: random.Random) -> None:
    """Fold back what sticks out, the furthest point first."""
    for step in range(48):
        if len(work.faces) > FACES_MAX:
            return
        normal, distance = _crush_plane(work, step, rng)
        _cut(work, normal, distance)
        for vertex in work.verts:
            beyond = vertex.co.dot(normal) - distance
            if beyond > 0:
                vertex.co -= normal * beyond * 1.9


def _crush_plane(work, step: int, rng: random.Random) -> tuple[Vector, float]:
    far = max(work.verts, key=lambda vertex: vertex.co.length).co.copy()
    if far.length < BALL * 1.06:
        return _direction(rng), rng.uniform(0.62, 0.97) * BALL
    if step < 6:
        return _direction(rng, 0.9), rng.uniform(0.05, 0.4)
    stray = Vector(rng.gauss(0, 0.35) for _ in range(3))
    reach = rng.uniform(0.62, 0.9) * BALL if far.length < 1.1 else rng.uniform(0.3, 0.7)
    return (far.normalized() + stray).normalized(), reach


def _refine(work, longest: float = 0.05) -> None:
    """Split long edges, so that the small wrinkles have vertices to move."""
    bmesh.ops.triangulate(work, faces=work.faces)
    for _ in range(3):
        long = [edge for edge in work.edges if edge.calc_length() > longest]
        if not long or len(work.faces) > 150_000:
            return
        bmesh.ops.subdivide_edges(work, edges=long, cuts=1)
        wide = [face for face in work.faces if len(face.verts) > 3]
        bmesh.ops.triangulate(work, faces=wide)


def _crumpled_paper(rng: random.Random):
    """Paper through which a little light passes, its wrinkles finer than the mesh."""
    graph = Graph("paper")
    here = graph.node("UVMap").outputs[0]
    stray = graph.noise(here, scale=7.0, detail=3.0, output="Color")
    bent = graph.multiply_add(stray, (0.12, 0.12, 0), here)
    coarse = graph.node("TexVoronoi", {"Vector": bent, "Scale": 11.0}).outputs["Distance"]
    fine = graph.node("TexVoronoi", {"Vector": here, "Scale": 29.0}).outputs["Distance"]
    wrinkles = graph.math("MULTIPLY_ADD", fine, 0.4, coarse)
    face = graph.principled(
        {
            "Base Color": graph.picture(prints.blank(rng)),
            "Roughness": 0.75,
            "Normal": graph.bump(wrinkles, 0.55, 0.06),
        }
    )
    through = graph.node("BsdfTranslucent", {"Color": (0.8, 0.79, 0.76)}).outputs[0]
    graph.surface(graph.node("MixShader", {0: 0.22, 1: face, 2: through}).outputs[0])
    return graph.material


def sheet(rng: random.Random) -> Model:
    """A printed page that was once folded and did not lie flat again."""
    page = printed("page", prints.page(rng), 0.7)
    lift = _waves(rng, folds=rng.randint(1, 3), swing=0.05)
    objects = [grid("sheet", 1.4, 1.98, 60, 84, page, lift)]
    return Model(objects, proportions=slightly(rng))


def newspaper(rng: random.Random) -> Model:
    """Sheets one upon another, not quite square, bulging where they are folded."""
    inner = printed("inner page", prints.page(rng), 0.75)
    front = printed("front page", prints.newspaper(rng), 0.75)
    lift = _waves(rng, folds=1, swing=0.03)
    layers = rng.randint(4, 7)
    objects = []
    for number in range(layers):
        top = number == layers - 1
        layer = grid("page", 1.5, 2.0, 50, 66, front if top else inner, _layer(lift, number))
        layer.location = (rng.uniform(-0.02, 0.02), rng.uniform(-0.03, 0.03), 0)
        layer.rotation_euler = (0, 0, rng.uniform(-0.02, 0.02))
        objects.append(layer)
    return Model(objects, proportions=slightly(rng, 0.08))


def _layer(lift, number: int):
    def height(x: float, y: float) -> float:
        at_fold = math.exp(-(((x + 0.75) / 0.2) ** 2))
        return lift(x, y) + 0.012 * number * (1 + 1.6 * at_fold)

    return height


def _waves(rng: random.Random, *, folds: int, swing: float):
    """Return the height of a sheet: soft waves, and folds along random lines."""
    shift = rng.uniform(0, 50)
    lines = []
    for _ in range(folds):
        angle = rng.choice([0, math.pi / 2]) + rng.uniform(-0.2, 0.2)
        lines.append(
            (math.cos(angle), math.sin(angle), rng.uniform(-0.3, 0.3), rng.uniform(0.04, 0.2))
        )

    def height(x: float, y: float) -> float:
        soft = swing * noise.noise(Vector((x * 1.4, y * 1.4, shift)))
        fine = 0.006 * noise.noise(Vector((x * 7, y * 7, shift)))
        bent = sum(slope * abs(x * a + y * b - off) for a, b, off, slope in lines)
        return soft + fine + bent

    return height
