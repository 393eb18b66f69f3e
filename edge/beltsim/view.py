"""What a person sees of the line at one moment, as plain values for a page or a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge.beltsim.fate import SAFE
from edge.beltsim.figures import figures_of, route_of
from edge.beltsim.line import Line, Told
from edge.beltsim.world import PX_PER_MM, Thing

BEFORE_MM = 350.0  # of the belt ahead of the gate that is shown
FALL_S = 1.2  # a swept item is shown so long


def scene_of(line: Line, now_s: float) -> dict[str, Any]:
    """Belt, items, paddles and bins at `now_s`; times are of the monotonic clock."""
    travel_mm = line.world.travel_mm(now_s)
    by_number = {told.thing.number: told for told in line.told() if told.thing}
    seen_mm = travel_mm - line.setup.layout.end_mm - 400
    kicks = [kick for kick in line.fate.kicks if kick.at_s > now_s - 2 * FALL_S]
    swept_s = {number: kick.at_s for kick in kicks for number in kick.hits}
    return {
        "now_s": now_s,
        "travel_mm": travel_mm,
        "start_s": line.world.start_s,
        "end_s": line.end_s,
        "speed_mm_s": line.world.speed_mm_s,
        "wobble": line.world.faults.wobble,
        "layout": asdict(line.setup.layout),
        "px_per_mm": PX_PER_MM,
        "things": [
            _shown(line, thing, by_number.get(thing.number), swept_s.get(thing.number))
            for thing in line.world.near(seen_mm, travel_mm + BEFORE_MM)
            if thing.number not in line.fate.bins or thing.number in swept_s
        ],
        "kicks": [{"route": kick.route, "at_s": kick.at_s, "wrong": kick.wrong} for kick in kicks],
    }


def counts_of(line: Line, now_s: float) -> dict[str, Any]:
    """Bins and figures up to `now_s`."""
    travel_mm = line.world.travel_mm(now_s)
    gone = line.fate.gone(now_s)
    passed = [thing for thing in line.world.things if thing.lead_mm <= travel_mm]
    bins = {}
    for name in (*line.setup.layout.diverters_mm, SAFE):
        inside = [thing for thing in gone if line.fate.bin_of(thing) == name]
        right = sum(route_of(line.world.sprites[thing.sprite].label) == name for thing in inside)
        bins[name] = {"count": len(inside), "right": right}
    figures = figures_of(line, now_s=now_s, direct=False)
    return {
        "bins": bins,
        "passed": len(passed),
        "items": len(line.world.things),
        "figures": figures.as_json(),
        "finished": now_s > line.end_s,
    }


def _shown(line: Line, thing: Thing, told: Told | None, swept_s: float | None) -> dict[str, Any]:
    sprite = line.world.sprites[thing.sprite]
    decision = told.decision if told else None
    return {
        "number": thing.number,
        "file": sprite.file,
        "y": sprite.y,
        "body_x": sprite.body_x,
        "body_width": sprite.body_width,
        "lead_mm": thing.lead_mm,
        "length_mm": thing.length_mm,
        "flipped": thing.flipped,
        "truth": sprite.label,
        "swept_s": swept_s,
        "bin": line.fate.bin_of(thing),
        "outcome": decision["outcome"] if decision else None,
        "label": decision["label"] if decision else None,
        "confidence": decision["confidence"] if decision else None,
        "route": decision["route"] if decision else None,
        "close": bool(decision and decision["reason"].startswith("too close")),
    }
