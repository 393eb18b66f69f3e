"""Small pictures of the tray, and what differs between two of them whatever the light does.

A scene is the frame at about 96x72, compared as three planes: logarithm of luminance and two
ratios of colours. In logarithms a lamp, the exposure and the white balance only add something
smooth: a quadratic surface over the picture for luminance, a constant for each colour ratio. That
light is fitted to the cells that did not change; what it leaves unexplained is matter. Whether that
may be a shadow with an edge is seen only in the finer picture, of edge.detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.detail import Detail, fine_of, is_fine
from edge.preprocess import resize_down
from edge.shadows import shaded
from edge.values import Box, Pixels

Planes = npt.NDArray[np.float32]  # (3, h, w): one after the other, strided access is twice as slow
Mask = npt.NDArray[np.uint8]  # (h, w), 0 or 1

LONG_SIDE = 96  # cells; an item of 2 % of the picture is then 12 cells wide
CELL_PX = 4.0  # width of a cell at least, in px of the frame
DARK = 8.0  # added to every level before the logarithm, so that noise in the dark stays noise
TO_PLANES = np.array([[0.3, 0.6, 0.1], [1, -1, 0], [0, -1, 1]], np.float32)
FROM_PLANES = np.linalg.inv(TO_PLANES).astype(np.float32)

FLOOR = np.array([0.04, 0.05, 0.05], np.float32)[:, None, None]  # of light and colour: noise
# Levels of noise that rounding, JPEG and the sensor leave in a cell; it counts where it is dark.
# JPEG keeps colour at half the resolution, in coarse steps.
DARK_NOISE = np.array([1.5, 4.0, 4.0], np.float32)[:, None, None]
NOISE_K = 5.0  # standard deviations of a cell that count as change
MAX_THRESHOLD = 0.4  # however a cell flickers, more than this is change
INLIER = 0.08  # residual up to which a cell takes part in the fit of the light
SPARSE = 3  # every third row and column of cells is enough for the fit
MIN_INLIERS = 0.25  # of the cells, for the light of the frame before to be believed
MAX_FITS = 4  # a frame; one is enough while the light stays
STEADY = 0.005  # a fit that changes the light by less is the last
# Of the light's own change: no camera is quite logarithmic and no lamp quite smooth, so a light
# that changed much leaves more unexplained. Measured on rendered lamps, 0.16 to full: 0.15, 0.26.
LIGHT_SLACK = np.array([0.15, 0.2, 0.2], np.float32)[:, None, None]
RELIT = 0.1  # mean change of the light, in logarithms, that is a switch
# Of log luminance and log ratios, what no shadow or lamp was rendered to make: 1.24, where a shiny
# dark floor lost the lamp's own image, and 0.29, on brown wood in a bluish room, were the most.
BEYOND = np.array([1.6, 0.4, 0.4], np.float32)[:, None, None]
STRONG = np.array([0.25, 0.12, 0.12], np.float32)[:, None, None]  # an arm, not a soft shadow
BORDER_CELLS = 3  # strong ones in the outermost rows and columns; an arm is wider
MOTION = 0.06  # of log luminance, within a rest; a cell averages some 40 pixels
MOTION_K = 9.0  # six standard deviations, in median absolute deviations
MOVED_CELLS = 6  # about 0.1 % of the picture
STRENGTH_PERCENTILE = 80  # of the cells of a thing: glass shows little but its edges
CLOSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


@dataclass(frozen=True, slots=True)
class Scene:
    """A small picture, as levels and as the planes that are compared."""

    levels: Planes  # R, G, B, 0..255
    planes: Planes  # log luminance, log R/G, log B/G
    fine: Pixels  # the frame, halved until it is no longer than 400 px


def scene_of(pixels: Pixels) -> Scene:
    """Reduce a frame to its scene."""
    height, width = pixels.shape[:2]
    scale = max(height, width) / LONG_SIDE
    if scale < CELL_PX:  # a small frame: fewer cells, for a cell of few pixels is noise
        scale = min(CELL_PX, max(1.0, min(height, width) / CELL_PX))
    fine = fine_of(pixels)
    small = resize_down(fine, max(1, round(width / scale)), max(1, round(height / scale)))
    levels = np.ascontiguousarray(small.transpose(2, 0, 1), np.float32)
    return Scene(levels, planes_of(levels), fine)


def planes_of(levels: Planes) -> Planes:
    """Return log luminance and the logarithms of two colour ratios."""
    flat = levels.reshape(3, -1) + np.float32(DARK)
    return cast(Planes, (TO_PLANES @ cv2.log(flat)).reshape(levels.shape))


class Light:
    """The smooth difference of light between a reference and the present scene.

    Keeps the last fit: light goes on from frame to frame, so an item that covers most of the
    picture is not taken for the new light while a quarter of the cells still agree with the old.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        rows, columns = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
        terms = (np.ones_like(rows), rows, columns, rows**2, rows * columns, columns**2)
        self._terms = np.stack(terms, -1).astype(np.float32)  # (h, w, 6)
        self._sparse = self._terms[::SPARSE, ::SPARSE].reshape(-1, 6)
        self._surface = np.zeros(6, np.float32)  # of log luminance
        self._tint = np.zeros(2, np.float32)  # of the two log ratios

    def unexplained(self, levels: Planes, scene: Scene) -> Planes:
        """Return by how much a scene differs from the reference `levels` in this light."""
        rest = scene.planes - self._lit(levels)
        for _ in range(MAX_FITS):
            if self._refine(rest) < STEADY:
                break
            rest = scene.planes - self._lit(levels)
        return rest

    @property
    def dimming(self) -> float:
        """How many times darker it is than in the reference; 1 where it is not."""
        return float(np.clip(np.exp(-self._surface[0]), 1, 8))

    @property
    def size(self) -> npt.NDArray[np.float32]:
        """How much the light changed, in logarithms, colour included; (h, w)."""
        size = np.abs(self._terms @ self._surface) + np.abs(self._tint).max()
        return cast(npt.NDArray[np.float32], size)

    def _lit(self, levels: Planes) -> Planes:
        """Return the planes of the reference in this light."""
        # In levels, not in logarithms: there DARK would count as matter that the light changes.
        tint = FROM_PLANES @ np.array([0, *self._tint], np.float32)
        gain = cv2.exp(self._terms @ self._surface) * np.exp(tint)[:, None, None]
        return planes_of(np.minimum(levels * gain, np.float32(255)))

    def _refine(self, rest: Planes) -> float:
        """Fit the light to the cells that only light changed; return the size of the step."""
        sparse = rest[:, ::SPARSE, ::SPARSE].reshape(3, -1)
        luminance = sparse[0]
        inliers = np.abs(luminance) < INLIER
        if inliers.mean() < MIN_INLIERS:
            inliers = np.abs(luminance - np.median(luminance)) < 4 * INLIER
        step = np.zeros(6, np.float32)
        for _ in range(2):
            terms = self._sparse[inliers]
            # The small ridge keeps the surface flat where too few cells say otherwise.
            normal = terms.T @ terms + np.eye(6, dtype=np.float32) * 0.1
            step = np.linalg.solve(normal, terms.T @ luminance[inliers])
            inliers = np.abs(luminance - self._sparse @ step) < INLIER
        tint = np.zeros(2, np.float32)
        if inliers.any():
            tint = np.median(sparse[1:, inliers], axis=1)
        self._surface += step
        self._tint += tint
        return float(np.abs(step).sum() + np.abs(tint).sum())


