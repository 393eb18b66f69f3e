"""Plastic: a water bottle, a detergent bottle, a yoghurt cup."""

import math
import random

from . import labels
from .materials import clear, plain, printed, srgb
from .model import Model, slightly
from .shapes import Dent, dent, revolve, thicken


def pet(rng: random.Random) -> Model:
    """A thin water bottle, pressed in here and there."""
    film = clear("pet", (0.97, 0.985, 0.99), (0.93, 0.95, 0.96), index=1.45, ripple=0.12)
    foot = [(0, 0.07), (0.14, 0.05), (0.24, 0), (0.29, 0.02), (0.325, 0.12)]
    grip = [(0.325, 0.72), (0.315, 0.75), (0.315, 1.25), (0.325, 1.28)]
    shoulder = [(0.32, 1.52), (0.27, 1.72), (0.17, 1.93), (0.128, 2.0), (0.125, 2.05)]
    neck = [(0.16, 2.055), (0.16, 2.075), (0.125, 2.08), (0.12, 2.2)]
    profile = foot + _rings(0.17, 0.68) + grip + _rings(1.3, 1.48) + shoulder + neck
    bottle = revolve("pet", profile, film, warp=_petals)
    paper = printed("pet label", labels.water(rng), 0.3)
    label = revolve("label", [(0.3185, 0.76), (0.3185, 1.24)], paper, rounded=False)
    dent([bottle, label], _dents(rng), wobble=0.035, seed=rng.uniform(0, 9))
    thicken(bottle, 0.008)
    objects = [bottle, label, *_cap(rng)]
    return Model(objects, lying=True, roll_rad=rng.uniform(0, math.tau), proportions=slightly(rng))


def _rings(start: float, stop: float) -> list[tuple[float, float]]:
    """Return stiffening rings, 0.09 apart."""
    profile = []
    height = start
    while height < stop:
        profile += [(0.327, height), (0.327, height + 0.045)]
        profile += [(0.309, height + 0.06), (0.309, height + 0.07)]
        height += 0.09
    return profile


def _petals(angle: float, height: float) -> float:
    return 1 - 0.09 * max(0, 1 - height / 0.22) * (1 + math.cos(5 * angle)) * 0.5


def _dents(rng: random.Random) -> list[Dent]:
    dents = []
    for height in (0.25, 0.5, 1.0, 1.42):
        angle = rng.uniform(0, math.tau)
        direction = (math.cos(angle), math.sin(angle), rng.uniform(-0.3, 0.3))
        dents.append(Dent(direction, height, rng.uniform(0.2, 0.27), rng.uniform(0.15, 0.25)))
    return dents


def _cap(rng: random.Random) -> list:
    tint = plain("cap", srgb(rng.choice(["1550b8", "e8e8e6", "1a8a3a", "c42228"])), 0.35)
    profile = [(0, 2.25), (0.135, 2.25), (0.15, 2.235), (0.153, 2.1), (0.14, 2.1)]
    ring = [(0.14, 2.09), (0.152, 2.09), (0.152, 2.077), (0.14, 2.077)]
    return [
        revolve("cap", profile, tint, segments=240, warp=_knurl),
        revolve("ring", ring, tint, rounded=False),
    ]


def _knurl(angle: float, height: float) -> float:
    return 1 + 0.022 * math.cos(60 * angle) * (height < 2.235)


def detergent(rng: random.Random) -> Model:
    """An opaque flat bottle: turned round, then squashed by its proportions."""
    base = rng.choice(["f0efe9", "2f68c0", "f2c21c", "2e9a5c", "d8474a"])
    body = plain("hdpe", srgb(base), 0.38)
    foot = [(0, 0.03), (0.4, 0.0), (0.46, 0.04), (0.47, 0.12)]
    top = [(0.47, 1.25), (0.43, 1.5), (0.28, 1.72), (0.15, 1.8), (0.14, 1.86), (0, 1.86)]
    bottle = revolve("bottle", foot + top, body)
    paper = printed("label", labels.cleaner(rng), 0.35, "EXTEND")
    front = revolve(
        "front", [(0.473, 0.22), (0.473, 1.22)], paper, arc=(-1.05, 1.05), rounded=False
    )
    dent([bottle, front], _dents(rng)[1:3], wobble=0.015, seed=rng.uniform(0, 9))
    tint = plain("cap", srgb(rng.choice(["e23b2e", "f4f4f2", "1d4fa8"])), 0.35)
    cap = revolve("cap", [(0, 2.12), (0.17, 2.12), (0.19, 2.09), (0.2, 1.82), (0.18, 1.82)], tint)
    thin, wide, tall = slightly(rng, 0.06)
    flat = (0.62 * thin, wide, tall)
    return Model([bottle, front, cap], lying=True, proportions=flat)


def tub(rng: random.Random) -> Model:
    """An empty yoghurt cup on its side."""
    white = plain("cup", srgb("f1f0ec"), 0.35)
    inside = [(0.475, 0.99), (0.5, 0.99), (0.5, 0.975), (0.47, 0.97)]
    wall = [(0.465, 0.93), (0.345, 0.05), (0.325, 0.0), (0.29, 0.025), (0, 0.025)]
    cup = revolve("cup", inside + wall, white)
    paper = printed("cup print", labels.yoghurt(rng), 0.35)
    label = revolve("print", [(0.355, 0.1), (0.46, 0.87)], paper, rounded=False)
    dent([cup, label], _dents(rng)[1:2], wobble=0.02, seed=rng.uniform(0, 9))
    thicken(cup, 0.012)
    roll = rng.uniform(0, math.tau)
    taper = math.atan2(0.5 - 0.335, 0.98)
    return Model([cup, label], True, roll, taper, slightly(rng, 0.08))
