"""The simulated belt's camera: frames at a rate, late and jittered, some of them lost.

Runs in the capture process like any camera, opened by `open_camera` here.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from edge.beltsim.scenery import Scenery
from edge.beltsim.world import World
from edge.cameras.base import BackEnd, CameraSpec
from edge.values import Frame

READOUT_S = 0.012  # from the exposure to the frame in memory
AFTER_MM = (
    3000.0  # the camera goes on until the last item has left the belt, and the daemon with it
)


def open_camera(spec: CameraSpec) -> BeltCamera:
    """The camera of the world that the file of `file:PATH` tells."""
    path = Path(spec.source.partition(":")[2])
    return BeltCamera(World.from_json(path.read_text(encoding="utf-8")))


class BeltCamera(BackEnd):
    """Live and stamped: `captured_s` is when the exposure began."""

    live = True
    stamped = True

    def __init__(self, world: World) -> None:
        self._world = world
        self._scenery = Scenery(world)
        self._rng = np.random.default_rng(world.seed + 1)
        self._seq = 0
        last = world.things[-1]
        self._end_s = world.time_of(last.lead_mm + AFTER_MM)

    def read(self) -> Frame | None:
        """The next frame that is not lost, once it is due; None after the last item."""
        while True:
            self._seq += 1
            jitter_s = float(self._rng.uniform(0, self._world.faults.camera_jitter_s))
            lost = self._rng.random() < self._world.faults.dropped_frames
            exposed_s = self._world.start_s + self._seq / self._world.fps + jitter_s
            if exposed_s > self._end_s:
                return None
            wait_s = exposed_s + READOUT_S - time.monotonic()
            # One that is overdue is lost too: a camera takes no pictures of the past.
            if lost or wait_s < -1 / self._world.fps:
                continue
            pixels = self._scenery.picture(exposed_s)
            time.sleep(max(0.0, exposed_s + READOUT_S - time.monotonic()))
            return Frame(pixels, exposed_s, self._seq, source=repr(exposed_s))

    def close(self) -> None:
        """Nothing to give back."""
