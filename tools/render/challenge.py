"""Renders the challenge set: unknown things, empty scenes, one item on many surfaces, sequences."""

import json
import random
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
from mathutils import Vector
from PIL import Image

from . import drops, hand, lighting, plan
from .camera import Camera
from .items import ITEMS, NOTHING
from .scene import Shot, Stage

JPEG_QUALITY = 84
INDEX = "catalogue.json"
STILL_FRAMES, SHADOW_FRAMES = 4, 10  # of a shadow sequence: at either end, while it moves
DARK_NOISE = {"dim": 1.6, "dark": 3.5}  # how much a camera turns its gain up, and its noise


def write(folder: Path, template: Shot, only: list[str], missing: bool, say) -> None:
    """Render all, or what starts with one of the names; missing: only files not there yet."""
    _check_labels()

    def wanted(name: str) -> bool:
        if missing and (folder / name).exists():
            return False
        return not only or any(name.startswith(start) for start in only)

    due = [picture for picture in plan.pictures() if wanted(picture.file)]
    for group, found in groupby(due, key=lambda picture: picture.group):
        _GROUPS[group](list(found), folder, template, say)
    for what, surface, seed, _ in plan.SEQUENCES:
        name = plan.sequence_folder(what, surface)
        if wanted(name):
            say(name)
            _sequence(what, replace(template, surface=surface, seed=seed), folder / name)
    _index(folder)


def _check_labels() -> None:
    """Raise AssertionError where the plan and the items disagree about a class."""
    for item, label in [*plan.ITEMS.items(), *plan.TUNE_ITEMS.items()]:
        assert ITEMS[item].label == label, f"{item} is {ITEMS[item].label}, not {label}"


def _index(folder: Path) -> None:
    names = [plan.sequence_folder(what, surface) for what, surface, _, _ in plan.SEQUENCES]
    frames = {name: len(list((folder / name).glob("*.jpg"))) for name in names}
    text = json.dumps(plan.catalogue(frames), indent=None, separators=(",", ":"))
    (folder / INDEX).write_text(text.replace('},{"', '},\n{"') + "\n", "utf-8")


def _unknown(pictures, folder: Path, template: Shot, say) -> None:
    for picture in pictures:
        say(picture.file)
        shot = _shot(picture, template)
        stage = _with_hand(shot) if picture.item == "hand" else Stage(shot)
        _save(stage.picture(), picture, folder)


def _with_hand(shot: Shot) -> Stage:
    """Let a hand hang into the picture, in one of its poses."""
    rng = random.Random(f"hand still {shot.surface} {shot.seed}")
    stage = Stage(replace(shot, item=NOTHING))
    stage.carry(hand.arm(rng, hand.POSES[shot.seed % len(hand.POSES)]))
    angle = rng.uniform(-0.6, 3.7)  # from behind or the sides: the camera is in front
    away = Vector((np.cos(angle), np.sin(angle), 0)) * rng.uniform(-0.75, -0.3)
    stage.carrier.location = away + Vector((0, 0, rng.uniform(0.15, 0.5)))
    stage.carrier.rotation_euler = (rng.uniform(-0.25, 0.25), 0, angle)
    return stage


def _empty(pictures, folder: Path, template: Shot, say) -> None:
    for picture in pictures:
        say(picture.file)
        stage = Stage(_shot(picture, template))
        lighting.set_light(stage, picture.light, random.Random(f"light {picture.file}"))
        _save(stage.picture(), picture, folder)


def _factorial(pictures, folder: Path, template: Shot, say) -> None:
    """Build each item once, and change nothing but what it lies on."""
    for _, found in groupby(pictures, key=lambda picture: picture.item):
        stage = None
        for picture in found:
            say(picture.file)
            stage = stage or Stage(_shot(picture, replace(template, surface=plan.SURFACES[0])))
            stage.lay(picture.surface, random.Random(f"{picture.surface} {picture.seed}"))
            _save(stage.picture(), picture, folder)


# Items to tune by are drawn as unknown things are: each in a stage and light of its own.
_GROUPS = {"unknown": _unknown, "empty": _empty, "factorial": _factorial, "items": _unknown}


def _shot(picture: plan.Picture, template: Shot) -> Shot:
    surface = plan.SURFACES[0] if picture.group == "factorial" else picture.surface
    return replace(template, item=picture.item, surface=surface, seed=picture.seed)


def _save(pixels: np.ndarray, picture: plan.Picture, folder: Path) -> None:
    """Expose with a camera of the picture's own; the factorial set has one for each item."""
    own = picture.item if picture.group == "factorial" else picture.file
    rng = random.Random(f"camera {picture.group} {own} {picture.seed}")
    camera = _gained(Camera.draw(rng), picture.light)
    noise = np.random.default_rng(rng.getrandbits(32))
    _write(camera.expose(pixels, noise), folder / picture.file)


def _gained(camera: Camera, light: str) -> Camera:
    gain = DARK_NOISE.get(light, 1.0)
    return replace(camera, read_noise=camera.read_noise * gain, shot_noise=camera.shot_noise * gain)


def _write(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY, optimize=True)


def _sequence(what: str, shot: Shot, folder: Path) -> None:
    frames = _shadow(shot) if what == "shadow" else drops.reach(shot).frames
    rng = random.Random(f"camera {what} {shot.surface} {shot.seed}")
    camera, noise = Camera.draw(rng), np.random.default_rng(rng.getrandbits(32))
    for number, pixels in enumerate(frames):
        _write(camera.expose(pixels, noise), folder / f"{number:03d}.jpg")


def _shadow(shot: Shot) -> list[np.ndarray]:
    """A shadow passes over the empty surface from one side to the other."""
    rng = random.Random(f"shadow {shot.surface} {shot.seed}")
    stage = Stage(replace(shot, item=NOTHING))
    lighting.sharpen(stage)
    before = stage.picture()
    side = rng.choice([-1, 1])
    caster = lighting.cast(rng, 0.0)
    moving = []
    for step in range(SHADOW_FRAMES):
        share = 1 - 2 * (step + 0.5) / SHADOW_FRAMES
        caster.location = lighting.over_view(side * share * lighting.REACH)
        moving.append(stage.picture())
    return [*[before] * STILL_FRAMES, *moving, *[before] * STILL_FRAMES]
