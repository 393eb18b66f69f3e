"""Looks once at every item and every strange thing that a rule of rejection is chosen by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, load_bundle
from edge.pictures import read_picture
from edge.shipped import samples
from edge.values import Pixels
from trainer import rendered
from trainer.data import PhotoSet
from trainer.evaluate import truth_of
from trainer.scoring import Labels
from trainer.views import Seen, look_at_items, strange_views
from trainer.witness import Answers, Witness

RENDERED = "rendered"  # items that are drawn as the strange things are
SIDES = 4  # views of a rendered picture: as it is, mirrored, upside down, both
EMPTY = "empty"  # rendered trays with nothing on them; not among the unknown things
Tick = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the network says of every picture, before anything is chosen."""

    bundle: Bundle
    known: Answers
    views: tuple[str, ...]  # of each known picture, one of KNOWN or RENDERED
    rows: Labels  # the photo that each known picture was made from; of rendered ones, the item
    truth: Labels
    tune: dict[str, Answers]  # by kind of strange thing
    test: dict[str, Answers]
    # Rendered items that no number is learned from: rendering alone must not be strange.
    check: Answers | None = None
    check_truth: Labels = field(default_factory=lambda: np.zeros(0, np.int64))


def gather(
    bundle_path: Path,
    photos: PhotoSet,
    masks: Path | None,
    unknown: Path | None,
    tick: Tick,
    *,
    with_items: bool = True,
) -> Evidence:
    """Look once at every picture; raises UsageError where there is no test split to measure on.

    Without `with_items` the sample frames are the only rendered items that are learned from.
    """
    bundle = load_bundle(bundle_path)
    witness = Witness(bundle)
    truth = truth_of(photos, bundle.labels)
    seen = look_at_items(witness, photos, masks, tick)
    drawn = rendered.load(unknown) if unknown else ()
    items = rendered.of_group(drawn, "factorial", "items")
    learned = tuple(p for p in items if with_items and p.split == rendered.TUNE)
    stills = _of_classes((*rendered.load(samples()), *learned), bundle)
    looked = [witness.look(p) for s in stills for p in turned(read_picture(s.path))]
    tune: dict[str, list[Answers]] = {}
    for view in strange_views(photos, masks):
        tune.setdefault(view.kind, []).append(witness.look(view.pixels))
        tick()
    test: dict[str, list[Answers]] = {}
    for picture in rendered.of_group(drawn, "unknown", EMPTY):
        side = tune if picture.split == rendered.TUNE else test
        views = turned(read_picture(picture.path))
        # What is learned from may be seen from all sides; what is measured on is seen as it is.
        for pixels in views if side is tune else views[:1]:
            side.setdefault(picture.kind, []).append(witness.look(pixels))
        tick()
    kept = _of_classes(tuple(p for p in items if p.split != rendered.TUNE), bundle)
    check = [witness.look(read_picture(picture.path)) for picture in kept]
    return Evidence(
        bundle=bundle,
        known=Answers.joined([seen.answers, *looked]),
        views=(*seen.views, *[RENDERED] * len(looked)),
        rows=np.append(seen.rows, len(photos) + np.repeat(_pieces(stills), SIDES)),
        truth=np.append(truth[seen.rows], np.repeat(_labels(stills, bundle), SIDES)),
        check=Answers.joined(check) if check else None,
        check_truth=_labels(kept, bundle),
        tune={kind: Answers.joined(parts) for kind, parts in tune.items()},
        test={kind: Answers.joined(parts) for kind, parts in test.items()},
    )


def photographed(evidence: Evidence) -> tuple[Seen, Labels]:
    """The views of photos alone, and what each photo shows, as trainer.costs takes them."""
    mine = np.flatnonzero(np.array(evidence.views) != RENDERED)
    rows = evidence.rows[mine]
    truth = np.zeros(int(rows.max()) + 1, np.int64)
    truth[rows] = evidence.truth[mine]
    views = tuple(evidence.views[i] for i in mine)
    return Seen(evidence.known.rows(mine), views, rows), truth


def turned(pixels: Pixels) -> tuple[Pixels, ...]:
    """(H, W, 3) as it is and its SIDES - 1 reflections: a tray has no up and down."""
    return pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1]


def _of_classes(
    pictures: tuple[rendered.Picture, ...], bundle: Bundle
) -> tuple[rendered.Picture, ...]:
    return tuple(picture for picture in pictures if picture.label in bundle.labels)


def _labels(pictures: tuple[rendered.Picture, ...], bundle: Bundle) -> Labels:
    return np.array([bundle.labels.index(picture.label) for picture in pictures], np.int64)


def _pieces(pictures: tuple[rendered.Picture, ...]) -> Labels:
    """A number for each item by its name: all its pictures are judged by numbers of other items."""
    names = sorted({picture.item for picture in pictures})
    return np.array([names.index(picture.item) for picture in pictures], np.int64)
