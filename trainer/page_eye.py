"""What the demo page finds out about one picture: cut, judged, timed and drawn; no Gradio here."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from edge.bundle import Bundle
from edge.segmenters.both import weightier
from edge.segmenters.cutout import mask_in_frame
from edge.segmenters.drawing import ITEM, draw_box, draw_item
from edge.values import Crop, Decision, Pixels
from trainer.gradcam import Evidence, EvidenceError, overlay, scaled
from trainer.seer import Glance, Seer

PICTURE_PX = 640  # width of what is drawn; a laptop's column is about as wide
TIMES = 5  # one call alone told 5 to 57 ms of the same picture on a busy machine
ENOUGH_S = 0.5  # a segmenter that takes a second is not asked five times more
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Span:
    """How long a step takes on this machine."""

    ms: float  # the middle one of `calls`
    calls: int


@dataclass(frozen=True, slots=True)
class Look:
    """What the page shows of one picture."""

    glance: Glance
    labels: tuple[str, ...]
    segmenter: str  # that was asked; "none" where nothing is ever cut out
    cutting: Span
    judging: Span  # crop, resize and network: of both looks, where there are two
    item_rgb: Pixels  # the frame, dimmed outside the item where that was cut out
    covered: float  # share of the frame that the item covers, 0 where it was not cut out
    map_rgb: Pixels | None  # the evidence for the best class over what counts most

    @property
    def decision(self) -> Decision:
        return self.glance.decision

    @property
    def crop(self) -> Crop:
        return self.glance.crop


class Eye:
    """A bundle behind a segmenter, opened for looking; ready when the constructor returns."""

    def __init__(self, bundle: Bundle, seer: Seer) -> None:
        self.bundle = bundle
        self.segmenter = seer.name
        self._seer = seer
        self._lock = threading.Lock()  # guards _seer: a segmenter is used by one thread at a time
        try:
            self._evidence: Evidence | None = Evidence(bundle)
        except EvidenceError:  # the page is useful without a map, and says so
            self._evidence = None

    def look(self, pixels: Pixels) -> Look:
        """(H, W, 3) uint8 RGB to verdict, times and pictures."""
        with self._lock:
            crop, cutting = timed(lambda: self._seer.cut(pixels))
            glance, judging = timed(lambda: self._seer.judge(crop))
        item_rgb, covered = drawn(pixels, crop)
        return Look(
            glance=glance,
            labels=self.bundle.labels,
            segmenter=self.segmenter,
            cutting=cutting,
            judging=judging,
            item_rgb=item_rgb,
            covered=covered,
            map_rgb=self._map(glance),
        )

    def _map(self, glance: Glance) -> Pixels | None:
        if self._evidence is None:
            return None
        seen, best = weightier(glance.crop), int(glance.prediction.probs.argmax())
        heat = scaled(self._evidence.maps(seen)[best : best + 1])[0]
        return overlay(seen, heat, PICTURE_PX, self.bundle.preprocessing.max_aspect)


def timed(
    step: Callable[[], Found], *, clock: Callable[[], float] = time.perf_counter
) -> tuple[Found, Span]:
    """What a step gives, and how long it takes once whatever it starts is there.

    The first call, which may start a process, gives the answer and counts not for the time; those
    after it are asked for their time alone, an odd number of them.
    """
    found = step()
    spent_ms: list[float] = []
    until_s = clock() + ENOUGH_S
    while len(spent_ms) % 2 == 0 or (len(spent_ms) < TIMES and clock() < until_s):
        started_s = clock()
        step()
        spent_ms.append(1000 * (clock() - started_s))
    return found, Span(statistics.median(spent_ms), len(spent_ms))


def drawn(pixels: Pixels, crop: Crop) -> tuple[Pixels, float]:
    """The frame with the item and its box, and the share the item covers.

    PICTURE_PX wide, or as high where it is higher than wide: a strip would fill the memory.
    """
    height, width = pixels.shape[:2]
    scale = PICTURE_PX / max(width, height)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    if crop.mask is None:
        return small, 0.0
    whole = mask_in_frame(crop.mask, crop.box_xyxy, (height, width))
    mask = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    shown = draw_item(small, mask)
    x0, y0, x1, y1 = (round(side * scale) for side in crop.box_xyxy)
    last_x, last_y = size[0] - 2, size[1] - 2  # within, so that all four sides are seen
    draw_box(shown, (max(x0, 1), max(y0, 1), min(x1, last_x), min(y1, last_y)), ITEM, 2)
    return shown, cv2.countNonZero(whole) / whole.size
