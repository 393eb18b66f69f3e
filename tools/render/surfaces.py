"""What the item lies on: a name, and the material of an endless floor."""

import random

from .materials import Graph, grey, srgb
from .shapes import grid

WIDTH = 30  # so wide that no camera here sees its edge


def lay(name: str, rng: random.Random):
    """Put the surface into the scene; return its object."""
    return grid("surface", WIDTH, WIDTH, 1, 1, SURFACES[name](rng))


def white_card(rng: random.Random):
    graph = Graph("white card")
    here = graph.coordinates()
    blotches = graph.noise(here, scale=0.35, detail=3.0)
    grain = graph.noise(here, scale=60.0, detail=4.0)
    graph.principled(
        {
            "Base Color": graph.ramp(blotches, [(0.3, srgb("e2e0dc")), (0.7, srgb("eceae7"))]),
            "Roughness": 0.55,
            "Normal": graph.bump(grain, 0.12, 0.01),
        }
    )
    return graph.material


def wood(rng: random.Random):
    """Brown boards, each cut from another place of the same endless tree."""
    graph = Graph("wood")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(-0.3, 0.3)))
    boards = _boards(graph, here)
    cut = graph.multiply_add(boards["Color"], (31, 7, 13), here)
    rings = graph.noise(graph.mapped(cut, Scale=(0.16, 1.6, 1)), 1.1, 6.0, 0.55)
    swings = graph.math("SINE", graph.math("MULTIPLY", rings, 14))
    grain = graph.math("MULTIPLY_ADD", swings, 0.5, 0.5)
    fibres = graph.noise(graph.mapped(cut, Scale=(1.2, 42, 1)), 1.6, 8.0, 0.7)
    tree = [(0, srgb("5b351b")), (0.55, srgb("7a4c2a")), (1, srgb("8f6039"))]
    pores = graph.ramp(fibres, [(0.32, (0.35, 0.3, 0.27)), (0.55, grey(1))])
    tone = graph.ramp(boards["Color"], [(0, (0.78, 0.76, 0.74)), (1, grey(1))])
    colour = graph.multiply(graph.multiply(graph.ramp(grain, tree), pores, 0.6), tone)
    graph.principled(
        {
            "Base Color": graph.multiply(colour, (0.12, 0.08, 0.05), boards["Fac"]),
            "Roughness": graph.ramp(fibres, [(0.3, grey(0.55)), (0.7, grey(0.36))]),
            "Normal": graph.bump(fibres, 0.18, 0.01),
        }
    )
    return graph.material


def _boards(graph: Graph, here):
    """Return a number for each board (Color, black to white) and where the gaps are (Fac)."""
    settings = {"Vector": here, "Scale": 0.42, "Mortar Size": 0.004}
    settings |= {"Brick Width": 6.0, "Row Height": 0.5}
    settings |= {"Color1": grey(0), "Color2": grey(1), "Mortar": grey(0.5)}
    return graph.node("TexBrick", settings, offset=0.37).outputs


def brushed_steel(rng: random.Random):
    """The floor of a bin: stretched scratches, and smears that break the reflection."""
    graph = Graph("brushed steel")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(-0.2, 0.2)))
    brush = graph.noise(graph.mapped(here, Scale=(0.8, 60, 1)), 2.0, 6.0, 0.6)
    smears = graph.noise(here, scale=0.9, detail=5.0)
    tone = graph.ramp(brush, [(0.3, srgb("6a6d70")), (0.7, srgb("828587"))])
    dirt = graph.ramp(smears, [(0.35, (0.8, 0.78, 0.74)), (0.6, grey(1))])
    graph.principled(
        {
            "Base Color": graph.multiply(tone, dirt, 0.7),
            "Metallic": 0.85,
            "Roughness": graph.ramp(smears, [(0.3, grey(0.56)), (0.7, grey(0.44))]),
            "Normal": graph.bump(brush, 0.08, 0.01),
        }
    )
    return graph.material


def _waves(graph: Graph, here, scale: float) -> tuple:
    """Return waves along x and along y."""
    settings = {"Vector": here, "Scale": scale}
    return tuple(
        graph.node("TexWave", settings, bands_direction=axis).outputs["Fac"] for axis in "XY"
    )


