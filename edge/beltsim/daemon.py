"""The real daemon on the simulated belt: only camera and sensors are not real."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

from edge.belt.options import BeltOptions
from edge.beltsim.fate import SAFE
from edge.beltsim.layout import Setup
from edge.beltsim.sensors import SimSensors
from edge.beltsim.world import World
from edge.config import EXAMPLE_ROUTES as ROUTES
from edge.config import Config
from edge.daemon import Daemon, Rig
from edge.errors import SmartbinError

__all__ = ["BIN", "ROUTES", "SITE", "DaemonThread", "line_config"]

SITE, BIN = "belt-sim", "line-1"
CONNECT_S = 10.0
END_S = 10.0
OPENER = "edge.beltsim.camera:open_camera"


def line_config(setup: Setup, *, port: int, folder: Path, world_file: Path) -> Config:
    """Everything by default, but the belt, the camera, the broker and the state's folder."""
    plain, layout = Config(), setup.layout
    belt = dataclasses.replace(
        BeltOptions(),
        clock="encoder" if setup.encoder else "fixed",
        speed_mm_s=setup.speed_mm_s,
        mm_per_pulse=layout.mm_per_pulse,
        camera_mm=layout.lead_mm,
        window_mm=layout.window_mm,
        min_gap_mm=layout.min_gap_mm,
        max_item_mm=layout.max_item_mm,
        tolerance_mm=layout.tolerance_mm,
        delay_ms=layout.delay_s * 1000,
        diverters_mm=dict(layout.diverters_mm),
    )
    return dataclasses.replace(
        plain,
        site=dataclasses.replace(plain.site, site=SITE, bin=BIN),
        camera=dataclasses.replace(plain.camera, source=f"file:{world_file}", fps=setup.fps),
        trigger=dataclasses.replace(plain.trigger, kind="gate"),
        decision=dataclasses.replace(plain.decision, votes=1),
        routes=dataclasses.replace(plain.routes, safe=SAFE, by_class=ROUTES),
        belt=belt,
        mqtt=dataclasses.replace(plain.mqtt, port=port),
        outbox=dataclasses.replace(plain.outbox, path=str(folder / "outbox.db")),
        file="(belt-sim)",
    )


class DaemonThread(threading.Thread):
    """Runs the daemon beside the rest of the line, and keeps its fault."""

    def __init__(
        self, setup: Setup, world: World, *, port: int, folder: Path, world_file: Path
    ) -> None:
        super().__init__(name="daemon", daemon=True)
        self._config = line_config(setup, port=port, folder=folder, world_file=world_file)
        mm_per_pulse = setup.layout.mm_per_pulse if setup.encoder else 0.0
        self._rig = Rig(opener=OPENER, sensors=lambda: SimSensors(world, mm_per_pulse=mm_per_pulse))
        self._ending = threading.Event()
        self._fault: SmartbinError | None = None

    def run(self) -> None:
        try:
            # Built here, because the outbox belongs to the thread that opened it.
            Daemon(self._config, stop=self._ending, rig=self._rig).run(broker_wait_s=CONNECT_S)
        except SmartbinError as error:
            self._fault = error

    def end(self) -> None:
        """Ask for the end and wait for it."""
        self._ending.set()
        self.join(END_S)

    def raise_fault(self) -> None:
        """Raise what ended the daemon, if anything did."""
        if self._fault:
            raise self._fault
