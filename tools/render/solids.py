"""Solid parts that things are put together from: slabs, rods, balls, tubes, limbs, leaves."""

import math
from collections.abc import Sequence

import bmesh
import bpy
from mathutils import Matrix, Vector

from .shapes import add_object

Place = tuple[float, float, float]


def slab(name: str, size: Place, material, *, corner: float, edge: float = 0.015, at: Place):
    """Add a plate (width, depth, height) with round corners, textured once over from above.

    `at` is the middle of its underside; `edge` rounds the upper and lower rim.
    """
    width, depth, height = size
    work = bmesh.new()
    rim = [work.verts.new((x, y, 0)) for x, y in _outline(width, depth, corner)]
    made = bmesh.ops.extrude_face_region(work, geom=[work.faces.new(rim)])
    lifted = [part for part in made["geom"] if isinstance(part, bmesh.types.BMVert)]
    bmesh.ops.translate(work, verts=lifted, vec=(0, 0, height))
    bmesh.ops.recalc_face_normals(work, faces=work.faces)
    layer = work.loops.layers.uv.new("UVMap")
    for face in work.faces:
        for loop in face.loops:
            loop[layer].uv = (loop.vert.co.x / width + 0.5, loop.vert.co.y / depth + 0.5)
    added = add_object(name, work, material, smooth=False)
    added.location = at
    bevelled(added, edge)
    return added


def _outline(width: float, depth: float, corner: float, steps: int = 6) -> list:
    """Return the points of a rectangle with round corners, counter-clockwise."""
    points = []
    for turn, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        x, y = sx * (width / 2 - corner), sy * (depth / 2 - corner)
        for step in range(steps + 1):
            angle = (turn + step / steps) * math.pi / 2
            points.append((x + corner * math.cos(angle), y + corner * math.sin(angle)))
    return points


def bevelled(target, width: float) -> None:
    """Round the sharp edges of an object."""
    modifier = target.modifiers.new("edges", "BEVEL")
    modifier.width = width
    modifier.segments = 3
    modifier.limit_method = "ANGLE"


def rod(name: str, start: Place, stop: Place, radius: float, material, *, tip: float | None = None):
    """Add a round bar, or with a tip's radius a cone."""
    work = bmesh.new()
    middle, length = _between(start, stop)
    ends = {"radius1": radius, "radius2": radius if tip is None else tip, "depth": length}
    bmesh.ops.create_cone(work, cap_ends=True, segments=40, matrix=middle, **ends)
    added = add_object(name, work, material, smooth=False)
    bevelled(added, min(radius, length) * 0.15)
    return added


def ball(name: str, radii: Place, material, *, at: Place = (0, 0, 0)):
    """Add an ellipsoid; its texture runs once round."""
    work = bmesh.new()
    work.loops.layers.uv.new("UVMap")
    stretched = Matrix.Diagonal((*radii, 1))
    bmesh.ops.create_uvsphere(
        work, u_segments=48, v_segments=24, radius=1, matrix=stretched, calc_uvs=True
    )
    added = add_object(name, work, material)
    added.location = at
    return added


def tube(name: str, points: Sequence[Place], radius: float, material, *, closed: bool = False):
    """Add a smooth pipe through points."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions = "3D"
    curve.bevel_depth = radius
    curve.bevel_resolution = 6
    curve.use_fill_caps = True
    spline = curve.splines.new("BEZIER")
    spline.bezier_points.add(len(points) - 1)
    for handle, point in zip(spline.bezier_points, points, strict=True):
        handle.co = point
        handle.handle_left_type = handle.handle_right_type = "AUTO"
    spline.use_cyclic_u = closed
    curve.materials.append(material)
    added = bpy.data.objects.new(name, curve)
    bpy.context.scene.collection.objects.link(added)
    return added


def ring(name: str, radius: float, thickness: float, material, *, at: Place = (0, 0, 0)):
    """Add a flat-lying ring of round wire."""
    x, y, z = at
    turns = [math.tau * step / 12 for step in range(12)]
    points = [(x + radius * math.cos(a), y + radius * math.sin(a), z) for a in turns]
    return tube(name, points, thickness, material, closed=True)


def limb(work, start, stop, first: float, last: float) -> None:
    """Add a cone with round ends to a bmesh."""
    middle, length = _between(start, stop)
    ends = {"radius1": first, "radius2": last, "depth": length}
    bmesh.ops.create_cone(work, cap_ends=True, segments=24, matrix=middle, **ends)
    for where, radius in ((start, first), (stop, last)):
        place = Matrix.Translation(where)
        bmesh.ops.create_uvsphere(work, u_segments=20, v_segments=12, radius=radius, matrix=place)


def _between(start, stop) -> tuple[Matrix, float]:
    """Return the frame half way, its z axis along, and the distance."""
    start, stop = Vector(start), Vector(stop)
    along = stop - start
    turn = along.to_track_quat("Z", "Y").to_matrix().to_4x4()
    return Matrix.Translation((start + stop) / 2) @ turn, along.length


def melt(target, voxel: float = 0.035, rounds: int = 8) -> None:
    """Join the overlapping parts of an object into one skin."""
    joined = target.modifiers.new("join", "REMESH")
    joined.mode = "VOXEL"
    joined.voxel_size = voxel
    joined.use_smooth_shade = True
    soft = target.modifiers.new("soft", "SMOOTH")
    soft.iterations = rounds


def moulded(name: str, limbs: Sequence[tuple], material, *, voxel: float = 0.03):
    """Add limbs (start, stop, first radius, last radius) melted into one body."""
    work = bmesh.new()
    for part in limbs:
        limb(work, *part)
    added = add_object(name, work, material)
    melt(added, voxel)
    return added


def leaf(name: str, length: float, width: float, material, *, arch: float = 0.2, cup: float = 0.1):
    """Add a leaf or petal from the origin along x, bent up by arch and folded by cup."""
    work = bmesh.new()
    bmesh.ops.create_grid(work, x_segments=24, y_segments=8, size=0.5, calc_uvs=False)
    layer = work.loops.layers.uv.new("UVMap")
    for face in work.faces:
        for loop in face.loops:
            loop[layer].uv = (loop.vert.co.x + 0.5, loop.vert.co.y + 0.5)
    for vertex in work.verts:
        along, across = vertex.co.x + 0.5, vertex.co.y * 2
        broad = math.sin(math.pi * along**0.8) ** 0.8 if 0 < along < 1 else 0.0
        bend = arch * math.sin(math.pi * along) * length
        y = across * width / 2 * broad
        vertex.co = (along * length, y, bend + cup * abs(across) ** 1.5 * broad * width)
    return add_object(name, work, material)
