"""Meshes: turned profiles, dents and creases in them, and sheets."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import bmesh
import bpy
import numpy as np
from mathutils import Vector, noise

TURN = 2 * math.pi
Point = Sequence[float]  # radius, height


@dataclass(frozen=True, slots=True)
class Dent:
    """A soft flattening: what lies beyond a plane is pushed back to it."""

    direction: tuple[float, float, float]
    height: float
    distance: float  # of the plane from the axis
    spread: float  # in height


@dataclass(frozen=True, slots=True)
class Crease:
    """A V-shaped line buckled into sheet metal, round part of the circumference."""

    angle_rad: float
    height: float
    depth: float
    half_height: float
    cut: float  # cosine at which the crease ends
    tilt: float


def add_object(name: str, mesh, material=None, *, smooth: bool = True):
    """Put a mesh, or a bmesh, into the scene; return the object."""
    if isinstance(mesh, bmesh.types.BMesh):
        built = bpy.data.meshes.new(name)
        mesh.to_mesh(built)
        mesh.free()
        mesh = built
    if smooth:
        mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    if material is not None:
        mesh.materials.append(material)
    added = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(added)
    return added


def revolve(
    name: str,
    profile: Sequence[Point],
    material,
    *,
    segments: int = 128,
    arc: tuple[float, float] = (0.0, TURN),
    warp: Callable[[float, float], float] | None = None,
    rounded: bool = True,
):
    """Turn a profile round the z axis; warp(angle, height) scales the radius.

    The texture runs once round the arc and once from the lowest to the highest point.
    """
    line = _dense(_round_corners(profile) if rounded else np.asarray(profile, float))
    closed = math.isclose(arc[1] - arc[0], TURN)
    columns = segments if closed else segments + 1
    angles = [arc[0] + (arc[1] - arc[0]) * column / segments for column in range(columns)]
    vertices, rings = _rings(line, angles, warp)
    faces, corners = _skin(rings, line[:, 1], segments)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", np.ravel(corners))
    _turn_outwards(mesh)
    return add_object(name, mesh, material)


def _rings(line, angles, warp) -> tuple[list, list]:
    """Return the vertices, and for each point of the profile the numbers of its ring."""
    vertices = []
    rings = []
    for radius, height in line:
        first = len(vertices)
        if radius < 1e-5:
            vertices.append((0, 0, height))
            rings.append([first] * len(angles))
            continue
        for angle in angles:
            reach = radius * (warp(angle, height) if warp else 1)
            vertices.append((reach * math.cos(angle), reach * math.sin(angle), height))
        rings.append(list(range(first, len(vertices))))
    return vertices, rings


def _skin(rings, heights, segments: int) -> tuple[list, list]:
    """Return the faces between the rings, and the texture coordinates of their corners."""
    low, high = min(heights), max(heights)
    faces, corners = [], []
    for row in range(len(rings) - 1):
        v_low, v_high = ((heights[row + k] - low) / (high - low or 1) for k in (0, 1))
        for column in range(segments):
            right = (column + 1) % len(rings[row])
            u_left, u_right = column / segments, (column + 1) / segments
            quad = {}  # a corner at the pole counts once
            quad.setdefault(rings[row][column], (u_left, v_low))
            quad.setdefault(rings[row][right], (u_right, v_low))
            quad.setdefault(rings[row + 1][right], (u_right, v_high))
            quad.setdefault(rings[row + 1][column], (u_left, v_high))
            if len(quad) >= 3:
                faces.append(tuple(quad))
                corners.extend(quad.values())
    return faces, corners


def _turn_outwards(mesh) -> None:
    work = bmesh.new()
    work.from_mesh(mesh)
    bmesh.ops.recalc_face_normals(work, faces=work.faces)
    work.to_mesh(mesh)
    work.free()


def _round_corners(profile: Sequence[Point], rounds: int = 3, reach: float = 0.03) -> np.ndarray:
    """Cut the corners off (Chaikin), at most reach away from each, so that edges catch light."""
    line = [np.asarray(point, float) for point in profile]
    for _ in range(rounds):
        cut = [line[0]]
        for start, stop in pairwise(line):
            step = stop - start
            share = min(0.25, reach / max(float(np.linalg.norm(step)), 1e-6))
            cut += [start + step * share, stop - step * share]
        line = [*cut, line[-1]]
    return np.asarray(line)


def _dense(line: np.ndarray, step: float = 0.03) -> np.ndarray:
    """Add points so that no two are further apart than step: dents need vertices to move."""
    points = [line[0]]
    for start, stop in pairwise(line):
        count = max(1, int(np.linalg.norm(stop - start) / step))
        points += [start + (stop - start) * share / count for share in range(1, count + 1)]
    return np.asarray(points)


def dent(objects, dents: Sequence[Dent], *, wobble: float = 0.0, seed: float = 0.0) -> None:
    """Press flat places into thin walls, and wobble them by a share of the radius."""
    for target in objects:
        for vertex in target.data.vertices:
            point = vertex.co
            for one in dents:
                _press(point, one)
            radius = math.hypot(point.x, point.y)
            if wobble and radius > 0.2:
                where = Vector((point.x * 3, point.y * 3, point.z * 2.2 + seed * 7.1))
                factor = 1 + wobble * noise.noise(where)
                point.x *= factor
                point.y *= factor


def _press(point: Vector, one: Dent) -> None:
    along = point.z - one.height
    weight = math.exp(-((along / one.spread) ** 2))
    beyond = Vector(one.direction).dot((point.x, point.y, along)) - one.distance
    if beyond > 0 and weight > 1e-3:
        point.x -= one.direction[0] * beyond * 0.92 * weight
        point.y -= one.direction[1] * beyond * 0.92 * weight


def crease(objects, creases: Sequence[Crease], *, wobble: float = 0.0) -> None:
    """Buckle sheet metal along creases; wobble moves the wall a little everywhere."""
    for target in objects:
        for vertex in target.data.vertices:
            point = vertex.co
            radius = math.hypot(point.x, point.y)
            if radius < 0.05:
                continue
            angle = math.atan2(point.y, point.x)
            inwards = sum(_buckle(angle, point.z, one) for one in creases)
            if 0.2 < point.z < 1.05:
                inwards -= wobble * noise.noise(Vector((point.x * 5, point.y * 5, point.z * 4)))
            point.x *= 1 - inwards / radius
            point.y *= 1 - inwards / radius


def _buckle(angle: float, height: float, one: Crease) -> float:
    facing = math.cos(angle - one.angle_rad)
    if facing <= one.cut:
        return 0.0
    share = (facing - one.cut) / (1 - one.cut)
    ragged = 0.02 * noise.noise(Vector((angle * 2, one.height * 9, 0)))
    off = height - one.height + one.tilt * math.sin(angle - one.angle_rad) + ragged
    fade = math.sqrt(off * off + 0.0003) / (one.half_height * (0.35 + 0.65 * share))
    return one.depth * min(1, 1.25 * share) * max(0, 1 - fade)


def grid(name: str, width: float, height: float, columns: int, rows: int, material, lift=None):
    """Add a sheet in the xy plane, textured once over; lift(x, y) is its height."""
    work = bmesh.new()
    bmesh.ops.create_grid(work, x_segments=columns, y_segments=rows, size=0.5, calc_uvs=False)
    layer = work.loops.layers.uv.new("UVMap")
    for face in work.faces:
        for loop in face.loops:
            loop[layer].uv = (loop.vert.co.x + 0.5, loop.vert.co.y + 0.5)
    for vertex in work.verts:
        x, y = vertex.co.x * width, vertex.co.y * height
        vertex.co = (x, y, lift(x, y) if lift else 0.0)
    return add_object(name, work, material)


def thicken(target, thickness: float, offset: float = -1.0) -> None:
    """Give a surface a wall: offset -1 grows it inwards, 0 both ways."""
    modifier = target.modifiers.new("wall", "SOLIDIFY")
    modifier.thickness = thickness
    modifier.offset = offset
