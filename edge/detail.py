"""Tells a tray in another light from one with a thing on it, by how sharp the difference is.

A shadow, a spot of light or a cloud multiplies what the camera sees by a gain. In the logarithm
of the ratio of two pictures of one tray the tray cancels, and what is left of light alone is that
gain (the ratio of images as a test for shadows: Stauder, Mech and Ostermann 1999; Rosin and Ellis
1995). It has penumbras: a lamp is not a point, so its edges are wider than the lens's blur. A
thing has edges as sharp as the lens, hides the tray's texture and brings its own; clear glass has
little else. So an edge is looked at in two scales: of a step of width s, the slopes after
smoothing by a and by b stand as sqrt(s^2 + b^2) to sqrt(s^2 + a^2) (Lindeberg 1998, Elder and
Zucker 1998), which says the width whatever the height.

Relief is no paint: the weave of a belt shows more or less under another lamp. Where the light
changed, the tray's own texture is therefore allowed to come and go in part.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.values import Pixels

Plane = npt.NDArray[np.float32]  # (h, w)
Mask = npt.NDArray[np.uint8]  # (h, w), 0 or 1

LONG_SIDE_PX = 400  # of a fine picture at most; cameras of 640x480 give 320x240
LEAST_SIDE_PX = 48  # smaller pictures have no edges to speak of
DARK = 4.0  # levels added before the logarithm
READ, SHOT = 1.0, 0.012  # a camera's noise: sqrt(READ + SHOT * level), times what the picture says
MEDIAN_SLOPE = 1.18  # of the length of a vector of two normal parts, in their deviations
# In deviations of the noise of that picture. 280 empty looks at 20 drawn trays: 3.5 let 3 with
# shadows fail, 4.5 none.
NOISE_K = 4.5
LEAST_SLOPE = 0.004  # of log luminance, per px
# Slope after smoothing by 1 px over that after 3 px: 2.0 for an edge 1.5 px wide. On the same
# looks, shadows as soft as 1.5 to 8 px: 1.7 let 8 fail, 1.9 three, before the texture's share.
SHARP = 1.9
# Between two shadows that nearly meet, light comes and goes again; the slopes after 3 px cancel
# there, and what is left looks sharp. So what is found must also be sharp after 2 px (1.5: an edge
# 1.2 px wide), and beside the steepest that is as soft as 3 px nearby.
SHARP_NEAR = 1.5
SOFT_PX = 3  # of the half-sized picture: nearby
SHARP_COLOUR = 1.5
LEAST_COLOUR_SLOPE = 0.02  # of a log ratio of colours, per 2 px
COLOUR_K = 4.0
TEXTURE = 1.0  # of the tray's own slopes, for each unit of log luminance that the light changed
MOST_CHANGE = 0.8  # that counts for it
NEAR_PX = 5  # sharp px that are so near
NEAR_LEAST = 5  # and so many of them belong together; a single one is noise
DIRT = 0.5  # a group shorter than this part of the least thing's side is dirt
TEXTURE_PX = 9  # over which the tray's texture is averaged
WHITE = 245  # levels, of the mean of four px: some of them may be as bright as levels go
CLIPPED = 1.5  # of the tray's own slopes, where some of them are cut off
BORDER_PX = 4  # where smoothing sees an edge from one side alone
LUT = np.log(np.arange(256, dtype=np.float32) + np.float32(DARK))
LEVELS = np.arange(256, dtype=np.float32)
NOISE = (np.sqrt(READ + SHOT * LEVELS) / (LEVELS + np.float32(DARK))).astype(np.float32)


class Detail:
    """The fine picture of the empty tray."""

    def __init__(self, levels: npt.NDArray[np.floating] | Pixels) -> None:
        self.levels = np.array(levels, np.float32)  # (h, w, 3), own copy
        self._ready: _Prepared | None = None

    @property
    def stored(self) -> Pixels:
        """As a file keeps it."""
        return np.asarray(np.clip(self.levels + 0.5, 0, 255), np.uint8)

    def adapt(self, fine: Pixels, changed: Mask, *, share: float) -> None:
        """Move a share of the way to a fine picture, but for the cells that changed."""
        if not self.fits(fine):
            return
        kept = cv2.resize(1 - changed, fine.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cv2.accumulateWeighted(fine, self.levels, share, kept)
        self._ready = None

    def fits(self, fine: Pixels) -> bool:
        """Whether it is of the same size."""
        return bool(fine.shape == self.levels.shape)

    def sharp_px(self, fine: Pixels, *, least_frac: float) -> int:
        """The longest run of px of a fine picture that no light explains, in brightness or colour.

        Things of less than `least_frac` of the picture are dirt, and give none. Raises ValueError
        where the picture is of another size.
        """
        if not self.fits(fine):
            raise ValueError(f"fine picture {fine.shape}, the tray's is {self.levels.shape}")
        if self._ready is None:
            self._ready = _Prepared(self.levels)
        least_px = DIRT * math.sqrt(least_frac * fine.shape[0] * fine.shape[1])
        return self._ready.sharp_px(fine, least_px)


class _Prepared:
    """What is needed of the tray for each comparison."""

    def __init__(self, levels: npt.NDArray[np.float32]) -> None:
        rounded = np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)
        self._grey = _grey(rounded)
        grey = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)
        self._log = cast(Plane, cv2.log(grey + np.float32(DARK)))
        self._colours = _colours(rounded)
        box = (TEXTURE_PX, TEXTURE_PX)
        self._texture = _half(cast(Plane, cv2.blur(_slope(_smooth(self._log)), box)))
        self._colour_texture = [cv2.blur(_slope(_smooth(plane)), box) for plane in self._colours]

    def sharp_px(self, fine: Pixels, least_px: float) -> int:
        grey = _grey(fine)
        change = cast(Plane, cv2.subtract(cv2.LUT(grey, LUT), self._log))
        slope = _slope(_smooth(change))
        coarse = cast(Plane, cv2.GaussianBlur(_half(change), (9, 9), 1.5))
        light = np.asarray(np.abs(coarse), np.float32)
        # Of the light in most of the picture; an item changes less of it.
        np.maximum(light, np.percentile(light[::3, ::3], 75), out=light)
        noise = _half(cast(Plane, cv2.LUT(cv2.min(grey, self._grey), NOISE)))
        soft = _slope(coarse)
        limit = SHARP / 2 * soft + NOISE_K * _deviation(slope, noise) * noise
        limit = np.asarray(limit + np.float32(LEAST_SLOPE), np.float32)
        limit += np.float32(TEXTURE) * np.minimum(light, MOST_CHANGE) * self._texture
        sharp = _inside(slope > _full(limit, slope))
        if np.count_nonzero(sharp) >= NEAR_LEAST:  # not so in most looks at an empty tray
            sharp &= _is_sharp_nearby(slope, change, soft)
            sharp &= slope > _full(limit + np.float32(CLIPPED) * self._lost(fine), slope)
        found = _run(sharp, least_px)
        return max(found, self._colour_run(fine, noise, light, least_px / 2))

    def _lost(self, fine: Pixels) -> Plane:
        """The tray's texture where a camera's white begins and takes it away, at half the size."""
        white = np.asarray(_half(fine.max(axis=2)) >= WHITE, np.uint8)
        return cast(Plane, self._texture * cv2.dilate(white, np.ones((5, 5), np.uint8)))

    def _colour_run(self, fine: Pixels, noise: Plane, light: Plane, least_px: float) -> int:
        """The same in two ratios of colours, at half the size: JPEG keeps no more of colour."""
        longest = 0
        rows = zip(_colours(fine), self._colours, self._colour_texture, strict=True)
        for now, before, texture in rows:
            change = cast(Plane, cv2.subtract(now, before))
            slope = _slope(_smooth(change))
            blurred = cast(Plane, cv2.GaussianBlur(_half(change), (9, 9), 1.5))
            limit = COLOUR_K * _deviation(slope, noise) * noise
            limit = limit + SHARP_COLOUR / 2 * _full(_slope(blurred), slope)
            limit += 1.5 * np.minimum(light, MOST_CHANGE) * texture + LEAST_COLOUR_SLOPE
            longest = max(longest, _run(_inside(slope > limit), least_px))
        return longest


def fine_of(pixels: Pixels) -> Pixels:
    """Halve a frame until its long side is at most LONG_SIDE_PX; a view where it is already."""
    while max(pixels.shape[:2]) > LONG_SIDE_PX:
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        even = pixels[: half[1] * 2, : half[0] * 2]
        pixels = cast(Pixels, cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    return pixels


def is_fine(pixels: Pixels) -> bool:
    """Whether a fine picture is large enough to be compared."""
    return bool(min(pixels.shape[:2]) >= LEAST_SIDE_PX)


def _grey(pixels: Pixels) -> Mask:
    return cast(Mask, cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _colours(fine: Pixels) -> tuple[Plane, Plane]:
    """Logarithms of red and of blue over green, at half the size."""
    size = (fine.shape[1] // 2, fine.shape[0] // 2)
    small = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    red, green, blue = (cv2.LUT(plane, LUT) for plane in cv2.split(small))
    return cast(Plane, cv2.subtract(red, green)), cast(Plane, cv2.subtract(blue, green))


def _smooth(plane: Plane) -> Plane:
    return cast(Plane, cv2.GaussianBlur(plane, (7, 7), 1.0))


def _slope(plane: Plane) -> Plane:
    across = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    down = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return cast(Plane, cv2.magnitude(across, down))


def _is_sharp_nearby(slope: Plane, change: Plane, soft: Plane) -> npt.NDArray[np.bool_]:
    """(h, w): steeper than after 2 px, and than the steepest that is soft around it."""
    softer = _slope(cast(Plane, cv2.GaussianBlur(change, (13, 13), 2.0)))
    steepest = cast(Plane, cv2.dilate(soft, np.ones((SOFT_PX, SOFT_PX), np.uint8)))
    limit = cv2.max(np.float32(SHARP_NEAR) * softer, np.float32(SHARP / 2) * _full(steepest, slope))
    return np.asarray(slope > limit)


def _inside(marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(h, w) the same, but for the picture's border."""
    kept = np.zeros_like(marks)
    within = slice(BORDER_PX, -BORDER_PX)
    kept[within, within] = marks[within, within]
    return kept


