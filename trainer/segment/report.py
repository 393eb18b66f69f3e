"""One page about a segmenter: figures, what int8 cost, and overlays of the best to the worst."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.errors import SmartbinError
from edge.values import Pixels
from trainer.charts import Axis, Plot, epochs_chart, percent
from trainer.report_gallery import jpeg_uri
from trainer.report_html import cell, figure, page, paragraph, table, tile
from trainer.segment import scoring
from trainer.segment.scoring import Score

if TYPE_CHECKING:
    from trainer.segment.pack import Packed

WIDTH_PX = 200
SHOWN = 18  # pictures a gallery
FOUND_RGB, TRUTH_RGB = (230, 60, 40), (40, 200, 90)
CLEAR = ("glass", "plastic")


def write_report(path: Path, packed: Packed, losses: Path) -> None:
    """The page as one file, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(render(packed, losses), "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SmartbinError(f"{path}: report cannot be written ({error.strerror})") from error


def render(packed: Packed, losses: Path) -> str:
    """The page as text."""
    card, scores = packed.card, packed.scores
    photos = _of(scores, ("photo",))
    swapped = _of(scores, scoring.KINDS)
    empty = _of(scores, ("empty",))
    clear = [s for s in swapped if s.scene.label in CLEAR]
    parts = [
        ("headline", "Headline", _headline(packed)),
        ("figures", "Figures", _figures(scores) + _histogram(photos, swapped)),
        ("int8", "What int8 cost", _int8(packed)),
        ("losses", "Loss curves", _losses(losses)),
        ("worst", "Worst photos", _gallery(_worst(photos))),
        ("worst-swapped", "Worst on other surfaces", _gallery(_worst(swapped))),
        ("clear", "Glass and plastic on other surfaces", _gallery(_spread(clear))),
        ("usual", "Photos from the best to the worst", _gallery(_spread(photos))),
        ("empty", "Empty scenes", _empty(empty)),
    ]
    lead = paragraph(
        f"{packed.path.stem} version {card['version']}, {card['bytes']:,} bytes, as the bin runs "
        f"it. Red is the outline it found, green the outline of the mask it is judged by."
    )
    return page(f"Report on the segmenter {packed.path.stem}", lead, parts)


def _of(scores: Sequence[Score], kinds: tuple[str, ...]) -> list[Score]:
    return [score for score in scores if score.scene.kind in kinds]


def _worst(scores: Sequence[Score]) -> list[Score]:
    return sorted(scores, key=lambda s: s.iou)[:SHOWN]


def _spread(scores: Sequence[Score]) -> list[Score]:
    """Evenly over the ranks, the best first: what a reader would meet."""
    ranked = sorted(scores, key=lambda s: -s.iou)
    at = np.linspace(0, len(ranked) - 1, min(SHOWN, len(ranked))).astype(int)
    return [ranked[i] for i in at]


def _headline(packed: Packed) -> str:
    found = scoring.results(packed.scores)
    photos, swapped, empty = found["photos"], found["swapped"], found["empty"]
    tiles = [
        tile(f"{photos['iou_mean']:.3f}", "mean IoU on photos", f"{photos['n']} with a good mask"),
        tile(percent(photos["over_0.9"]), "of the photos over 0.9"),
        tile(f"{swapped['iou_mean']:.3f}", "mean IoU on other surfaces", "where truth is exact"),
        tile(percent(empty["seen_as_empty"]), f"of {empty['n']} empty scenes seen as empty"),
        tile(f"{packed.card['bytes'] / 1e6:.2f} MB", f"{packed.card['parameters']:,} parameters"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _figures(scores: Sequence[Score]) -> str:
    found = scoring.results(list(scores))
    named = [("photos", found["photos"])]
    named += [("photos with a whole mask", found["whole"])] if found["whole"]["n"] else []
    named += [(f"photos: {name}", part) for name, part in found["per_class"].items()]
    named += [("other surfaces", found["swapped"])]
    named += [(f"on {name}", part) for name, part in found["per_surface"].items()]
    rows = [
        [
            name,
            str(part["n"]),
            cell(part["iou_mean"], tuple(part["iou_mean_95"])),
            cell(part["iou_median"]),
            cell(part["over_0.9"]),
            cell(part["worst"]),
        ]
        for name, part in named
    ]
    head = ("", "n", "mean IoU, %", "median", "over 0.9", "worst")
    note = paragraph("95 % intervals by bootstrap over the pictures.", "soft")
    return table(head, rows) + note


def _histogram(photos: Sequence[Score], swapped: Sequence[Score]) -> str:
    """Share of the pictures below each IoU."""
    x = Axis("IoU", 0, 1, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    y = Axis("share of pictures below", 0, 1, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), shares=True)
    plot = Plot(x, y)
    for css, scores in (("s0", photos), ("s1", swapped)):
        values = np.sort([score.iou for score in scores])
        steps = [(float(v), (i + 1) / len(values)) for i, v in enumerate(values)]
        plot.line([(0.0, 0.0), *steps, (1.0, 1.0)], css)
    legend = (("s0", "photos"), ("s1", "other surfaces"))
    return figure(plot.svg("Distribution of the IoU"), "Steep at the right is good.", legend)


def _int8(packed: Packed) -> str:
    rows = [
        [
            t.name,
            f"{t.agreement:.4f}",
            f"{t.iou_photos:.4f}",
            f"{t.iou_swapped:.4f}",
            f"{t.bytes:,}",
        ]
        for t in packed.tried
    ]
    head = ("calibration", "IoU with fp32's masks", "photos", "other surfaces", "bytes")
    return table(head, rows) + paragraph(
        f"{packed.tried[0].name} is shipped: its masks are closest to fp32's.", "soft"
    )


def _losses(path: Path) -> str:
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    except OSError:
        return paragraph("No log of a training beside this report.", "soft")

    def curve(key: str) -> list[tuple[float, float]]:
        return [(float(row["epoch"]), float(row[key])) for row in rows]

    keys = (("s0", "val_iou"), ("s1", "val_swapped"), ("s2", "val_empty"))
    shares = epochs_chart([(css, curve(key)) for css, key in keys], "validation", shares=True)
    loss = epochs_chart([("s0", curve("loss"))], "loss", shares=False)
    legend = (("s0", "IoU on photos"), ("s1", "IoU on other surfaces"), ("s2", "empty as empty"))
    return f'<div class="charts">{figure(shares, legend=legend)}{figure(loss)}</div>'


def _empty(scores: Sequence[Score]) -> str:
    wrong = sorted((s for s in scores if s.area >= scoring.LEAST_AREA), key=lambda s: -s.area)
    words = f"{len(wrong)} of {len(scores)} empty scenes got a mask over {scoring.LEAST_AREA:.1%}."
    return paragraph(words) + _gallery(wrong[:SHOWN] or list(scores)[:6])


def _gallery(scores: Sequence[Score]) -> str:
    """Pictures with both outlines, and what is said under them."""
    shown = "".join(
        f'<div class="mistake"><div class="strip"><figure><img alt="" src="'
        f'{jpeg_uri(overlay(score))}"><figcaption>{score.scene.name}, {score.scene.kind}: IoU '
        f"{score.iou:.3f}</figcaption></figure></div></div>"
        for score in scores
    )
    return f'<div class="mistakes" style="--wide:210px">{shown}</div>'


def overlay(score: Score, width_px: int = WIDTH_PX) -> Pixels:
    """The picture with the truth's outline and the found one's."""
    height_px = round(width_px * score.scene.pixels.shape[0] / score.scene.pixels.shape[1])
    small = cv2.resize(score.scene.pixels, (width_px, height_px), interpolation=cv2.INTER_AREA)
    drawn = small.copy()
    for mask, colour in ((score.scene.truth, TRUTH_RGB), (score.found > 0.5, FOUND_RGB)):
        scaled = cv2.resize(mask.astype(np.uint8), (width_px, height_px))
        outlines, _ = cv2.findContours(scaled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1, cv2.LINE_AA)
    return np.asarray(drawn, np.uint8)
