"""The empty tray: learned while nothing lies there, stored by `smartbin tray`, compared with.

A stored tray is one .npz: format, levels and variance of edge.scene's cells, a picture of the empty
tray of at most 400 px, the camera's picture size, when and from how many frames it was learned.
Format 1 had no picture; it is read, and tells only soft shadows from things.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.detail import Detail, fine_of
from edge.errors import TrayError
from edge.scene import Mask, Matter, Planes, Reference, Scene, scene_of
from edge.values import Frame, Pixels

log = logging.getLogger(__name__)

FORMAT = 2
OLD_FORMATS = (1,)
MAX_CELLS = 96 * 96
MAX_FILE_BYTES = 8_000_000
ADAPT_EVERY_S = 0.5
ADAPT_S = 120.0  # a known tray follows dirt and daylight within this time
MOST_SHARP_PX = 16  # of a group in the fine picture; 280 empty looks at drawn trays: 2 had more
# Without a fine picture: of the picture, cells that no shadow explains: the edges of clear glass,
# where little is filled.
MOST_HARD = 0.004
MOST_CHANGED = 0.6  # of the picture: the camera was moved, or this is another tray


@dataclass(frozen=True, slots=True)
class TrayModel:
    """What is stored of an empty tray."""

    levels: Planes  # R, G, B of each cell, 0..255
    variance: Planes  # of the planes of edge.scene, under every light seen
    width_px: int  # of the camera's frames
    height_px: int
    frames: int  # that it was learned from
    learned_ts: float  # seconds since the epoch
    detail: Pixels | None = None  # of edge.detail

    def reference(self) -> Reference:
        """A fresh reference to compare with."""
        detail = None if self.detail is None else Detail(self.detail)
        return Reference(self.levels, self.variance, detail)

    def fits(self, frame_shape: tuple[int, ...]) -> bool:
        """Whether frames of this shape can be compared with it."""
        return frame_shape[:2] == (self.height_px, self.width_px)

    def misfit(self, frame_shape: tuple[int, ...]) -> str:
        """Why frames of this shape cannot be compared with it, in words; empty where they can."""
        if self.fits(frame_shape):
            return ""
        return (
            f"the stored tray is one of {self.width_px}x{self.height_px} px, frames are "
            f"{frame_shape[1]}x{frame_shape[0]}; run smartbin tray again"
        )


class TrayMemory:
    """The empty tray as it is known just now; shared by trigger, judge and segmenter.

    Used by the daemon's loop alone. It starts with the stored tray, if there is one, and the
    presence trigger puts in what it has learned.
    """

    def __init__(self, stored: TrayModel | None = None, *, min_area_frac: float = 0.01) -> None:
        self.stored = stored
        self.min_area_frac = min_area_frac  # less is dirt
        self._shape = (stored.height_px, stored.width_px) if stored else (0, 0)
        self._reference = stored.reference() if stored else None
        self._adapted_s = -math.inf
        self._told = False  # that the stored tray is another camera's: once is enough

    @property
    def known(self) -> bool:
        """Whether there is a tray to compare with."""
        return self._reference is not None

    def learn(self, reference: Reference, frame_shape: tuple[int, ...]) -> None:
        """Take what a trigger has learned; it goes on following the light there."""
        self._reference, self._shape = reference, (frame_shape[0], frame_shape[1])

    def forget(self) -> None:
        """Go back to the stored tray, or to none."""
        self._reference = self.stored.reference() if self.stored else None
        self._shape = (self.stored.height_px, self.stored.width_px) if self.stored else (0, 0)

    def matter(self, pixels: Pixels) -> Matter | None:
        """What lies on the tray in a frame; None where no tray of this size is known."""
        if self._reference is None or pixels.shape[:2] != self._shape:
            return None
        return self._reference.matter(scene_of(pixels))

    def unknown(self, frame_shape: tuple[int, ...]) -> str:
        """Why frames of this shape cannot be compared, in words."""
        misfit = self.stored.misfit(frame_shape) if self.stored else ""
        return misfit or "the empty tray is not known"

    def is_empty(self, frame: Frame) -> bool:
        """Whether there is evidence that nothing lies there; False where no tray is known.

        An empty look is also learned from, so that the tray follows dirt and daylight.
        """
        if self._reference is None or frame.pixels.shape[:2] != self._shape:
            self._tell_misfit(frame.pixels.shape)
            return False
        scene = scene_of(frame.pixels)
        changed = changed_if_empty(self._reference, scene, min_area_frac=self.min_area_frac)
        if changed is None:
            return False
        since_s = frame.captured_s - self._adapted_s
        if since_s >= ADAPT_EVERY_S:
            share = 1 - math.exp(-min(since_s, 2 * ADAPT_EVERY_S) / ADAPT_S)
            self._reference.adapt(scene, changed, share=share)
            self._adapted_s = frame.captured_s
        return True

    def _tell_misfit(self, frame_shape: tuple[int, ...]) -> None:
        if self.stored is not None and not self._told:
            self._told = True
            log.warning("tray: %s; until then nothing is called empty", self.unknown(frame_shape))


def changed_if_empty(reference: Reference, scene: Scene, *, min_area_frac: float) -> Mask | None:
    """The cells that light or dirt changed; None where something lies there."""
    sharp_px = reference.sharp_px(scene, least_frac=min_area_frac)
    if sharp_px is None:
        matter = reference.matter(scene)
        empty = matter.mask.mean() < min_area_frac and matter.hard_frac < MOST_HARD
        return matter.mask if empty else None
    if sharp_px >= MOST_SHARP_PX:
        return None
    changed = reference.changes(scene)
    return changed if reference.beyond_light() < min_area_frac else None


def save_tray(model: TrayModel, path: Path) -> None:
    """Write a tray whole or not at all; raises TrayError."""
    fields: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "levels": model.levels.astype(np.float32),
        "variance": model.variance.astype(np.float32),
        "size_px": np.array([model.width_px, model.height_px], np.int64),
        "frames": np.int64(model.frames),
        "learned_ts": np.float64(model.learned_ts),
    }
    if model.detail is not None:
        fields["detail"] = model.detail
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                np.savez_compressed(file, allow_pickle=False, **fields)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise TrayError(
            f"{path}: the tray cannot be written ({error.strerror}); name another file with --out"
        ) from error


def load_tray(path: Path) -> TrayModel:
    """Read a stored tray; raises TrayError that says what is wrong with it."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TrayError(f"{path}: too large for a tray; make it anew: smartbin tray")
        with np.load(path, allow_pickle=False) as stored:
            return _model_of({name: stored[name] for name in stored.files}, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise TrayError(
            f"{path}: the tray cannot be read ({why}); make it: smartbin tray"
        ) from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrayError(f"{path}: not a stored tray ({error}); make it: smartbin tray") from error


def _model_of(fields: dict[str, npt.NDArray[np.generic]], path: Path) -> TrayModel:
    found = int(fields["format"])
    if found != FORMAT and found not in OLD_FORMATS:
        raise TrayError(f"{path}: format = {found}: this smartbin reads {FORMAT}; make it anew")
    levels = np.asarray(fields["levels"], np.float32)
    variance = np.asarray(fields["variance"], np.float32)
    width_px, height_px = (int(side) for side in np.asarray(fields["size_px"], np.int64))
    model = TrayModel(
        levels=levels,
        variance=variance,
        width_px=width_px,
        height_px=height_px,
        frames=int(fields["frames"]),
        learned_ts=float(fields["learned_ts"]),
        detail=np.asarray(fields["detail"], np.uint8) if "detail" in fields else None,
    )
    if not (1 <= width_px <= 16384 and 1 <= height_px <= 16384):
        raise TrayError(f"{path}: a camera of {width_px}x{height_px} px; make it anew")
    blank = np.zeros((height_px, width_px, 3), np.uint8)
    cells, fine = scene_of(blank).levels.shape, fine_of(blank).shape
    good = levels.shape == cells == variance.shape and levels.size <= 3 * MAX_CELLS
    if not good or not np.isfinite(levels).all() or not (variance >= 0).all():
        raise TrayError(f"{path}: its cells do not fit its camera; make it anew: smartbin tray")
    if model.detail is not None and model.detail.shape != fine:
        raise TrayError(f"{path}: its picture does not fit its camera; make it anew: smartbin tray")
    return model
