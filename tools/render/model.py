"""What a builder of an item hands over: its objects, and how they come to rest."""

import math
from dataclasses import dataclass

from mathutils import Matrix


@dataclass(frozen=True, slots=True)
class Model:
    """Objects built round the z axis, 1 unit being about a can's height."""

    objects: list
    lying: bool = False
    roll_rad: float = math.pi  # lying: turn about its own axis; pi shows angle 0 to the camera
    taper_rad: float = 0.0  # lying: how far its wall leans outwards towards its top
    proportions: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def pose(self, yaw_rad: float) -> Matrix:
        """Return the turn that lays the item down; where it stands is the scene's affair."""
        size = Matrix.Diagonal((*self.proportions, 1))
        if self.lying:
            over = Matrix.Rotation(math.pi / 2 - self.taper_rad, 4, "Y")
            size = over @ Matrix.Rotation(self.roll_rad, 4, "Z") @ size
        return Matrix.Rotation(yaw_rad, 4, "Z") @ size


def slightly(rng, spread: float = 0.05) -> tuple[float, float, float]:
    """Return proportions a little thinner or thicker, shorter or taller than drawn."""
    wide = rng.uniform(1 - spread, 1 + spread)
    return (wide, wide, rng.uniform(1 - spread, 1 + spread))
