"""What becomes of each item: which diverter hits what, and into which bin it falls. Pure."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from edge.beltsim.layout import Layout
from edge.beltsim.world import Thing, World

SAFE = "residual"


@dataclass(frozen=True, slots=True)
class Kick:
    """A diverter's movement."""

    route: str
    number: int  # of the item that it was decided for
    at_s: float  # of the full movement, monotonic clock
    hits: tuple[int, ...]  # numbers of the items that it met

    @property
    def wrong(self) -> bool:
        """It met an item that it was not decided for."""
        return any(number != self.number for number in self.hits)


@dataclass(slots=True)
class Fate:
    """The belt's physics: a paddle sweeps off whatever is in front of it."""

    world: World
    layout: Layout
    kicks: list[Kick] = field(default_factory=list)
    bins: dict[int, str] = field(default_factory=dict)  # item: the bin into which it was swept

    def kick(self, route: str, number: int, at_s: float) -> Kick:
        """A paddle moves; kicks come in the order of time, to within one item's width."""
        travel_mm = self.world.travel_mm(at_s)
        middle_mm = travel_mm - self.layout.diverters_mm[route]
        half_mm = self.layout.face_mm / 2
        hits = tuple(
            thing.number
            for thing in self.world.near(middle_mm - half_mm, middle_mm + half_mm)
            if thing.number not in self.bins
        )
        for hit in hits:
            self.bins[hit] = route
        kick = Kick(route, number, at_s, hits)
        self.kicks.append(kick)
        return kick

    def bin_of(self, thing: Thing) -> str:
        """Where an item ends: what no diverter sweeps off runs over the end of the belt."""
        return self.bins.get(thing.number, SAFE)

    def gone(self, now_s: float) -> list[Thing]:
        """The items that have left the belt."""
        travel_mm = self.world.travel_mm(now_s) - self.layout.end_mm
        return [
            thing
            for thing in self.world.things
            if thing.number in self.bins or thing.middle_mm < travel_mm
        ]

    def thing_at(self, trigger_s: float, *, within_s: float = 0.02) -> Thing | None:
        """The item whose leading edge was at the gate then; None where there was none."""
        leads = self.world.lead_times
        index = bisect.bisect_left(leads, trigger_s)
        near = [i for i in (index - 1, index) if 0 <= i < len(leads)]
        best = min(near, key=lambda i: abs(leads[i] - trigger_s), default=None)
        if best is None or abs(leads[best] - trigger_s) > within_s:
            return None
        return self.world.things[best]
