"""The simulated belt as it truly is: where it is at any time, and what lies on it.

Everything follows from a few numbers, so the camera's process and the one with the sensors and
diverters each make the same world from the same line of JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

SPRITES = Path(__file__).parent / "sprites"
PX_PER_MM = 1.4
WOBBLE_S = 3.0  # period in which the belt's speed goes up and down
LEAST_GAP_MM = 12.0  # what a gate that is debounced by 2 ms still parts at 4.5 m/s
START_S = 2.0  # the belt runs empty so long, while the daemon starts
LEAST_PITCH_SHARE = 0.6  # of the mean distance between items; the rest is random


@dataclass(frozen=True, slots=True)
class Sprite:
    """A rendered item, cut out."""

    file: str
    label: str
    y: int  # of its upper edge in the camera's picture, px
    body_x: int  # where the item itself begins in the cut-out, which has its shadow too, px
    body_width: int


@dataclass(frozen=True, slots=True)
class Thing:
    """One item on the belt."""

    number: int  # 1, 2, 3 ... in the order of the gate
    sprite: int
    lead_mm: float  # the belt's travel at which its leading edge is at the gate
    length_mm: float
    flipped: bool  # turned over its long side, for more variety

    @property
    def middle_mm(self) -> float:
        return self.lead_mm + self.length_mm / 2


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, as shares and times."""

    dropped_frames: float = 0.02
    close_items: float = 0.03  # follow another nearer than a diverter can part
    wobble: float = 0.01  # of the belt's speed
    gate_bounces: float = 0.3  # edges that chatter
    pulse_noise: float = 0.001  # encoder pulses that are missing, and as many too many
    camera_jitter_s: float = 0.002


@dataclass(frozen=True)
class World:
    """Which belt, and what of it."""

    seed: int
    start_s: float  # monotonic clock
    items: int
    per_min: float
    speed_mm_s: float
    fps: float
    camera_mm: float  # from the gate to the middle of the picture
    faults: Faults

    @cached_property
    def sprites(self) -> tuple[Sprite, ...]:
        """The cut-outs that are shipped."""
        listing = json.loads((SPRITES / "sprites.json").read_text(encoding="utf-8"))
        return tuple(Sprite(**entry) for entry in listing["sprites"])

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """All items, in the order of the gate."""
        return tuple(self._lay())

    @cached_property
    def lead_times(self) -> list[float]:
        """When each item's leading edge is at the gate, monotonic clock."""
        return [self.time_of(thing.lead_mm) for thing in self.things]

    def travel_mm(self, at_s: float) -> float:
        """How far the belt has truly run."""
        elapsed_s = at_s - self.start_s
        swing_s = self.faults.wobble * WOBBLE_S / math.tau
        wave = 1 - math.cos(math.tau * elapsed_s / WOBBLE_S)
        return self.speed_mm_s * (elapsed_s + swing_s * wave)

    def time_of(self, travel_mm: float) -> float:
        """When the belt has run so far: the reverse of `travel_mm`."""
        at_s = self.start_s + travel_mm / self.speed_mm_s
        for _ in range(6):  # the error shrinks by the wobble's share each time
            at_s -= (self.travel_mm(at_s) - travel_mm) / self.speed_mm_s
        return at_s

    def near(self, first_mm: float, last_mm: float) -> Iterator[Thing]:
        """Things of which a part lies in a stretch of the belt, on the scale of travel."""
        leads = self._leads
        index = int(np.searchsorted(leads, first_mm - 400))
        while index < len(leads) and leads[index] <= last_mm:
            thing = self.things[index]
            if thing.lead_mm + thing.length_mm >= first_mm:
                yield thing
            index += 1

    def to_json(self) -> str:
        """One line; `from_json` makes an equal world of it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> World:
        """The world of a line that `to_json` wrote."""
        numbers = json.loads(text)
        return cls(**{**numbers, "faults": Faults(**numbers["faults"])})

    @cached_property
    def _leads(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([thing.lead_mm for thing in self.things])

    def _lay(self) -> Iterator[Thing]:
        rng = np.random.default_rng(self.seed)
        mean_mm = self.speed_mm_s * 60 / self.per_min
        order = self._by_turns(rng)
        lead_mm, end_mm = START_S * self.speed_mm_s, -math.inf
        for number in range(1, self.items + 1):
            sprite = order[number - 1]
            length_mm = self.sprites[sprite].body_width / PX_PER_MM
            if rng.random() < self.faults.close_items and number > 1:
                lead_mm = end_mm + rng.uniform(LEAST_GAP_MM, 30)
            lead_mm = max(lead_mm, end_mm + LEAST_GAP_MM)
            yield Thing(number, sprite, lead_mm, length_mm, bool(rng.random() < 0.5))
            end_mm = lead_mm + length_mm
            spare = rng.exponential(1 - LEAST_PITCH_SHARE)
            lead_mm += mean_mm * (LEAST_PITCH_SHARE + spare)

    def _by_turns(self, rng: np.random.Generator) -> list[int]:
        """Every class as often as every other, every cut-out of a class too, in random order."""
        by_label: dict[str, list[int]] = {}
        for index, sprite in enumerate(self.sprites):
            by_label.setdefault(sprite.label, []).append(index)
        order: list[int] = []
        while len(order) < self.items:
            order += [int(rng.choice(choices)) for choices in by_label.values()]
        rng.shuffle(order)
        return order[: self.items]