@dataclass(frozen=True, slots=True)
class Matter:
    """The cells that hold a thing, and how clearly they do."""

    mask: Mask
    strength: float  # its clearest cells, in multiples of what counts as change; 0 where none
    hard_frac: float  # of the picture: cells that are no shadow, those of thin lines included


class Reference:
    """A scene to compare with, its noise, and the light since it was taken."""

    def __init__(self, levels: Planes, variance: Planes, detail: Detail | None = None) -> None:
        """`detail` is the same in fine; without it, only soft shadows are known from things."""
        self.levels = levels.copy()
        self._detail = detail
        self.variance = variance.copy()  # of the planes
        self._sigma = np.sqrt(self.variance)
        self._light = Light(levels.shape)
        self._rest = self._limit = np.zeros_like(levels)
        self._relit_by = 0.0  # how much the light differed at the last look, in logarithms

    def changes(self, scene: Scene) -> Mask:
        """Return the cells that hold other matter than the reference did, closed and filled."""
        self._rest = self._light.unexplained(self.levels, scene)
        size = self._light.size
        self._relit_by = float(size.mean())
        self._limit = self.limits(scene.levels, slack=size * LIGHT_SLACK)
        return solid(self._over())

    def matter(self, scene: Scene) -> Matter:
        """What of the changes is a thing: soft shadows left out, with the strength of the rest."""
        self.changes(scene)
        over = self._over()
        over[shaded(self._rest, self._limit)] = 0
        mask = enclosed(over)
        there = mask != 0
        hard_frac = cv2.countNonZero(over) / over.size
        if not there.any():
            return Matter(mask, 0.0, hard_frac)
        times = (np.abs(self._rest) / self._limit).max(axis=0)[there]
        return Matter(mask, float(np.percentile(times, STRENGTH_PERCENTILE)), hard_frac)

    def sharp_px(self, scene: Scene, *, least_frac: float) -> int | None:
        """How much differs that is sharp; None where the fine pictures cannot be compared."""
        detail = self._detail
        if detail is None or not is_fine(scene.fine) or not detail.fits(scene.fine):
            return None
        return detail.sharp_px(scene.fine, least_frac=least_frac)

    def beyond_light(self) -> float:
        """Of the picture, cells at the last look too dark, bright or coloured for any shadow."""
        over = (np.abs(self._rest) > np.maximum(BEYOND, self._limit)).any(axis=0)
        there = np.asarray(over, np.uint8)
        return cv2.countNonZero(cv2.medianBlur(there, 3)) / there.size

    def limits(self, levels: Planes, slack: Planes | float = 0.0) -> Planes:
        """By how much each plane of `levels` must differ to count as change."""
        limit = np.maximum(self._sigma * (NOISE_K * self._light.dimming), FLOOR)
        limit += slack
        darkest = np.minimum(self.levels, levels).min(axis=0)
        np.maximum(limit, DARK_NOISE / (darkest + np.float32(DARK)), out=limit)
        return np.minimum(limit, MAX_THRESHOLD, out=limit)

    @property
    def rest(self) -> Planes:
        """What the light left unexplained at the last look."""
        return self._rest

    def _over(self) -> Mask:
        over = np.abs(self._rest) > self._limit
        return np.asarray(over[0] | over[1] | over[2], np.uint8)

    def reaches_border(self, mask: Mask) -> bool:
        """Say whether the change within a mask is at the picture's edge more than a shadow."""
        strong = (np.abs(self._rest) > STRONG).any(axis=0) & (mask != 0)
        strong[1:-1, 1:-1] = False
        return int(np.count_nonzero(strong)) >= BORDER_CELLS

    @property
    def relit(self) -> bool:
        """Whether a light was switched since, rather than that the day went on."""
        return self._relit_by > RELIT

    def adapt(self, scene: Scene, changed: Mask, *, share: float) -> None:
        """Move a share of the way to the present scene where nothing changed."""
        shares = np.where(changed == 0, np.float32(share), np.float32(0))
        self.levels += shares * (scene.levels - self.levels)
        if not self.relit:  # what another light leaves unexplained is not noise
            self.variance += shares * (self._rest**2 - self.variance)
            self._sigma = np.sqrt(self.variance)
        if self._detail is not None:
            self._detail.adapt(scene.fine, changed, share=share)


