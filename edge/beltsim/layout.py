"""How the simulated line is laid out: distances, and a speed that suits the rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.beltsim.world import Faults

MEAN_PITCH_MM = 450.0  # from item to item, on average, as long as the belt's speed allows
SLOWEST_MM_S, FASTEST_MM_S = 200.0, 4500.0
FRAME_MM = 33.0  # the belt's travel from frame to frame that a camera should not exceed
LEAST_PER_MIN, MOST_PER_MIN = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Distances along the belt from the light gate, mm."""

    picture_mm: float = 160.0  # middle of the camera's picture
    lead_mm: float = 220.0  # leading edge of an item that is rightly in it
    window_mm: float = 72.0
    min_gap_mm: float = 40.0
    max_item_mm: float = 300.0
    diverters_mm: Mapping[str, float] = field(
        default_factory=lambda: {"glass": 900.0, "packaging": 1300.0, "paper": 1700.0}
    )
    end_mm: float = 2100.0  # of the belt, where the safe route begins
    face_mm: float = 40.0  # width of a diverter's paddle along the belt
    tolerance_mm: float = 25.0  # by which a paddle may miss the middle of an item
    delay_s: float = 0.03  # of a diverter, from the order to the full movement
    mm_per_pulse: float = 2.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a person chooses."""

    per_min: float = 60.0
    items: int = 60
    seed: int = 1
    encoder: bool = False  # else the belt's clock is its fixed speed
    faults: Faults = field(default_factory=Faults)
    layout: Layout = field(default_factory=Layout)

    @property
    def speed_mm_s(self) -> float:
        return min(FASTEST_MM_S, max(SLOWEST_MM_S, self.per_min / 60 * MEAN_PITCH_MM))

    @property
    def fps(self) -> float:
        return min(120.0, max(20.0, self.speed_mm_s / FRAME_MM))
