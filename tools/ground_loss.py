"""Where the points between clean photos and other ground are lost, for docs/experiments.md.

python -m tools.ground_loss --data images --masks masks --names official_val.txt

The challenge's pictures, and each item cut out by the mask given for its photo, on neutral grey:
what that loses, the ground did not take. Parted by whether the mask holds all of the item.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.errors import SmartbinError
from edge.pictures import read_picture
from edge.segmenters.cutout import cut_out
from edge.shipped import shipped
from trainer.background import album_of
from trainer.data import scan
from trainer.evaluate import truth_of
from trainer.segment.truth import is_whole

GROUNDS = ("brown", "random", "cardboard")
COLUMNS = ("original", "on grey", *GROUNDS)
Hits = dict[str, list[bool]]


def judged(bundle: Path, data: Path, masks: Path, names: Path | None) -> tuple[Hits, list[bool]]:
    """For each photo with a good mask: right or not in each column, and whether that is whole."""
    classifier = Classifier(load_bundle(bundle))
    photos = scan(data, names)
    truth = truth_of(photos, classifier.labels)
    album = album_of(photos, masks)
    hits: Hits = {column: [] for column in COLUMNS}
    whole = []
    for row in album.rows():
        pixels = read_picture(photos.paths[row])
        cut = cut_out(pixels, album.masks[row])
        shown = {kind: album.view(row, kind) for kind in GROUNDS}
        shown |= {"original": pixels, "on grey": pixels if cut is None else cut.pixels}
        for column in COLUMNS:
            view = shown[column]
            assert view is not None  # a good mask can be pasted onto any ground
            found = int(classifier.classify(view).probs.argmax())
            hits[column].append(found == truth[row])
        whole.append(is_whole(pixels, album.masks[row]))
    return hits, whole


def table(hits: Hits, whole: npt.NDArray[np.bool_]) -> str:
    """Percent right, for people."""
    lines = [f"| photos | n | {' | '.join(COLUMNS)} |", f"|---|{'--:|' * (len(COLUMNS) + 1)}"]
    for words, which in (
        ("all with a good mask", np.ones_like(whole)),
        ("whose mask holds all of the item", whole),
        ("whose mask holds a part of it", ~whole),
    ):
        shares = [100 * np.array(hits[column])[which].mean() for column in COLUMNS]
        lines.append(f"| {words} | {which.sum()} | {' | '.join(f'{s:.1f}' for s in shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--bundle", type=Path, default=shipped("models/student.int8.onnx"))
    asked = parser.parse_args()
    try:
        hits, whole = judged(asked.bundle, asked.data, asked.masks, asked.names)
    except SmartbinError as error:
        raise SystemExit(str(error)) from error
    print(table(hits, np.array(whole)))


if __name__ == "__main__":
    main()
