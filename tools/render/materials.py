"""Materials: a thin layer over Blender's shader nodes, and the materials several items share."""

from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from PIL import Image

Colour = tuple[float, float, float]  # linear light, 0..1


def srgb(code: str) -> Colour:
    """Return the linear colour of an sRGB code such as "c08040"."""
    levels = [int(code[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    return tuple(_linear(level) for level in levels)


def _linear(level: float) -> float:
    return ((level + 0.055) / 1.055) ** 2.4 if level > 0.04045 else level / 12.92


def grey(level: float) -> Colour:
    return (level, level, level)


class Graph:
    """The node graph of one new material.

    Wherever a method takes a value it also takes the output of another node, which it links.
    """

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self._tree = self.material.node_tree
        self._tree.nodes.clear()
        self._surface = self.node("OutputMaterial").inputs[0]

    def node(self, kind: str, inputs: Mapping | None = None, **attributes):
        """Add a node; inputs by name or position, attributes such as operation="MULTIPLY"."""
        node = self._tree.nodes.new("ShaderNode" + kind)
        for name, value in attributes.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            self._feed(node.inputs[key], value)
        return node

    def _feed(self, socket, value) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self._tree.links.new(value, socket)
        elif socket.type == "RGBA" and len(value) == 3:
            socket.default_value = (*value, 1)
        else:
            socket.default_value = value

    def surface(self, shader) -> None:
        """Make the shader what the material shows."""
        self._feed(self._surface, shader)

    def principled(self, inputs: Mapping):
        """Add the all-round shader and show it."""
        shader = self.node("BsdfPrincipled", inputs).outputs[0]
        self.surface(shader)
        return shader

    def coordinates(self, kind: str = "Object"):
        return self.node("TexCoord").outputs[kind]

    def mapped(self, vector, **settings: Sequence[float]):
        """Move, turn or scale coordinates: mapped(vector, Scale=(1, 40, 1))."""
        return self.node("Mapping", {"Vector": vector, **settings}).outputs[0]

    def noise(self, vector, scale: float, detail: float, roughness: float = 0.5, output="Fac"):
        settings = {"Vector": vector, "Scale": scale, "Detail": detail, "Roughness": roughness}
        return self.node("TexNoise", settings).outputs[output]

    def ramp(self, value, stops: Sequence[tuple[float, Colour]]):
        """Turn a value 0..1 into a colour by its stops (position, colour)."""
        node = self.node("ValToRGB", {0: value})
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position = position
            element.color = (*colour, 1)
        return node.outputs[0]

    def bump(self, height, strength: float, distance: float = 0.01):
        settings = {"Height": height, "Strength": strength, "Distance": distance}
        return self.node("Bump", settings).outputs[0]

    def math(self, operation: str, *values):
        return self.node("Math", dict(enumerate(values)), operation=operation).outputs[0]

    def multiply_add(self, vector, factor, offset):
        inputs = {0: vector, 1: factor, 2: offset}
        return self.node("VectorMath", inputs, operation="MULTIPLY_ADD").outputs[0]

    def multiply(self, first, second, amount=1.0):
        """Multiply two colours, by amount 0..1."""
        inputs = {0: amount, 1: first, 2: second}
        return self.node("MixRGB", inputs, blend_type="MULTIPLY").outputs[0]

    def picture(self, image: Image.Image, extension: str = "REPEAT"):
        """Show a picture by the mesh's own coordinates; extension says what is beyond its edge."""
        return self.node("TexImage", image=_loaded(image), extension=extension).outputs[0]


def _loaded(image: Image.Image):
    pixels = np.asarray(image.convert("RGBA"), np.float32)[::-1] / 255  # Blender counts rows up
    loaded = bpy.data.images.new("drawn", image.width, image.height)
    loaded.pixels.foreach_set(np.ascontiguousarray(pixels).ravel())
    loaded.pack()
    return loaded


def plain(name: str, colour: Colour, roughness: float = 0.5, metallic: float = 0.0):
    """Return a material of one colour."""
    graph = Graph(name)
    graph.principled({"Base Color": colour, "Roughness": roughness, "Metallic": metallic})
    return graph.material


def printed(name: str, image: Image.Image, roughness: float = 0.4, extension: str = "REPEAT"):
    """Return paper or film that carries a drawn picture."""
    graph = Graph(name)
    graph.principled({"Base Color": graph.picture(image, extension), "Roughness": roughness})
    return graph.material


def clear(name: str, colour: Colour, shadow: Colour, *, index: float = 1.5, ripple: float = 0.0):
    """Return glass or clear plastic: colour by sight, shadow where light passes through it.

    The shadow is a plain tint: real caustics would need hundreds of samples a pixel.
    """
    graph = Graph(name)
    glass = {"IOR": index, "Roughness": 0.0, "Color": colour}
    if ripple:
        waves = graph.noise(graph.coordinates(), scale=6.0, detail=3.0)
        glass["Normal"] = graph.bump(waves, ripple, 0.05)
    path = graph.node("LightPath").outputs
    through = graph.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])
    seen = graph.node("BsdfGlass", glass).outputs[0]
    shade = graph.node("BsdfTransparent", {"Color": shadow}).outputs[0]
    graph.surface(graph.node("MixShader", {0: through, 1: seen, 2: shade}).outputs[0])
    return graph.material
