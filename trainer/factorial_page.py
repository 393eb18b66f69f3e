"""The factorial test as one page: every item on every surface; opens offline, loads nothing."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from edge.errors import SmartbinError
from edge.pictures import read_picture
from trainer.charts import percent
from trainer.factorial import Factorial, Judged, flip_rate
from trainer.gradcam import overlay
from trainer.report_gallery import jpeg_uri
from trainer.report_html import cell, page, paragraph, span, table, tile

WIDTH_PX = 130


def write(path: Path, result: Factorial) -> Path:
    """Write the page; raises SmartbinError where the disk refuses."""
    found = result.as_dict()
    sections = [
        ("result", "Result", _result(found)),
        ("surfaces", "Each surface", _surfaces(found)),
        ("flips", "From surface to surface", _flips(found)),
        ("items", "Each item", _items(result)),
    ]
    lead = paragraph(
        f"{result.model}, segmenter {result.segmenter}: {found['items']} items, "
        f"{len(found['surfaces'])} surfaces, {found['n']} rendered pictures."
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page("Factorial test", lead, sections), encoding="utf-8")
    except OSError as error:
        raise SmartbinError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _result(found: dict[str, Any]) -> str:
    low, high = found["label_changes_95"]
    tiles = [
        tile(
            f"{found['label_changes']:.1f} %",
            "of pairs of surfaces change the label of an item",
            f"95 %: {span((low / 100, high / 100))}",
        ),
        tile(f"{found['items_changed']} of {found['items']}", "items change it at least once"),
        tile(f"{found['accuracy']:.1f} %", "of all pictures are right"),
    ]
    words = (
        "The same item, pose and light on every surface: whatever changes here, the surface "
        "changed it."
    )
    return f'<div class="tiles">{"".join(tiles)}</div>{paragraph(words)}'


def _surfaces(found: dict[str, Any]) -> str:
    rows = [
        [
            escape(name),
            str(line["n"]),
            cell(line["accuracy"] / 100, (line["wilson_95"][0] / 100, line["wilson_95"][1] / 100)),
            cell(line["not_as_elsewhere"] / 100),
            cell(line["sorted"] / 100),
        ]
        for name, line in found["per_surface"].items()
    ]
    head = ["surface", "n", "right, %", "not as elsewhere, %", "sorted, %"]
    words = "Not as elsewhere: said otherwise than on most of the surfaces."
    return table(head, rows) + paragraph(words, "soft")


def _flips(found: dict[str, Any]) -> str:
    names = found["surfaces"]
    rows = []
    for one in names:
        cells = [found["flips"][one][other] for other in names]
        rows.append([escape(one), *("·" if share is None else f"{share:.0f}" for share in cells)])
    return table(["% of items", *names], rows)


def _items(result: Factorial) -> str:
    """The most changeable first."""
    groups = sorted(result.groups().items(), key=lambda pair: -flip_rate(pair[1]))
    blocks = "".join(
        f'<div class="mistake"><p><b>{escape(name)}</b>, {escape(group[0].picture.label)}: '
        f"{percent(flip_rate(group), 0)} of pairs change</p>"
        f'<div class="strip">{"".join(_figure(judged) for judged in group)}</div></div>'
        for name, group in groups
    )
    most = max(len(group) for _, group in groups)
    return f'<div class="mistakes" style="--wide:{WIDTH_PX * min(most, 8)}px">{blocks}</div>'


def _figure(judged: Judged) -> str:
    words = f"{judged.said} {percent(judged.confidence, 0)}, {judged.outcome}"
    text = escape(words) if judged.right else f'<span class="flag">{escape(words)}</span>'
    pixels = read_picture(judged.picture.path)
    uri = jpeg_uri(overlay(pixels, None, WIDTH_PX, max_aspect=4 / 3))
    surface = escape(judged.picture.surface)
    return (
        f'<figure><img src="{uri}" alt="{surface}">'
        f"<figcaption>{surface}<br>{text}</figcaption></figure>"
    )