def _half(plane: Plane) -> Plane:
    size = (plane.shape[1] // 2, plane.shape[0] // 2)
    return cast(Plane, cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def _full(plane: Plane, like: Plane) -> Plane:
    return cast(Plane, cv2.resize(plane, like.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _deviation(slope: Plane, noise: Plane) -> float:
    """How many times NOISE this picture has: most of it shows nothing new."""
    step = slope.shape[0] // noise.shape[0]
    some = slope[: noise.shape[0] * step : 3 * step, : noise.shape[1] * step : 3 * step]
    return float(np.median(some / noise[::3, ::3])) / MEDIAN_SLOPE


def _run(sharp: npt.NDArray[np.bool_], least_px: float) -> int:
    """The px in the largest group of sharp ones that lie close together; short groups are none."""
    marks = sharp.view(np.uint8)
    if cv2.countNonZero(marks) < NEAR_LEAST:
        return 0
    near = cv2.boxFilter(marks, cv2.CV_8U, (NEAR_PX, NEAR_PX), normalize=False)
    kept = np.asarray((near >= NEAR_LEAST) & sharp, np.uint8)
    if not cv2.countNonZero(kept):
        return 0
    joined = cv2.dilate(kept, np.ones((NEAR_PX, NEAR_PX), np.uint8))
    count, groups, boxes, _ = cv2.connectedComponentsWithStats(joined)
    sizes = np.bincount(groups[kept != 0], minlength=count)
    long_px = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) - (NEAR_PX - 1)
    sizes[(long_px < least_px) | (np.arange(count) == 0)] = 0
    return int(sizes.max())
