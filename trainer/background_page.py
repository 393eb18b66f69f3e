"""The background challenge as one page with its pictures; opens offline, loads nothing."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from edge.errors import SmartbinError
from edge.values import Pixels
from trainer.background import Answer, Result
from trainer.background_views import ALL, EMPTY, KINDS, SAME_CLASS, SWAPS, WORDS, Album
from trainer.charts import percent
from trainer.gradcam import overlay
from trainer.report_gallery import jpeg_uri
from trainer.report_html import cell, page, paragraph, span, table, tile
from trainer.scoring import wilson

WIDTH_PX = 150
MOST_LOSSES, MOST_SURE = 16, 8
SHOWN = (*SWAPS, SAME_CLASS)


def write(path: Path, result: Result, album: Album) -> Path:
    """Write the page; raises SmartbinError where the disk refuses."""
    sections = [
        ("result", "Result", _result(result)),
        ("classes", "Each class", _classes(result)),
        ("examples", "One of each class", _gallery(result, album, _examples(result))),
        ("losses", "Worst losses", _losses(result, album)),
        ("empty", "Nothing but background", _empty(result, album)),
    ]
    found = result.contract()
    lead = paragraph(
        f"{result.model}, segmenter {result.segmenter}: {result.n} photos with a good mask, "
        f"gap {found['gap']:.1f} points."
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page("Background challenge", lead, sections), encoding="utf-8")
    except OSError as error:
        raise SmartbinError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _result(result: Result) -> str:
    found = result.contract()
    tiles = "".join(
        tile(f"{found[kind]:.1f} %", WORDS[kind], f"95 %: {span(_interval(result, kind))}")
        for kind in SWAPS
    )
    rows = []
    for kind in ALL:
        answer = result.answers[kind]
        n = len(answer.rows)
        if n:
            right = cell(float(result.hits(kind).mean()), _interval(result, kind))
            rows.append(
                [escape(kind), escape(WORDS[kind]), str(n), right]
                + [cell(float(flags.mean())) for flags in (answer.sorted_, answer.cut)]
            )
    head = ["view", "shows", "n", "right, %", "sorted, %", "cut out, %"]
    words = (
        f"gap: {found['gap']:.1f} points from the original to the worst of "
        f"{', '.join(KINDS)}. Always saying the commonest class would be right in "
        f"{result.chance:.1f} %: nothing but background should come near that, and not be sorted."
    )
    return f'<div class="tiles">{tiles}</div>{paragraph(words)}{table(head, rows, left=(0, 1))}'


def _interval(result: Result, kind: str) -> tuple[float, float]:
    hits = result.hits(kind)
    return wilson(int(hits.sum()), len(hits))


def _classes(result: Result) -> str:
    rows = []
    for i, label in enumerate(result.labels):
        line = [escape(label), str(int((result.truth[result.answers["original"].rows] == i).sum()))]
        for kind in SHOWN:
            hits = result.hits(kind)[result.truth[result.answers[kind].rows] == i]
            share = float(hits.mean()) if len(hits) else float("nan")
            line.append(cell(share, wilson(int(hits.sum()), len(hits)) if len(hits) else None))
        rows.append(line)
    return table(["class", "n", *SHOWN], rows)


def _examples(result: Result) -> list[int]:
    """The first photo of each class."""
    rows = result.answers["original"].rows
    firsts = [rows[result.truth[rows] == i] for i in range(len(result.labels))]
    return [int(found[0]) for found in firsts if len(found)]


def _losses(result: Result, album: Album) -> str:
    """Photos that are right as they are and wrong on a swap, the surest mistakes first."""
    worst: dict[int, float] = {}
    original = dict(
        zip(result.answers["original"].rows.tolist(), result.hits("original").tolist(), strict=True)
    )
    for kind in (*KINDS, SAME_CLASS):
        answer = result.answers[kind]
        for row, probs, hit in zip(answer.rows, answer.probs, result.hits(kind), strict=True):
            if original[int(row)] and not hit:
                worst[int(row)] = max(worst.get(int(row), 0.0), float(probs.max()))
    if not worst:
        return paragraph("No photo that is right as it is becomes wrong on another surface.")
    rows = sorted(worst, key=lambda row: -worst[row])
    words = (
        f"{len(rows)} photos are right as they are and wrong on a surface at least; "
        f"the surest {min(len(rows), MOST_LOSSES)} of these mistakes:"
    )
    return paragraph(words) + _gallery(result, album, rows[:MOST_LOSSES])


def _empty(result: Result, album: Album) -> str:
    """The surest answers to pictures that show no item."""
    found = []
    for kind in EMPTY:
        answer = result.answers[kind]
        found += [
            (float(probs.max()), kind, int(row))
            for row, probs in zip(answer.rows, answer.probs, strict=True)
        ]
    found.sort(key=lambda entry: -entry[0])
    figures = "".join(_figure(result, album, kind, row) for _, kind, row in found[:MOST_SURE])
    words = f"The {min(MOST_SURE, len(found))} surest answers where there is nothing to be sure of:"
    return f'{paragraph(words)}<div class="mistake"><div class="strip">{figures}</div></div>'


def _gallery(result: Result, album: Album, rows: list[int]) -> str:
    blocks = "".join(
        f'<div class="mistake"><p><b>{escape(result.labels[result.truth[row]])}</b> '
        f'<small class="soft">{escape(album.photos.paths[row].name)}</small></p>'
        f'<div class="strip">{"".join(_figure(result, album, kind, row) for kind in SHOWN)}</div>'
        "</div>"
        for row in rows
    )
    return f'<div class="mistakes" style="--wide:{WIDTH_PX * len(SHOWN)}px">{blocks}</div>'


def _figure(result: Result, album: Album, kind: str, row: int) -> str:
    view = album.view(row, kind)
    place = _place(result.answers[kind], row)
    if view is None or place is None:
        return ""
    answer = result.answers[kind]
    probs = answer.probs[place]
    said = result.labels[int(probs.argmax())]
    wrong = kind in EMPTY or int(probs.argmax()) != result.truth[row]
    words = f"{said} {percent(float(probs.max()), 0)}, "
    words += "sorted" if answer.sorted_[place] else "safe way"
    text = f'<span class="flag">{escape(words)}</span>' if wrong else escape(words)
    return (
        f'<figure><img src="{_uri(view)}" alt="{escape(kind)}">'
        f"<figcaption>{escape(kind)}<br>{text}</figcaption></figure>"
    )


def _place(answer: Answer, row: int) -> int | None:
    found = np.flatnonzero(answer.rows == row)
    return int(found[0]) if len(found) else None


def _uri(pixels: Pixels) -> str:
    return jpeg_uri(overlay(pixels, None, WIDTH_PX, max_aspect=4 / 3))
