"""Small made-up photos: coloured items on white card, with masks; two runs give equal files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLOURS = {"blue": (40, 60, 200), "green": (40, 170, 60), "red": (210, 40, 40)}
# A network small enough to train in a second, from nothing.
TINY_RECIPE = """
name = "tiny"
[network]
weights = "scratch"
blocks = 2
head = 16
size_px = 32
dropout = 0.0
[augment]
bank = 9
swap_share = 0.5
erase_share = 0.0
mixup_alpha = 0.0
[training]
epochs = 3
batch = 8
lr = 3e-3
head_lr_factor = 1
warmup_epochs = 0
ema_decay = 0.5
small_px = 32
[int8]
calibration_pictures = 16
least_agreement = 0.0
"""


def write_photos(root: Path, per_class: int = 6, colours: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """root/images/COLOUR/COLOUR0.png ... with root/masks beside it; returns root/images."""
    rng = np.random.default_rng(5)
    for colour in colours:
        for i in range(per_class):
            pixels, mask = make_photo(COLOURS[colour], rng)
            for folder, picture in (("images", pixels[..., ::-1]), ("masks", mask)):
                path = root / folder / colour / f"{colour}{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), picture)
    return root / "images"


def make_photo(
    rgb: tuple[int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(96, 128, 3) uint8 RGB, and its (192, 256) uint8 mask: a filled ellipse on white card."""
    mask = np.zeros((192, 256), np.uint8)
    centre = (int(rng.integers(90, 166)), int(rng.integers(70, 122)))
    axes = (int(rng.integers(35, 60)), int(rng.integers(25, 45)))
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    card = np.full((96, 128, 3), 235, np.float32) + rng.normal(0, 4, (96, 128, 3))
    item = np.array(rgb, np.float32) + rng.normal(0, 12, (96, 128, 3))
    small = cv2.resize(mask, (128, 96), interpolation=cv2.INTER_AREA)[..., None] / 255
    return np.clip(item * small + card * (1 - small), 0, 255).astype(np.uint8), mask
