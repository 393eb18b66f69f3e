"""`smartbin tray`: learns the empty tray from some seconds of frames, and says what to expect.

Pure: frames in, a model and an outlook out. The lights that are switched meanwhile are taken off
by edge.scene; what they leave unexplained, like a highlight that wanders, becomes noise of its
cells. Frames in which something moves or lies there are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.detail import Detail
from edge.errors import TrayError
from edge.scene import Planes, Reference, Scene, planes_of, scene_of
from edge.tray import TrayModel, changed_if_empty
from edge.values import Pixels

LEAST_FRAMES = 8
MAX_SCENES = 160  # 60 MB of them
SAMPLES = 8  # whole frames, for the noise of a pixel
SAME_LIGHT = 0.1  # of log luminance, about the usual light
LEAST_SIGMA = 0.002  # of a cell, as the presence trigger learns it
MOST_MATTER = 0.01  # of the picture; more is a hand
MOST_LEFT_OUT = 0.5  # of the frames
MOST_FOOLED = 0.02  # of the frames: more, and lamps alone would open flaps
CLEAR = 1.5  # times what counts as change: an item that stands out
# Reflectances in red, green and blue, against white paper; glass and PET dim what lies below.
ITEMS: Mapping[str, tuple[float, float, float]] = {
    "white paper": (1.0, 0.99, 0.96),
    "brown cardboard": (0.55, 0.40, 0.26),
    "grey metal": (0.50, 0.50, 0.51),
    "black plastic": (0.06, 0.06, 0.06),
}
TRANSPARENT, THROUGH = "a transparent bottle", 0.85
PAPER_LEVELS = 170.0, 245.0  # where a camera with automatic exposure shows white paper


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a calibration has learned."""

    model: TrayModel
    left_out: int  # frames with something in them
    mistaken: int  # of the others, those in which the tray itself would be taken for a thing
    light_range: tuple[float, float]  # darkest and brightest light, as parts of the usual one


@dataclass(frozen=True, slots=True)
class Outlook:
    """How well items will stand out on a tray."""

    brightness: float  # mean level, 0..255
    clipped: float  # share of pixels that are black or white whatever lies there
    noise: float  # standard deviation of a pixel, in levels
    texture: float  # of the tray, standard deviation from cell to cell, as a part of its light
    saturation: float  # of its colour, 0 grey .. 1
    stands_out: Mapping[str, float]  # kind of item: share of the tray on which it stands out
    verdict: str  # good, fair or poor
    sentence: str  # for a person


