"""Put an item on a surface under a lamp and a camera, and take its picture or its mask."""

import math
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from PIL import Image

from . import surfaces
from .items import ITEMS, NOTHING
from .materials import Graph
from .model import Model
from .things import THINGS

REFLECTED_ROOM = "datafiles/studiolights/world/interior.exr"  # CC0, comes with Blender


@dataclass(frozen=True, slots=True)
class Shot:
    """All that decides a picture but the item's own shape."""

    item: str
    surface: str
    seed: int
    size: tuple[int, int] = (512, 384)  # width, height, px
    samples: int = 16  # a pixel; denoised, so 16 are enough at this size
    threads: int = os.cpu_count() or 2
    quick: bool = False  # half the time, for many small pictures: coarser light, softer textures


@dataclass(frozen=True, slots=True)
class Box:
    """The bounds of an item, its middle over the origin and its foot at height 0."""

    width: float
    depth: float
    height: float


class Stage:
    """A built scene. Everything random comes from the shot: the same shot, the same picture."""

    def __init__(self, shot: Shot) -> None:
        self._shot = shot
        rng = random.Random(f"{shot.item} {shot.surface} {shot.seed}")
        bpy.ops.wm.read_factory_settings(use_empty=True)
        model = build(shot)
        self._settings(shot)
        self.floor = surfaces.lay(shot.surface, rng)
        self.objects = model.objects if model else []
        self.carrier = _empty("carrier")  # what a sequence moves
        box = Box(2.2, 1.4, 0.5)
        if model:
            box = _rest(model, self.carrier, rng.uniform(0, math.tau))
        self.extent = max(1.1, box.width, box.depth * 1.33)  # along the picture's width
        _camera(self.extent, box.height, rng)
        self.lamp = _lamp(rng)
        self.room = _room(rng)
        if shot.quick:
            _quicken()

    def _settings(self, shot: Shot) -> None:
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        cycles = scene.cycles
        cycles.device = "CPU"
        cycles.samples = shot.samples
        cycles.seed = shot.seed
        cycles.use_denoising = True
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.use_adaptive_sampling = True
        cycles.adaptive_threshold = 0.02
        cycles.max_bounces = cycles.transmission_bounces = 12
        cycles.transparent_max_bounces = 16
        cycles.caustics_refractive = cycles.caustics_reflective = False
        render = scene.render
        render.threads_mode, render.threads = "FIXED", shot.threads
        render.resolution_x, render.resolution_y = shot.size
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGBA"
        scene.view_settings.view_transform = "Filmic"
        scene.view_settings.look = "Medium High Contrast"

    def picture(self) -> np.ndarray:
        """Return the picture, (h, w, 3) uint8 RGB, as clean as the renderer makes it."""
        return _rendered()[..., :3]

    def carry(self, objects: list) -> None:
        """Hang objects on the carrier as they are, over the surface."""
        for part in objects:
            part.parent = self.carrier
        self.objects = [*self.objects, *objects]

    def empty(self) -> np.ndarray:
        """Return the picture without the item and its shadow."""
        _hide(self.objects, True)
        pixels = self.picture()
        _hide(self.objects, False)
        return pixels

    def mask(self) -> np.ndarray:
        """Return how much of each pixel the item covers, (h, w) uint8; its shadow is not it."""
        scene, layer = bpy.context.scene, bpy.context.view_layer
        before = scene.cycles.samples, scene.cycles.use_denoising
        scene.cycles.samples, scene.cycles.use_denoising = 8, False
        scene.render.film_transparent = True
        layer.material_override = _opaque()
        _hide([self.floor], True)
        alpha = _rendered()[..., 3]
        _hide([self.floor], False)
        layer.material_override = None
        scene.render.film_transparent = False
        scene.cycles.samples, scene.cycles.use_denoising = before
        return alpha

    def dim(self, share: float, colour: tuple[float, float, float] | None = None) -> None:
        """Turn lamp and room down to a share of their light; colour is the lamp's from now on."""
        self.lamp.energy *= share
        self.room.inputs["Strength"].default_value *= share
        if colour:
            self.lamp.color = colour

    def lay(self, surface: str, rng: random.Random) -> None:
        """Put another surface under the item; nothing else moves."""
        bpy.data.objects.remove(self.floor)
        self.floor = surfaces.lay(surface, rng)


def _quicken() -> None:
    """Spend no time on what a small picture does not show; most of it goes into the room's map."""
    scene = bpy.context.scene
    scene.cycles.denoising_prefilter = "FAST"
    scene.cycles.sample_clamp_indirect = 4.0  # single bright paths would show at so few samples
    scene.world.cycles.sampling_method = "MANUAL"
    scene.world.cycles.sample_map_resolution = 128


