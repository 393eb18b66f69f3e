"""What a cheap camera adds to a clean picture: blur, vignette, colour cast, sensor noise.

Mild on purpose: the sample frames should not look like product pictures, and should not pretend
to be measurements of a particular sensor either. A sequence keeps one Camera and draws fresh
noise for every frame.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True, slots=True)
class Camera:
    """One unit of a camera model; two units differ a little."""

    blur_px: float = 0.6  # Gaussian sigma: a plastic lens, focused at about the right distance
    vignette: float = 0.12  # share of the light missing in the corners
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # red, green, blue
    read_noise: float = 0.9  # standard deviation in the dark, in 8-bit levels
    shot_noise: float = 0.10  # standard deviation per square root of the level
    grain_px: float = 0.45  # noise is not white: demosaicing smears it

    @classmethod
    def draw(cls, rng: random.Random) -> "Camera":
        """Return a unit with its own lens, white balance and exposure error."""
        exposure = rng.uniform(0.94, 1.04)
        red, blue = rng.uniform(0.985, 1.02), rng.uniform(0.97, 1.02)
        return cls(
            blur_px=rng.uniform(0.35, 0.65),
            vignette=rng.uniform(0.06, 0.16),
            gains=(exposure * red, exposure, exposure * blue),
            shot_noise=rng.uniform(0.08, 0.14),
        )

    def expose(self, pixels: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        """Return the picture as this camera sees it; pixels (h, w, 3) uint8 RGB in and out."""
        light = _blurred(pixels, self.blur_px).astype(np.float32)
        light *= _falloff(*pixels.shape[:2], self.vignette)[..., None]
        light *= np.asarray(self.gains, np.float32)
        deviation = np.sqrt(self.read_noise**2 + self.shot_noise**2 * light)
        light += deviation * _grain(pixels.shape, self.grain_px, noise)
        return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def _blurred(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma_px)))


def _falloff(height: int, width: int, amount: float) -> np.ndarray:
    """Return the share of light kept, (h, w): 1 in the middle, 1 - amount in the corners."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return 1 - amount * (rows**2 + columns**2) / 2


def _grain(shape: tuple[int, ...], sigma_px: float, noise: np.random.Generator) -> np.ndarray:
    """Return noise of standard deviation 1, (h, w, 3), smeared over its neighbours."""
    grain = noise.standard_normal(shape, dtype=np.float32)
    reach = np.exp(-0.5 / sigma_px**2)
    for axis in (0, 1):
        grain = grain + reach * (np.roll(grain, 1, axis) + np.roll(grain, -1, axis))
    return grain / grain.std()