def solid(mask: Mask) -> Mask:
    """Drop single cells, join what is near, fill what is enclosed: glass shows only its edges."""
    mask = cast(Mask, cv2.medianBlur(mask, 3))
    if not mask.any():
        return mask
    mask = cast(Mask, cv2.morphologyEx(mask, cv2.MORPH_CLOSE, CLOSE))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cast(Mask, cv2.drawContours(mask, outlines, -1, 1, cv2.FILLED))


def enclosed(mask: Mask) -> Mask:
    """Join and fill first, then drop single cells: a bottle's outline is one cell wide."""
    if not mask.any():
        return mask
    mask = cast(Mask, cv2.morphologyEx(mask, cv2.MORPH_CLOSE, CLOSE))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = cast(Mask, cv2.drawContours(mask, outlines, -1, 1, cv2.FILLED))
    return cast(Mask, cv2.medianBlur(mask, 3))


class RestWatch:
    """Measures how long the picture has been at rest.

    Compares with the first scene of the rest, not with the last frame: what creeps, like a slow
    hand, adds up. The noise is judged from the difference itself, so a dark picture rests too.
    """

    def __init__(self) -> None:
        self._anchor: Scene | None = None
        self._since_s = 0.0

    def rest_s(self, scene: Scene, now_s: float) -> float:
        """Take in the scene at `now_s`; return the seconds since anything last moved."""
        if self._anchor is None or self._moved(scene, self._anchor):
            self._anchor, self._since_s = scene, now_s
        return now_s - self._since_s

    @staticmethod
    def _moved(scene: Scene, anchor: Scene) -> bool:
        change = scene.planes[0] - anchor.planes[0]
        light = float(np.median(change[::SPARSE, ::SPARSE]))
        if abs(light) > RELIT:
            return True  # no scene to compare with any longer: its noise would hide movement
        change = np.abs(change - light)  # the exposure may ramp
        noise = float(np.median(change[::SPARSE, ::SPARSE]))
        limit = min(max(MOTION, MOTION_K * noise), MAX_THRESHOLD)
        mask = cv2.medianBlur((change > limit).astype(np.uint8), 3)
        return int(cv2.countNonZero(mask)) > MOVED_CELLS


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a mask is and where."""

    area_frac: float  # of the picture
    box_xyxy: Box  # in px of the frame


def extent_of(mask: Mask, frame_shape: tuple[int, ...]) -> Extent | None:
    """Measure a mask; None where it is empty."""
    cells = cv2.countNonZero(mask)
    if not cells:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    rows, columns = mask.shape
    scale_y, scale_x = frame_shape[0] / rows, frame_shape[1] / columns
    box = (
        max(0, round((x - 1) * scale_x)),  # a cell of margin: the edge lies within a cell
        max(0, round((y - 1) * scale_y)),
        min(frame_shape[1], round((x + w + 1) * scale_x)),
        min(frame_shape[0], round((y + h + 1) * scale_y)),
    )
    return Extent(cells / mask.size, box)