def belt_rubber(rng: random.Random):
    """A conveyor belt: black, dusty, with a woven pattern pressed into it."""
    graph = Graph("belt rubber")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(-0.1, 0.1)))
    first = graph.node("TexWave", {"Vector": here, "Scale": 5.0}, bands_direction="X").outputs[
        "Fac"
    ]
    second = graph.node("TexWave", {"Vector": here, "Scale": 5.0}, bands_direction="Y").outputs[
        "Fac"
    ]
    weave = graph.math("MULTIPLY", first, second)
    dust = graph.noise(graph.mapped(here, Scale=(1, 0.35, 1)), 1.6, 9.0, 0.68)
    graph.principled(
        {
            "Base Color": graph.ramp(dust, [(0.4, srgb("1a1b1d")), (0.75, srgb("3b3b3b"))]),
            "Roughness": graph.ramp(dust, [(0.4, grey(0.5)), (0.7, grey(0.85))]),
            "Normal": graph.bump(weave, 0.35, 0.02),
        }
    )
    return graph.material


def concrete(rng: random.Random):
    graph = Graph("concrete")
    here = graph.mapped(graph.coordinates(), Location=(rng.uniform(0, 20), rng.uniform(0, 20), 0))
    clouds = graph.noise(here, scale=0.7, detail=8.0, roughness=0.62)
    sand = graph.noise(here, scale=30.0, detail=6.0, roughness=0.75)
    tone = graph.ramp(clouds, [(0.3, srgb("7f7d78")), (0.7, srgb("a3a09a"))])
    speckle = graph.ramp(sand, [(0.3, grey(0.6)), (0.5, grey(1))])
    graph.principled(
        {
            "Base Color": graph.multiply(tone, speckle, 0.6),
            "Roughness": 0.85,
            "Normal": graph.bump(sand, 0.4, 0.02),
        }
    )
    return graph.material


def green_cloth(rng: random.Random):
    graph = Graph("green cloth")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(-0.4, 0.4)))
    warp = graph.node("TexWave", {"Vector": here, "Scale": 14.0}, bands_direction="X").outputs[
        "Fac"
    ]
    weft = graph.node("TexWave", {"Vector": here, "Scale": 14.0}, bands_direction="Y").outputs[
        "Fac"
    ]
    threads = graph.math("ADD", warp, weft)
    fluff = graph.noise(here, scale=1.2, detail=8.0, roughness=0.65)
    graph.principled(
        {
            "Base Color": graph.ramp(fluff, [(0.3, srgb("2c5a3c")), (0.7, srgb("3f7450"))]),
            "Roughness": 0.95,
            "Specular IOR Level": 0.15,
            "Normal": graph.bump(threads, 0.3, 0.01),
        }
    )
    return graph.material


def kraft(rng: random.Random):
    """Corrugated cardboard, its flutes showing through as faint stripes."""
    graph = Graph("kraft")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(-0.5, 0.5)))
    flutes, _ = _waves(graph, here, 4.5)
    fibres = graph.noise(graph.mapped(here, Scale=(1, 6, 1)), 9.0, 7.0, 0.7)
    clouds = graph.noise(here, scale=0.6, detail=4.0)
    tone = graph.ramp(fibres, [(0.3, srgb("8f6f50")), (0.7, srgb("a98763"))])
    stripes = graph.ramp(flutes, [(0, grey(0.9)), (1, grey(1))])
    patches = graph.ramp(clouds, [(0.35, grey(0.88)), (0.6, grey(1))])
    graph.principled(
        {
            "Base Color": graph.multiply(graph.multiply(tone, stripes), patches),
            "Roughness": 0.8,
            "Normal": graph.bump(flutes, 0.15, 0.01),
        }
    )
    return graph.material


def dark_plastic(rng: random.Random):
    """The floor of a dark bin: moulded plastic, scratched and half shiny."""
    graph = Graph("dark plastic")
    here = graph.mapped(graph.coordinates(), Rotation=(0, 0, rng.uniform(0, 3)))
    scratches = graph.noise(graph.mapped(here, Scale=(0.7, 30, 1)), 2.5, 6.0, 0.7)
    smears = graph.noise(here, scale=1.1, detail=6.0)
    pits = graph.noise(here, scale=40.0, detail=3.0)
    graph.principled(
        {
            "Base Color": graph.ramp(scratches, [(0.5, srgb("17191b")), (0.75, srgb("33363a"))]),
            "Roughness": graph.ramp(smears, [(0.3, grey(0.38)), (0.7, grey(0.6))]),
            "Normal": graph.bump(pits, 0.2, 0.01),
        }
    )
    return graph.material


SURFACES = {
    "white": white_card,
    "wood": wood,
    "steel": brushed_steel,
    "belt": belt_rubber,
    "concrete": concrete,
    "cloth": green_cloth,
    "kraft": kraft,
    "dark": dark_plastic,
}
