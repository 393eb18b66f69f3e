"""What changes on photos when the segmenter is swapped: accuracy on four grounds, ms and MB.

python -m tools.segmenter_swap --data DIR --masks DIR [--names FILE] [--bundle ONNX] [--every 4]

The pictures are those of the background challenge: each photo with a good mask as photographed, on
brown wood, on random surfaces and on cardboard. Each segmenter's cut-outs are judged alone and with
their whole frames. rembg takes part where it is installed and U2NET_HOME is set, on every fourth
photo of the list, for its time; the others' figures on these same photos stand beside it. Of a
photo no empty tray is known, so `difference` cannot cut it. Milliseconds and memory are those of
tools.segmenters, taken on the same photos in the same run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, load_bundle
from edge.shipped import default_model
from edge.values import Prediction
from tools import segmenters as costs
from trainer.background import album_of
from trainer.background_views import SWAPS, Album
from trainer.data import scan
from trainer.evaluate import truth_of
from trainer.progress import bar
from trainer.seer import seer_of

Hits = dict[str, npt.NDArray[np.bool_]]  # by view of SWAPS, (n,) of the rows that were looked at
RUNS = 40  # of the costs


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: a segmenter and how its cut-outs are judged."""

    segmenter: str
    judged: str  # whole frame, cut-out, or both
    rows: tuple[int, ...]  # of the album
    hits: Hits
    cost: dict[str, float]  # ms and MB; empty where they were not taken

    def as_dict(self) -> dict[str, Any]:
        """Percent, milliseconds and megabytes."""
        right = {kind: 100 * float(hits.mean()) for kind, hits in self.hits.items()}
        worst = min(right[kind] for kind in SWAPS if kind != "original")
        return {
            "segmenter": self.segmenter,
            "judged": self.judged,
            "n": len(self.rows),
            **{kind: round(share, 1) for kind, share in right.items()},
            "gap": round(right["original"] - worst, 1),
            **self.cost,
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--bundle", type=Path, help="a bundle's .onnx; else the shipped one")
    parser.add_argument("--every", type=int, default=4, help="so manieth photo for rembg")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments)
    print(json.dumps(rows) if arguments.json else as_text(rows))


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every line: all photos for `none` and `tiny`, every so manieth for all that can be had."""
    album = album_of(scan(arguments.data, arguments.names), arguments.masks)
    bundle = load_bundle(arguments.bundle or default_model())
    options = {"data": arguments.data, "masks": arguments.masks, "names": arguments.names}
    taken = costs.measure(argparse.Namespace(**options, runs=RUNS, model=None))
    cost = {row["kind"]: row for row in taken}
    every, few = tuple(album.rows()), tuple(album.rows())[:: arguments.every]
    lines = list(_lines(bundle, album, "tiny", every, cost))
    if "rembg" in cost:
        lines += [_part_of(line, few) for line in lines]
        lines += list(_lines(bundle, album, "rembg", few, cost))[1:]
    return [line.as_dict() for line in lines]


def _lines(
    bundle: Bundle, album: Album, kind: str, rows: tuple[int, ...], cost: dict[str, Any]
) -> Iterator[Line]:
    """The whole frame, what `kind` cuts out of it, and both; one pass over the pictures."""
    views = {view: _looks(bundle, album, kind, rows, view) for view in SWAPS}
    truth = truth_of(album.photos, bundle.labels)[list(rows)]
    for judged, pick in WAYS.items():
        hits = {
            view: np.array([pick(p).probs.argmax() for p in found]) == truth
            for view, found in views.items()
        }
        name = "none" if judged == "whole frame" else kind
        yield Line(name, judged, rows, hits, _cost_of(cost[name], judged))


def _looks(
    bundle: Bundle, album: Album, kind: str, rows: tuple[int, ...], view: str
) -> list[Prediction]:
    with seer_of(bundle, kind) as seer, bar(f"{kind}, {view}", len(rows)) as tick:
        found = []
        for row in rows:
            pixels = album.view(row, view)
            assert pixels is not None  # every photo with a good mask has each of SWAPS
            found.append(seer.look(pixels).prediction)
            tick()
        return found


# A frame that was not cut has no parts: each way sees it whole.
WAYS: dict[str, Callable[[Prediction], Prediction]] = {
    "whole frame": lambda p: p.parts[1] if p.parts else p,
    "cut-out": lambda p: p.parts[0] if p.parts else p,
    "both": lambda p: p,
}


def _cost_of(row: dict[str, Any], judged: str) -> dict[str, float]:
    took = row["alone_p50_ms" if judged == "cut-out" else "both_p50_ms"]
    return {"ms_p50": round(took, 1), "peak_mb": round(row["peak_mb"])}


def _part_of(line: Line, rows: tuple[int, ...]) -> Line:
    """The same line over fewer photos."""
    kept = np.isin(line.rows, rows)
    hits = {kind: found[kept] for kind, found in line.hits.items()}
    return Line(line.segmenter, line.judged, rows, hits, line.cost)


def as_text(rows: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    keys = ["segmenter", "judged", "n", *SWAPS, "gap", "ms_p50", "peak_mb"]
    heads = ["segmenter", "judged", "n", *SWAPS, "gap", "ms p50", "peak MB"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        lines.append("| " + " | ".join(str(row[key]) for key in keys) + " |")
        if row["judged"] == "whole frame" and row is rows[0]:
            lines.append("| difference | needs the empty tray |" + " - |" * (len(heads) - 2))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
