"""What the bin says of nothing: python -m tools.empties [--frames tests/data/challenge]

Rendered empty trays, eight surfaces in eight kinds of light. Three ways:
- the tray was learned with `smartbin tray` while the lamps were switched (lit, bright, dim), and
  every look, in light it has and has not seen, must be `empty`;
- the presence trigger watches a shadow pass and a hand that drops nothing, and must see no item;
- the classifier alone, with no tray known, must at least sort nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from edge.bundle import load_bundle
from edge.calibrate import Lookout, learn_tray
from edge.classifier import Classifier
from edge.decide import Routes, Rules
from edge.judge import Judge
from edge.pictures import list_pictures, read_picture
from edge.segmenters.whole import WholeFrame
from edge.shipped import default_model
from edge.tray import TrayMemory
from edge.triggers import build_trigger
from edge.values import Frame, Item, Pixels

SEEN = ("lit", "bright", "dim")  # lamps switched while the tray was learned
LOOKS = 6  # at each still, with camera noise of its own
NOISE = 1.5  # levels
FPS = 10.0


class Camera:
    """A still as a camera shows it: never twice the same."""

    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)
        self.seq = 0

    def look(self, still: Pixels) -> Frame:
        self.seq += 1
        noisy = still + self._dice.normal(0, NOISE, still.shape)
        pixels = np.clip(noisy, 0, 255).astype(np.uint8)
        return Frame(pixels, self.seq / FPS, self.seq)


def judge_with(tray: TrayMemory | None) -> Judge:
    bundle = load_bundle(default_model())
    return Judge(
        segmenter=WholeFrame(),
        classifier=Classifier(bundle),
        rules=Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.6, bundle.rejection),
        routes=Routes("rest", {label: label for label in bundle.labels}),
        deadline_s=1e9,
        tray=tray,
        clock=lambda: 0.0,
    )


def stills(folder: Path) -> dict[str, dict[str, Pixels]]:
    """By surface and light."""
    rows = json.loads((folder / "catalogue.json").read_text("utf-8"))["pictures"]
    found: dict[str, dict[str, Pixels]] = defaultdict(dict)
    for row in rows:
        if row["group"] == "empty":
            found[row["surface"]][row["light"]] = read_picture(folder / row["file"])
    return found


def outcomes(folder: Path, *, known: bool) -> dict[str, dict[str, int]]:
    """Outcomes by light, of LOOKS looks at each empty tray."""
    table: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for number, (_, lights) in enumerate(sorted(stills(folder).items())):
        camera, tray = Camera(number), None
        if known:
            lookout = Lookout()
            for light in SEEN:
                for _ in range(10):
                    lookout.add(camera.look(lights[light]).pixels)
            tray = TrayMemory(learn_tray(lookout, learned_ts=0.0).model)
        judge = judge_with(tray)
        for light, still in lights.items():
            for _ in range(LOOKS):
                frame = camera.look(still)
                item = Item((frame,), frame.captured_s, "command")
                table[light][judge.judge(item).decision.outcome] += 1
    return {light: dict(row) for light, row in table.items()}


def sequences(folder: Path) -> dict[str, int]:
    """Items that the presence trigger sees in each sequence in which nothing is dropped."""
    rows = json.loads((folder / "catalogue.json").read_text("utf-8"))["sequences"]
    seen = {}
    for number, row in enumerate(rows):
        frames = [read_picture(path) for path in list_pictures(folder / row["folder"])]
        trigger = build_trigger(
            "presence", votes=3, interval_s=1, min_area_frac=0.01, settle_s=0.4, absorb_s=600
        )
        camera, items = Camera(number), 0
        for still in [frames[0]] * 20 + frames + [frames[-1]] * 20:
            item = trigger.see(camera.look(still))
            items += item is not None and item.present
        seen[row["folder"]] = items
    return seen


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, default=Path("tests/data/challenge"))
    folder = parser.parse_args().frames
    for known in (True, False):
        print("tray learned" if known else "no tray known, the classifier alone")
        table, total, good = outcomes(folder, known=known), 0, 0
        for light, row in table.items():
            new = "" if light in SEEN or not known else " (light not seen before)"
            print(f"  {light:<8}{new} " + ", ".join(f"{k} {n}" for k, n in sorted(row.items())))
            total += sum(row.values())
            good += row.get("empty", 0) if known else sum(row.values()) - row.get("sorted", 0)
        what = "empty" if known else "not sorted"
        print(f"  {what}: {good} of {total}, {good / total:.1%}")
    print("presence trigger, nothing dropped: items seen")
    for name, items in sequences(folder).items():
        print(f"  {name}: {items}")


if __name__ == "__main__":
    main()