def build(shot: Shot) -> Model | None:
    """Build the item of a shot into the scene; its shape depends on item and seed alone."""
    if shot.item == NOTHING:
        return None
    builder = THINGS.get(shot.item) or ITEMS[shot.item].build
    return builder(random.Random(f"{shot.item} {shot.seed}"))


def _empty(name: str):
    holder = bpy.data.objects.new(name, None)
    bpy.context.scene.collection.objects.link(holder)
    return holder


def _hide(objects, hidden: bool) -> None:
    for target in objects:
        target.hide_render = hidden


def _rest(model: Model, carrier, yaw_rad: float) -> Box:
    """Lay the item down, its middle over the origin, and return its bounds."""
    root = _empty("root")
    for part in model.objects:
        part.parent = root
    pose = model.pose(yaw_rad)
    root.matrix_world = pose
    points = _points(model.objects)
    low, high = points.min(0), points.max(0)
    foot = float(np.percentile(points[:, 2], 0.02))  # a stray vertex may sink into the floor
    middle = (low + high) / 2
    root.matrix_world = Matrix.Translation((-float(middle[0]), -float(middle[1]), -foot)) @ pose
    root.parent = carrier
    return Box(*(float(side) for side in high - low))


def _points(objects) -> np.ndarray:
    """Return the vertices of all objects as rendered, (n, 3) in the world."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    found = []
    for part in objects:
        shaped = part.evaluated_get(graph)
        mesh = shaped.to_mesh()
        if mesh is None:
            continue
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        world = np.array(shaped.matrix_world)
        found.append(points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3])
        shaped.to_mesh_clear()
    return np.concatenate(found)


def _camera(extent: float, height: float, rng: random.Random) -> None:
    """Look down at 62 to 84 degrees, so near that the item fills much of the picture."""
    lens = bpy.data.cameras.new("camera")
    lens.lens = 35
    camera = bpy.data.objects.new("camera", lens)
    scene = bpy.context.scene
    scene.collection.objects.link(camera)
    elevation = math.radians(rng.uniform(62, 84))
    distance = extent * rng.uniform(1.28, 1.45) + 0.35
    target = Vector((rng.uniform(-0.1, 0.1), rng.uniform(-0.08, 0.08), height * 0.35))
    camera.location = target + distance * Vector((0, -math.cos(elevation), math.sin(elevation)))
    _aim(camera, target)
    lens.dof.use_dof = True
    lens.dof.focus_distance = distance - 0.2
    lens.dof.aperture_fstop = 4.5
    scene.camera = camera


def _aim(target, at: Vector) -> None:
    target.rotation_euler = (at - target.location).to_track_quat("-Z", "Y").to_euler()


def _lamp(rng: random.Random):
    """Hang a ceiling panel somewhere above, neutral to a little warm."""
    light = bpy.data.lights.new("panel", "AREA")
    light.energy = 430 * rng.uniform(0.78, 1.02)
    light.shape, light.size, light.size_y = "RECTANGLE", 5, 2.2
    light.color = (1, rng.uniform(0.965, 0.99), rng.uniform(0.91, 0.98))
    panel = bpy.data.objects.new("panel", light)
    bpy.context.scene.collection.objects.link(panel)
    panel.location = (rng.uniform(-4, 4), rng.uniform(1, 5), 9)
    _aim(panel, Vector((0, 0, 0)))
    return light


def _room(rng: random.Random):
    """Surround the scene with a room to reflect; return the node that lights it."""
    world = bpy.data.worlds.new("room")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    seen = nodes.new("ShaderNodeTexEnvironment")
    folder = Path(bpy.utils.resource_path("LOCAL"))
    seen.image = bpy.data.images.load(str(folder / REFLECTED_ROOM))
    turn = nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value = (0, 0, rng.uniform(0, math.tau))
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], turn.inputs[0])
    links.new(turn.outputs[0], seen.inputs[0])
    background = nodes["Background"]
    links.new(seen.outputs[0], background.inputs["Color"])
    background.inputs["Strength"].default_value = 0.6
    return background


def _opaque():
    graph = Graph("opaque")
    graph.surface(graph.node("Emission").outputs[0])
    return graph.material


def _rendered() -> np.ndarray:
    """Render the scene; (h, w, 4) uint8, straight from a temporary file."""
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "picture.png")
        bpy.ops.render.render(write_still=True)
        return np.asarray(Image.open(scene.render.filepath).convert("RGBA"))
