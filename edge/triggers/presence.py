"""The presence trigger: something new lies in the tray and has come to rest.

    learning -> empty -> (moving, resting) -> item -> occupied -> (moving, resting) -> ...

An item is decided once. While it lies there, the scene in which it was decided is the reference:
matter that is new against that scene and against the empty tray is another item; matter that
went is not.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.detail import Detail
from edge.scene import (
    Extent,
    Mask,
    Planes,
    Reference,
    RestWatch,
    Scene,
    extent_of,
    scene_of,
)
from edge.tray import MOST_CHANGED, TrayMemory
from edge.triggers.base import Commanded, Look, given_up
from edge.values import Frame, Item

log = logging.getLogger(__name__)

State = Literal["learning", "empty", "moving", "resting", "occupied"]
ADAPT_EVERY_S = 0.5  # light and dirt change slower; each time costs a fifth of a frame's work
RELIT_SHARE = 0.4  # of the way each time: the new light is the usual one after some 3 s
LEAST_SIGMA = 0.002  # of a cell; a few frames may agree by chance


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """What a site may tune; the defaults suit a tray seen from above."""

    min_area_frac: float  # smaller changes are dirt
    settle_s: float  # at rest for so long before it counts
    border_settle_s: float  # the same for a change that reaches the picture's edge: maybe an arm
    learn_s: float = 0.25  # the tray is empty at the start for so long
    learn_frames: int = 4
    adapt_s: float = 30.0  # the empty tray's picture follows slow changes within this time
    absorb_s: float = 600.0  # what lies there longer belongs to the tray; 0: never


class PresenceTrigger(Commanded):
    """Makes one item of each thing that comes to rest in the tray."""

    def __init__(
        self, settings: PresenceSettings, *, votes: int, tray: TrayMemory | None = None
    ) -> None:
        """`tray` is told what is learned here; what is stored there is believed first."""
        self._settings = settings
        self._tray = tray or TrayMemory()
        self._votes = votes
        super().__init__(votes=votes)
        self.reset()

    def give_up(self, why: str) -> list[Item]:
        """Return the open items, each barred by `why`, and begin anew."""
        begun: list[Item] = []
        if self._resting:
            begun = [given_up(self._resting, self._resting[0].captured_s, "presence", why)]
        return begun + super().give_up(why)

    def reset(self) -> None:
        """Forget the tray; what is seen next is taken for the empty one."""
        self.state: State = "learning"
        super().reset()
        self._rest = RestWatch()
        self._learned: list[Scene] = []
        self._tray.forget()
        self._empty: Reference | None = None  # the tray without anything
        self._decided: Reference | None = None  # the scene of the last item; None: tray empty
        self._decided_s = 0.0
        self._look = Look()
        self._resting: list[Frame] = []  # frames of the next item
        self._resting_levels: list[Planes] = []  # the same, small
        self._shape: tuple[int, ...] = ()
        self._adapted_s = 0.0

    @property
    def open_items(self) -> int:
        """Items whose frames are still being gathered."""
        return super().open_items + bool(self._resting)

    def see(self, frame: Frame) -> Item | None:
        """Return the item that this frame completes, commanded or come to rest."""
        if frame.pixels.shape != self._shape:
            self._on_new_shape(frame)
        scene = scene_of(frame.pixels)
        now_s = frame.captured_s
        rest_s = self._rest.rest_s(scene, now_s)
        if self._empty is None:
            self._learn(scene, rest_s)
            item = None
        elif self._decided is None:
            item = self._see_empty(self._empty, frame, scene, rest_s)
        else:
            item = self._see_occupied(self._empty, self._decided, frame, scene, rest_s)
        # Complete at the same frame, both show the same: the command is answered, once.
        return self._commands.add(frame, self._look) or item

    def _on_new_shape(self, frame: Frame) -> None:
        if self._shape:
            log.warning(
                "presence: frames are now %s, were %s; learning the empty tray again",
                frame.pixels.shape[1::-1],
                self._shape[1::-1],
            )
            self.reset()
        self._shape = frame.pixels.shape

    def _learn(self, scene: Scene, rest_s: float) -> None:
        if rest_s == 0:  # something moved: begin again
            self._learned.clear()
        self._learned.append(scene)
        enough = len(self._learned) >= self._settings.learn_frames
        if enough and rest_s >= self._settings.learn_s:
            self._take_empty(self._stored(scene) or _learned(self._learned))
            self._learned.clear()
            self._now_empty()

    def _stored(self, scene: Scene) -> Reference | None:
        """The stored tray, where this looks like it."""
        stored = self._tray.stored
        if stored is None:
            return None
        misfit = stored.misfit(self._shape)
        if misfit:
            log.warning("presence: %s; until then what lies here now counts as the tray", misfit)
            return None
        reference = stored.reference()
        if reference.changes(scene).mean() <= MOST_CHANGED:
            return reference
        log.warning(
            "presence: the picture is not that of the stored tray; was the camera moved? "
            "Learning the tray anew; run smartbin tray again"
        )
        return None

    def _take_empty(self, empty: Reference) -> None:
        self._empty = empty
        self._tray.learn(empty, self._shape)

    def _see_empty(
        self, empty: Reference, frame: Frame, scene: Scene, rest_s: float
    ) -> Item | None:
        changed = empty.changes(scene)
        extent = extent_of(changed, self._shape)
        if not self._is_item(extent):
            self._now_empty()
            self._adapt(empty, scene, changed, frame.captured_s, rest_s)
            return None
        at_border = empty.reaches_border(changed)
        return self._await_rest(extent, frame, scene, rest_s, at_border=at_border)

    def _see_occupied(
        self, empty: Reference, decided: Reference, frame: Frame, scene: Scene, rest_s: float
    ) -> Item | None:
        since_decided = decided.changes(scene)
        if not self._is_item(extent_of(since_decided, self._shape)):
            self._now_occupied()
            self._adapt(decided, scene, since_decided, frame.captured_s, rest_s)
            self._absorb(scene, frame.captured_s)
            return None
        matter = empty.changes(scene)
        if not self._is_item(extent_of(matter, self._shape)):
            self._decided = None  # taken away; at once, the next may fall to the same place
            self._now_empty()
            return None
        new = since_decided & matter
        extent = extent_of(new, self._shape)
        if self._is_item(extent):
            at_border = empty.reaches_border(new)
            return self._await_rest(extent, frame, scene, rest_s, at_border=at_border)
        if rest_s >= self._settings.settle_s:  # one of several was taken away
            self._decide(scene.levels, frame.captured_s)
        else:
            self._still_moving()
        return None

    def _await_rest(
        self, extent: Extent | None, frame: Frame, scene: Scene, rest_s: float, *, at_border: bool
    ) -> Item | None:
        """Gather frames once the new matter rests; return the item when there are enough."""
        if extent is None:
            return None
        needed_s = self._settings.border_settle_s if at_border else self._settings.settle_s
        self._look = Look(present=True, box_xyxy=extent.box_xyxy)
        if rest_s < needed_s:
            self._still_moving()
            return None
        self.state = "resting"
        self._resting.append(frame)
        self._resting_levels.append(scene.levels)
        if len(self._resting) < self._votes:
            return None
        frames = tuple(self._resting)
        self._decide(np.mean(self._resting_levels, axis=0), frame.captured_s)
        return Item(frames, frames[0].captured_s, "presence", box_xyxy=extent.box_xyxy)

    def _decide(self, levels: Planes, now_s: float) -> None:
        """Make this the scene that was decided."""
        if self._empty is not None:
            self._decided = Reference(levels, self._empty.variance)
        self._decided_s = now_s
        self._now_occupied()

    def _absorb(self, scene: Scene, now_s: float) -> None:
        absorb_s = self._settings.absorb_s
        if absorb_s and self._empty is not None and now_s - self._decided_s >= absorb_s:
            log.warning(
                "presence: a thing has lain there for %.0f s; it counts as part of the tray now",
                absorb_s,
            )
            self._take_empty(Reference(scene.levels, self._empty.variance, Detail(scene.fine)))
            self._decided = None
            self._now_empty()

    def _now_empty(self) -> None:
        self.state = "empty"
        self._clear_resting()
        self._look = Look(present=False)

    def _now_occupied(self) -> None:
        self.state = "occupied"
        self._clear_resting()

    def _still_moving(self) -> None:
        self.state = "moving"
        self._clear_resting()

    def _clear_resting(self) -> None:
        self._resting.clear()
        self._resting_levels.clear()

    def _is_item(self, extent: Extent | None) -> bool:
        return extent is not None and extent.area_frac >= self._settings.min_area_frac

    def _adapt(
        self, reference: Reference, scene: Scene, changed: Mask, now_s: float, rest_s: float
    ) -> None:
        """Let a reference follow slow changes, and a new light quickly once all is at rest."""
        since_s = now_s - self._adapted_s
        if since_s < ADAPT_EVERY_S:
            return
        share = 1 - math.exp(-min(since_s, 2 * ADAPT_EVERY_S) / self._settings.adapt_s)
        if reference.relit and rest_s >= self._settings.settle_s:
            share = RELIT_SHARE
        reference.adapt(scene, changed, share=share)
        self._adapted_s = now_s


def _learned(scenes: list[Scene]) -> Reference:
    levels = np.mean([scene.levels for scene in scenes], axis=0)
    # Of a few frames only the mean over all cells is known; each cell's own comes later.
    cells = np.var([scene.planes for scene in scenes], axis=0)
    variance = np.maximum(cells.mean(axis=(1, 2), keepdims=True), LEAST_SIGMA**2)
    detail = Detail(np.mean([scene.fine for scene in scenes], axis=0))
    spread = np.broadcast_to(variance, levels.shape).astype(np.float32)
    return Reference(levels, spread, detail)
