"""Write pictures, masks and sequences, as one camera sees them, and say what was written."""

import random
from pathlib import Path

import numpy as np
from PIL import Image

from . import drops
from .camera import Camera
from .items import ITEMS
from .scene import Shot, Stage

JPEG_QUALITY = 88


def write_still(shot: Shot, path: Path, *, mask: bool = False, clean: bool = False) -> dict:
    """Render one picture to path, and its mask beside it; return what it shows."""
    stage = Stage(shot)
    pixels = stage.picture()
    if not clean:
        camera, noise = _camera(shot)
        pixels = camera.expose(pixels, noise)
    _save(pixels, path)
    if mask:
        Image.fromarray(stage.mask()).save(path.with_suffix(".mask.png"))
    return _described(shot)


def write_sequence(shot: Shot, folder: Path) -> dict:
    """Render a sequence to folder/000.jpg and on; return what it shows, and when."""
    makers = {"hand": drops.reach, "light": drops.light}
    sequence = makers.get(shot.item, drops.drop)(shot)
    camera, noise = _camera(shot)
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(sequence.frames):
        _save(camera.expose(pixels, noise), folder / f"{number:03d}.jpg")
    return _described(shot) | {
        "frames": len(sequence.frames),
        "fps": drops.FPS,
        "first_in_view": sequence.first_in_view,
        "first_at_rest": sequence.first_at_rest,
    }


def sequence_name(shot: Shot) -> str:
    label = _label(shot.item)
    return f"{label}_{shot.item}_{shot.surface}" if label else f"{shot.item}_{shot.surface}"


def _label(item: str) -> str | None:
    return ITEMS[item].label if item in ITEMS else None


def _described(shot: Shot) -> dict:
    return {
        "label": _label(shot.item),
        "item": shot.item,
        "surface": shot.surface,
        "seed": shot.seed,
    }


def _camera(shot: Shot) -> tuple[Camera, np.random.Generator]:
    rng = random.Random(f"camera {shot.item} {shot.surface} {shot.seed}")
    return Camera.draw(rng), np.random.default_rng(rng.getrandbits(32))


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": JPEG_QUALITY, "optimize": True} if path.suffix == ".jpg" else {}
    Image.fromarray(pixels).save(path, **options)
