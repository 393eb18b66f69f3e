"""What the bin says of nothing, and of things: python -m tools.empties [--photos DIR --masks DIR]

Two questions with one answer: how often is an empty tray called `empty`, whatever the light, and
how often is a thing? Each with counts and Wilson's interval of 95 %. What was tuned on is told
apart from what was only measured:
- rendered empty trays (tests/data/challenge), eight surfaces in eight kinds of light, learned with
  `smartbin tray` while the lamps were switched (lit, bright, dim); tuned on three of the surfaces;
- drawn trays (tools/empty_scenes.py), ten kinds of light, drawn things and photos pasted by their
  masks, half of them in a light that the tray was not learned in; other seeds and, in part, other
  kinds of surface than the 20 trays that were tuned on;
- rendered drops (edge/samples): the item at rest, in the usual light and in three others;
- the presence trigger watches a shadow pass and a hand that drops nothing, and must see no item;
- the classifier alone, with no tray known, must at least sort nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

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
from tools.empty_scenes import DRAWN, LIGHTS, Light, Site, Thing

SEEN = ("lit", "bright", "dim")  # lamps switched while the tray was learned
LOOKS = 6  # at each still, with camera noise of its own
NOISE = 1.5  # levels
FPS = 10.0
PHOTOS = 4  # pasted onto each drawn tray
SAMPLES = Path(__file__).parent.parent / "edge" / "samples"


@dataclass(frozen=True, slots=True)
class Row:
    """One look."""

    split: str  # tune or test
    thing: str  # nothing, or what lay there
    light: str
    outcome: str


class Camera:
    """A still as a camera shows it: never twice the same."""

    def __init__(self, seed: int) -> None:
        self._dice = np.random.default_rng(seed)
        self.seq = 0

    def look(self, still: npt.ArrayLike) -> Frame:
        self.seq += 1
        levels = np.asarray(still, np.float32)
        noisy = levels + self._dice.normal(0, NOISE, levels.shape)
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


def learned(frames: Iterable[Pixels]) -> TrayMemory:
    """What `smartbin tray` learns of these frames."""
    lookout = Lookout()
    for pixels in frames:
        lookout.add(pixels)
    return TrayMemory(learn_tray(lookout, learned_ts=0.0).model)


def rendered(folder: Path, *, known: bool, splits: Mapping[str, str]) -> Iterator[Row]:
    """LOOKS looks at each rendered empty tray."""
    for number, (surface, lights) in enumerate(sorted(stills(folder).items())):
        camera = Camera(number)
        seen = [camera.look(lights[light]).pixels for light in SEEN for _ in range(10)]
        judge = judge_with(learned(seen) if known else None)
        for light, still in lights.items():
            for _ in range(LOOKS):
                yield Row(splits[surface], "nothing", light, outcome_of(judge, camera.look(still)))


def drawn(
    split: str, numbers: Iterable[int], photos: Path | None, masks: Path | None
) -> Iterator[Row]:
    """Drawn trays of a split: two looks in each light, then things, in the usual light and not."""
    names = sorted(photos.glob("*/*.jpg")) if photos else []
    for number in numbers:
        site, seq = Site(split, number), itertools.count(1)
        usual = site.light("lit")
        judge = judge_with(learned(site.look(usual) for _ in range(8)))

        def look(
            light: Light, thing: Thing | None = None, site: Site = site, seq: Iterator[int] = seq
        ) -> Frame:
            at = next(seq)
            return Frame(site.look(light, thing), at / FPS, at)

        for light in LIGHTS * 2:
            yield Row(split, "nothing", light, outcome_of(judge, look(site.light(light))))
        for kind in [*DRAWN, *["photo"] * (PHOTOS if names else 0)]:
            thing = site.drawn_thing(kind) if kind in DRAWN else pasted(site, names, masks)
            other = LIGHTS[int(site.dice.integers(1, len(LIGHTS)))]
            yield Row(split, kind, "usual light", outcome_of(judge, look(usual, thing)))
            new = look(site.light(other), thing)
            yield Row(split, kind, "new light", outcome_of(judge, new))


def pasted(site: Site, names: Sequence[Path], masks: Path | None) -> Thing:
    """A photo's item, cut out by the mask of its name; one with a good mask."""
    while True:
        photo = names[int(site.dice.integers(len(names)))]
        mask = (masks or photo.parents[1]) / photo.parent.name / f"{photo.stem}.png"
        thing = site.photo_thing(photo, mask)
        if thing is not None:
            return thing


