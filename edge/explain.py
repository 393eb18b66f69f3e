"""`smartbin classify --explain`: one sheet that says why a picture was decided as it was.

The evidence map needs no gradients: parts of the picture are covered with grey, one after the
other, and what the best class loses is what that part had to say for it (Zeiler and Fergus,
ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.canvas import FAINT, INK, LINE, Canvas, Colour, framed, width_of
from edge.classify import Look, PictureClassifier
from edge.preprocess import FILL_GREY, Preprocessing, squeeze
from edge.segmenters.both import weightier
from edge.segmenters.cutout import mask_in_frame, window_of
from edge.segmenters.drawing import ITEM, draw_box, draw_item
from edge.values import Box, Pixels, Prediction

Evidence = npt.NDArray[np.float32]  # (CELLS, CELLS), lost log odds: above 0 speaks for the class

CELLS = 9  # along each side; a cover is two cells wide and moves by one: 64 looks
COVER = 2
LEAST_EVIDENCE = 0.3  # log odds that are drawn in full colour at least: else noise looks loud
WIDTH, HEIGHT = 1320, 890
EDGE, GAP, HEAD = 40, 30, 118
PANEL_W, PANEL_H = 393, 295
OUTCOMES: dict[str, Colour] = {
    "sorted": (26, 127, 75),
    "unknown": (176, 110, 10),
    "ambiguous": (176, 110, 10),
    "empty": (90, 98, 110),
}
BARS: tuple[Colour, ...] = ((38, 98, 190), (140, 170, 214), (196, 210, 230))
FOR, AGAINST = np.array((226, 60, 40)), np.array((40, 110, 220))  # red speaks for, blue against


def evidence_of(pixels: Pixels, label: int, classify: Callable[[Pixels], Prediction]) -> Evidence:
    """How much each cell of a picture speaks for a class; takes (CELLS - 1)^2 + 1 looks."""
    height, width = pixels.shape[:2]
    rows = np.linspace(0, height, CELLS + 1).round().astype(int)
    columns = np.linspace(0, width, CELLS + 1).round().astype(int)
    whole = _log_odds(classify(pixels), label)
    lost = np.zeros((CELLS, CELLS), np.float32)
    covers = np.zeros((CELLS, CELLS), np.float32)
    for row in range(CELLS - COVER + 1):
        for column in range(CELLS - COVER + 1):
            covered = pixels.copy()
            y0, y1 = rows[row], rows[row + COVER]
            x0, x1 = columns[column], columns[column + COVER]
            covered[y0:y1, x0:x1] = FILL_GREY
            change = whole - _log_odds(classify(covered), label)
            lost[row : row + COVER, column : column + COVER] += change
            covers[row : row + COVER, column : column + COVER] += 1
    return lost / covers


def _log_odds(prediction: Prediction, label: int) -> float:
    p = float(np.clip(prediction.probs[label], 1e-4, 1 - 1e-4))
    return float(np.log(p / (1 - p)))


def draw_evidence(pixels: Pixels, evidence: Evidence) -> Pixels:
    """Lay evidence over a picture: red speaks for the class, blue against it."""
    height, width = pixels.shape[:2]
    smooth = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_CUBIC)
    strongest = max(float(np.abs(evidence).max()), LEAST_EVIDENCE)
    strength = np.clip(smooth / strongest, -1, 1)[..., None]
    colour = np.where(strength > 0, FOR, AGAINST)
    share = 0.62 * np.abs(strength) ** 1.3
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cast(Pixels, np.clip(grey * (1 - share) + colour * share, 0, 255).astype(np.uint8))


def explain(
    look: Look,
    *,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    classify: Callable[[Pixels], Prediction],
    model_id: str,
) -> Canvas:
    """Draw the sheet of one picture."""
    canvas = Canvas(WIDTH, HEIGHT)
    _heading(canvas, look, model_id)
    x = [EDGE + column * (PANEL_W + GAP) for column in range(3)]
    y0, y1 = HEAD + 26, HEAD + 26 + PANEL_H + 80
    weighty = weightier(look.crop)
    seen = squeeze(weighty, preprocessing)
    cut = look.crop.mask is not None
    how = look.crop.segmenter if cut else "whole frame"
    quality = f", mask quality {look.crop.quality:.2f}" if cut else ""
    _panel(canvas, "The frame", f"{_size(look.pixels)}, {how}", _with_box(look), x[0], y0)
    _panel(canvas, "The item", f"{_box_text(look)}{quality}", _with_mask(look), x[1], y0)
    side = preprocessing.size_px
    words = f"{side} x {side} px, stretched back"
    if look.crop.beside is not None:
        words = f"cut-out, counts {look.crop.share:.0%}; whole frame, {1 - look.crop.share:.0%}"
    if look.prediction is None:
        words = "what it would have seen: what is empty is not judged"
    _panel(canvas, "What the network sees", words, _looks(look, preprocessing), x[2], y0)
    if look.decision.label is not None:
        label = labels.index(look.decision.label)
        evidence = evidence_of(weighty, label, classify)
        shown = draw_evidence(seen, evidence)
        legend = f"red speaks for {look.decision.label}, blue against it"
        _panel(canvas, f"Why {look.decision.label}", legend, shown, x[0], y1)
    _bars(canvas, look, x[1], y1)
    _words(canvas, look, x[2], y1)
    return canvas


def _looks(look: Look, preprocessing: Preprocessing) -> Pixels:
    """What the network sees: one picture, or the cut-out and the whole frame side by side."""
    seen = squeeze(look.crop.pixels, preprocessing)
    if look.crop.beside is None:
        return seen
    # Stretched back to the panel's shape, two of them side by side keep theirs at half the size.
    pair = np.hstack([seen, squeeze(look.crop.beside, preprocessing)])
    sheet = np.full((2 * seen.shape[0], pair.shape[1], 3), 255, np.uint8)
    top = seen.shape[0] // 2
    sheet[top : top + seen.shape[0]] = pair
    return cast(Pixels, sheet)


def _heading(canvas: Canvas, look: Look, model_id: str) -> None:
    outcome = look.decision.outcome
    ink = OUTCOMES.get(outcome, INK)
    canvas.fill(0, 0, WIDTH, 8, ink)
    name = look.decision.label if outcome == "sorted" and look.decision.label else outcome
    end = canvas.text(name, EDGE, 66, size=34, ink=ink, bold=True)
    if look.decision.top:
        guess = "" if outcome == "sorted" else f"{look.decision.label} "
        share = f"{guess}{look.decision.confidence:.0%}"
        canvas.text(share, end + 20, 66, size=34, ink=FAINT)
    canvas.text(f"{look.path.name}   judged by {model_id}", EDGE, 100, size=14, ink=FAINT)
    canvas.fill(EDGE, HEAD, WIDTH - 2 * EDGE, 1, LINE)


def _panel(canvas: Canvas, title: str, note: str, pixels: Pixels, x: int, y: int) -> None:
    canvas.text(title, x, y + 12, size=16, bold=True)
    canvas.picture(pixels, x, y + 24, PANEL_W, PANEL_H)
    canvas.text(note, x, y + 24 + PANEL_H + 18, size=12.5, ink=FAINT)


def _with_box(look: Look) -> Pixels:
    """The frame with the item's box, and the window round it, in the panel's shape."""
    shown, scale = framed(look.pixels, PANEL_W, PANEL_H)
    if look.crop.mask is None:
        return shown
    corner = _corner(look.pixels, scale)
    for box, ink, thick in (
        (window_of(look.crop.box_xyxy, look.pixels.shape[:2]), (255, 255, 255), 1),
        (look.crop.box_xyxy, ITEM, 2),
    ):
        draw_box(shown, _placed(box, scale, corner), ink, thick)
    return shown


def _with_mask(look: Look) -> Pixels:
    """The frame, dim where it is not the item, with the item's outline."""
    if look.crop.mask is None:
        return framed(look.pixels, PANEL_W, PANEL_H)[0]
    mask = mask_in_frame(look.crop.mask, look.crop.box_xyxy, look.pixels.shape[:2])
    return framed(draw_item(look.pixels, mask), PANEL_W, PANEL_H)[0]