class Lookout:
    """Takes in frames while `smartbin tray` watches; keeps scenes and a few whole frames."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.samples: list[Pixels] = []  # the first ones, one after the other
        self._every = 1  # of the frames, one is kept
        self._seen = 0

    def add(self, pixels: Pixels) -> None:
        """Take in a frame; raises TrayError where its size is another than before."""
        if self.samples and pixels.shape != self.samples[0].shape:
            raise TrayError("the camera changed its picture's size; run smartbin tray again")
        if len(self.samples) < SAMPLES:
            self.samples.append(pixels)
        if self._seen % self._every == 0:
            self.scenes.append(scene_of(pixels))
        self._seen += 1
        if len(self.scenes) >= MAX_SCENES:  # a long watch: half as dense, in bounded memory
            del self.scenes[1::2]
            self._every *= 2


def learn_tray(
    lookout: Lookout, *, learned_ts: float, min_area_frac: float = MOST_MATTER
) -> Lesson:
    """Learn an empty tray; raises TrayError where there are too few frames, or none is empty.

    `min_area_frac` is the trigger's: what is smaller is dirt.
    """
    scenes = lookout.scenes
    if len(scenes) < LEAST_FRAMES:
        raise TrayError(
            f"{len(scenes)} frames are too few to learn a tray from, {LEAST_FRAMES} are needed; "
            "give more --seconds, or see smartbin doctor on the camera"
        )
    height, width = lookout.samples[0].shape[:2]
    light = np.array([float(np.median(scene.planes[0])) for scene in scenes])
    near = np.abs(light[:, None] - light) < SAME_LIGHT
    most = int(near.sum(axis=0).argmax())  # whose light most others have
    usual = near[most]
    levels = np.median([s.levels for s, kept in zip(scenes, usual, strict=True) if kept], axis=0)
    rests, empty = _rests(np.asarray(levels, np.float32), scenes)
    left_out = len(scenes) - len(rests)
    if left_out > MOST_LEFT_OUT * len(scenes):
        raise TrayError(
            f"something moved or lay there in {left_out} of {len(scenes)} frames; "
            "empty the tray, keep hands out of the picture, and run smartbin tray again"
        )
    variance = np.maximum(np.mean([rest**2 for rest in rests], axis=0), LEAST_SIGMA**2)
    spread = np.exp(light - light[most])
    model = TrayModel(
        levels=np.asarray(levels, np.float32),
        variance=np.asarray(variance, np.float32),
        width_px=width,
        height_px=height,
        frames=len(rests),
        learned_ts=learned_ts,
        detail=_detail([s.fine for s, good in zip(scenes, usual & empty, strict=True) if good]),
    )
    shown = [scene for scene, good in zip(scenes, empty, strict=True) if good]
    light_range = (float(spread.min()), float(spread.max()))
    return Lesson(model, left_out, _mistaken(model, shown, min_area_frac), light_range)


def _mistaken(model: TrayModel, scenes: Sequence[Scene], min_area_frac: float) -> int:
    """In how many of the scenes it was learned from the tray would not be called empty.

    A texture in relief, or a mirror, looks otherwise in other light: only trying tells.
    """
    reference = model.reference()
    looks = (changed_if_empty(reference, s, min_area_frac=min_area_frac) for s in scenes)
    return sum(changed is None for changed in looks)


def _detail(fines: Sequence[Pixels]) -> Pixels | None:
    """The mean of the fine pictures; None where there are none."""
    return Detail(np.mean(fines, axis=0)).stored if fines else None


def _rests(levels: Planes, scenes: Sequence[Scene]) -> tuple[list[Planes], npt.NDArray[np.bool_]]:
    """What the light leaves unexplained in each empty scene, and which scenes are empty."""
    noise = np.full(levels.shape, 0.01**2, np.float32)
    reference = Reference(levels, noise)
    rests, empty = [], np.zeros(len(scenes), bool)
    for number, scene in enumerate(scenes):
        if reference.matter(scene).mask.mean() < MOST_MATTER:
            rests.append(reference.rest.copy())
            empty[number] = True
    return rests, empty


def outlook_of(lesson: Lesson, samples: Sequence[Pixels]) -> Outlook:
    """Say how well items will stand out on a tray, from what was learned and a few frames."""
    model = lesson.model
    levels = model.levels
    luminance = levels.mean(axis=0)
    middle = samples[len(samples) // 2]
    noise = _noise(samples)
    clipped = float(((middle >= 252).any(axis=2) | (middle <= 3).all(axis=2)).mean())
    stands_out = _contrasts(model)
    saturation = (levels.max(axis=0) - levels.min(axis=0)) / np.maximum(levels.max(axis=0), 1)
    brightness = float(luminance.mean())
    fooled = lesson.mistaken / lesson.model.frames
    faults = _faults(brightness=brightness, clipped=clipped, noise=noise, fooled=fooled)
    verdict, sentence = _judge(stands_out, faults)
    return Outlook(
        brightness=brightness,
        clipped=clipped,
        noise=noise,
        texture=_texture(luminance),
        saturation=float(saturation.mean()),
        stands_out=stands_out,
        verdict=verdict,
        sentence=sentence,
    )


def _noise(samples: Sequence[Pixels]) -> float:
    """Standard deviation of a pixel, in levels, by the quietest pair of frames."""
    pairs = itertools.pairwise(samples)
    stds = [float(np.std(a.astype(np.int16)[::4, ::4] - b[::4, ::4])) for a, b in pairs]
    return min(stds) / math.sqrt(2)


def _texture(luminance: npt.NDArray[np.float32]) -> float:
    smooth = cv2.GaussianBlur(luminance, (0, 0), 6)
    return float(np.std(luminance / np.maximum(smooth, 1)))


def _contrasts(model: TrayModel) -> dict[str, float]:
    """By kind of item, the share of the tray's cells on which it is clearly another thing.

    By colour and brightness alone; an edge or a shadow may still give it away. The tray's own
    reflectance is not known: a tray as bright as paper usually is counts as white itself.
    """
    reference = model.reference()
    luminance = model.levels.mean(axis=0)
    brightest = float(np.percentile(luminance, 95))
    paper = float(np.clip(brightest, *PAPER_LEVELS))
    lit = luminance / max(brightest, 1.0)  # the light falls off to the corners for items as well
    kinds = {
        name: (np.array(colour, np.float32) * paper)[:, None, None] * np.clip(lit, 0.3, 1)
        for name, colour in ITEMS.items()
    }
    kinds[TRANSPARENT] = model.levels * THROUGH
    return {name: _share(reference, np.asarray(seen, np.float32)) for name, seen in kinds.items()}


def _share(reference: Reference, seen: Planes) -> float:
    change = np.abs(planes_of(seen) - planes_of(reference.levels))
    return float((change > CLEAR * reference.limits(seen)).any(axis=0).mean())


def _faults(*, brightness: float, clipped: float, noise: float, fooled: float) -> list[str]:
    """What is wrong with the picture, and what to do."""
    itself = (
        f"in {fooled:.0%} of the frames the tray itself looked like a thing, for its surface shows "
        "otherwise in other light: give it one steady lamp, or lay something matt and plain there"
    )
    return [
        text
        for found, text in (
            (brightness < 40, "the tray is dark: give it a lamp"),
            (clipped > 0.05, "parts are overexposed or black: turn the lamp away, or dim it"),
            (noise > 6, "the picture is noisy: give it more light"),
            (fooled > MOST_FOOLED, itself),
        )
        if found
    ]


def _judge(stands_out: Mapping[str, float], troubles: Sequence[str]) -> tuple[str, str]:
    """One word and one sentence."""
    faint = {name: share for name, share in stands_out.items() if share < 0.9}
    worst = min(stands_out.values())
    advice = f"; {'; '.join(troubles)}" if troubles else ""
    if not faint:
        verdict = "fair" if troubles else "good"
        return verdict, f"Items will stand out all over the tray{advice}."
    names = ", ".join(f"{name} (on {share:.0%} of it)" for name, share in faint.items())
    verdict = "poor" if (worst < 0.3 and len(faint) > 1) or len(troubles) > 1 else "fair"
    hint = "" if troubles else "; a tray of another colour, or a rim light, would show them"
    return verdict, f"Items will stand out on the tray, except {names}{hint}{advice}."