def drops() -> Iterator[Row]:
    """Items at rest in the sample sequences, against the first frames of each."""
    rows = json.loads((SAMPLES / "samples.json").read_text("utf-8"))["drops"]
    for number, row in enumerate(row for row in rows if row["first_at_rest"] is not None):
        frames = [read_picture(path) for path in list_pictures(SAMPLES / row["folder"])]
        camera = Camera(number)
        judge = judge_with(learned(camera.look(frames[n % 4]).pixels for n in range(10)))
        for light, gain in (("usual light", 1.0), ("new light", 0.3), ("new light", 0.6)):
            for still in frames[row["first_at_rest"] :]:
                dimmed = np.asarray(still * gain, np.float32)
                yield Row("test", "rendered drop", light, outcome_of(judge, camera.look(dimmed)))


def outcome_of(judge: Judge, frame: Frame) -> str:
    return judge.judge(Item((frame,), frame.captured_s, "command")).decision.outcome


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


def told(rows: Iterable[Row], good: Callable[[Row], bool]) -> Iterator[str]:
    """Lines of a table: by split, thing and light, how many are good, and Wilson's interval."""
    counts: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for row in rows:
        counts[row.split, row.thing, row.light].append(good(row))
        counts[row.split, "nothing" if row.thing == "nothing" else "things", "all"].append(
            good(row)
        )
    for (split, thing, light), found in sorted(counts.items()):
        n, k = len(found), sum(found)
        low, high = wilson(k, n)
        yield (
            f"  {split:<5}{thing:<14}{light:<12}{k:>5} of {n:<5}{k / n:7.1%}"
            f"  ({low:.1%} to {high:.1%})"
        )


def wilson(good: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share, square = good / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / total / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def cost_ms(folder: Path) -> tuple[float, float]:
    """Median milliseconds of a look in the usual light and at a shadow, at 320x240."""
    took: dict[str, list[float]] = {"lit": [], "shadow": []}
    for number, lights in enumerate(stills(folder).values()):
        camera = Camera(number)
        memory = learned(camera.look(lights["lit"]).pixels for _ in range(8))
        for light in list(took) * 6:
            frame = camera.look(lights[light])
            start_s = time.perf_counter()
            memory.is_empty(frame)
            took[light].append(1000 * (time.perf_counter() - start_s))
    return float(np.median(took["lit"])), float(np.median(took["shadow"]))


def main() -> None:
    """Command line."""
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, default=Path("tests/data/challenge"))
    parser.add_argument("--photos", type=Path, help="one folder for each class, as TrashNet has")
    parser.add_argument("--masks", type=Path, help="the same folders, PNG")
    parser.add_argument("--trays", type=int, default=40, help="drawn trays to measure on")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first; each is drawn anew"
    )
    options = parser.parse_args()
    catalogue = json.loads((options.frames / "catalogue.json").read_text("utf-8"))["pictures"]
    splits = {row["surface"]: row["split"] for row in catalogue if row["group"] == "empty"}

    print("called empty, rendered trays")
    rows = rendered(options.frames, known=True, splits=splits)
    print(*told(rows, lambda row: row.outcome == "empty"), sep="\n")
    print("called empty, drawn trays")
    numbers = range(options.first, options.first + options.trays)
    rows = drawn("test", numbers, options.photos, options.masks)
    print(*told(rows, lambda row: row.outcome == "empty"), sep="\n")
    print("called empty, rendered drops")
    print(*told(drops(), lambda row: row.outcome == "empty"), sep="\n")
    print("no tray known: not sorted")
    rows = rendered(options.frames, known=False, splits=splits)
    print(*told(rows, lambda row: row.outcome != "sorted"), sep="\n")
    print("presence trigger, nothing dropped: items seen")
    for name, items in sequences(options.frames).items():
        print(f"  {name}: {items}")
    lit, shadow = cost_ms(options.frames)
    print(f"a look costs {lit:.2f} ms in the usual light, {shadow:.2f} ms in a shadow")


if __name__ == "__main__":
    main()