def _corner(pixels: Pixels, scale: float) -> tuple[float, float]:
    """Where the frame's upper left corner lies in its panel."""
    height, width = pixels.shape[:2]
    return (PANEL_W - width * scale) / 2, (PANEL_H - height * scale) / 2


def _placed(box: Box, scale: float, corner: tuple[float, float]) -> Box:
    x0, y0, x1, y1 = (round(side * scale + corner[i % 2]) for i, side in enumerate(box))
    return max(x0, 1), max(y0, 1), min(x1, PANEL_W - 2), min(y1, PANEL_H - 2)


def _bars(canvas: Canvas, look: Look, x: int, y: int) -> None:
    canvas.text("The best three classes", x, y + 12, size=16, bold=True)
    for row, (label, share) in enumerate(look.decision.top):
        top = y + 44 + row * 78
        canvas.text(label, x, top + 6, size=16)
        percent = f"{share:.1%}"
        canvas.text(percent, x + PANEL_W - width_of(percent, 16), top + 6, size=16, ink=FAINT)
        canvas.fill(x, top + 18, PANEL_W, 22, (238, 238, 233))
        canvas.fill(x, top + 18, round(PANEL_W * share), 22, BARS[min(row, len(BARS) - 1)])
    if not look.decision.top:
        canvas.text("nothing was judged", x, y + 50, size=15, ink=FAINT)


def _words(canvas: Canvas, look: Look, x: int, y: int) -> None:
    canvas.text("The verdict", x, y + 12, size=16, bold=True)
    ink = OUTCOMES.get(look.decision.outcome, INK)
    canvas.fill(x, y + 28, 4, 34, ink)
    canvas.text(look.decision.outcome, x + 16, y + 52, size=19, ink=ink, bold=True)
    below = canvas.paragraph(look.decision.reason, x, y + 96, width=PANEL_W, size=15)
    canvas.paragraph(
        MEANING[look.decision.outcome], x, below + 14, width=PANEL_W, size=13, ink=FAINT
    )


MEANING = {
    "sorted": "Sure enough: the item goes the way of its class.",
    "unknown": "No class is sure enough, or it looks like none: it goes the safe way.",
    "ambiguous": "Two classes are too close: it goes the safe way.",
    "empty": "Nothing lies there: nothing moves.",
    "late": "Too late: nothing moves.",
    "fault": "The picture cannot be judged: it goes the safe way.",
}


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} px"


def _box_text(look: Look) -> str:
    if look.crop.mask is None:
        return "not cut out"
    x0, y0, x1, y1 = look.crop.box_xyxy
    return f"box {x1 - x0} x {y1 - y0} px"


def save_sheet(look: Look, path: Path, *, classifier: PictureClassifier, many: bool) -> None:
    """Draw one picture's sheet to `path`, or into it where it is the folder of many."""
    bundle = classifier.bundle
    sheet = explain(
        look,
        labels=bundle.labels,
        preprocessing=bundle.preprocessing,
        classify=classifier.classifier.classify,
        model_id=bundle.model_id,
    )
    if many or path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path = path / f"{look.path.stem}.png"
    sheet.save(path)
