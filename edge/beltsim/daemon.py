"""The real daemon and the real actuator for the simulated belt, each in a process of its own.

Only camera, sensors and diverters are not real: `python -m edge.beltsim.daemon FOLDER` runs the
daemon with them in place, on the configuration and the world that lie in the folder.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge.beltsim.fate import SAFE
from edge.beltsim.layout import Setup
from edge.beltsim.sensors import SimSensors
from edge.beltsim.world import World
from edge.config import EXAMPLE_ROUTES, load_config
from edge.daemon import Daemon, Rig
from edge.errors import SmartbinError

ROUTES = EXAMPLE_ROUTES
SITE, BIN = "belt-sim", "line-1"
CONNECT_S = 10.0
END_S = 10.0
OPENER = "edge.beltsim.camera:open_camera"
CONFIG, WORLD, MOVES = "line.toml", "world.json", "moves.txt"
TRAVEL_S = 0.005  # of a paddle, in the device; `delay_s` of the layout is what the belt sees

TEXT = """
[site]
site = "{site}"
bin = "{bin}"
[camera]
source = "file:{folder}/world.json"
fps = {fps}
timeout_s = 25
[trigger]
kind = "gate"
[decision]
votes = 1
[routes]
safe = "{safe}"
[routes.by_class]
{routes}
[mqtt]
port = {port}
[outbox]
path = "{folder}/outbox.db"
[log]
level = "warning"
[belt]
clock = "{clock}"
speed_mm_s = {speed_mm_s}
mm_per_pulse = {mm_per_pulse}
gate_pin = 17
encoder_a = 5
camera_mm = {lead_mm}
window_mm = {window_mm}
min_gap_mm = {min_gap_mm}
max_item_mm = {max_item_mm}
delay_ms = {delay_ms}
tolerance_mm = {tolerance_mm}
[belt.diverters_mm]
{diverters}
[actuator]
mode = "broker"
ledger = "{folder}/moves.journal"
silence_s = 0
{devices}
"""
DEVICE = """
[actuator.devices.{route}]
kind = "simulated"
routes = {{ {route} = 1 }}
record = "{folder}/moves.txt"
travel_s = {travel_s}
dwell_s = 0.02
cool_down_s = 0.0
per_min = 6000
tolerance_ms = {tolerance_ms}
"""


def line_text(setup: Setup, *, port: int, folder: Path) -> str:
    """The line as a config.toml, for daemon and actuator alike."""
    layout = setup.layout
    tolerance_ms = layout.tolerance_mm / setup.speed_mm_s * 1000
    devices = [
        DEVICE.format(route=route, folder=folder, travel_s=TRAVEL_S, tolerance_ms=tolerance_ms)
        for route in layout.diverters_mm
    ]
    return TEXT.format(
        site=SITE,
        bin=BIN,
        folder=folder,
        fps=setup.fps,
        safe=SAFE,
        routes="\n".join(f'{label} = "{route}"' for label, route in ROUTES.items()),
        port=port,
        clock="encoder" if setup.encoder else "fixed",
        speed_mm_s=setup.speed_mm_s,
        mm_per_pulse=layout.mm_per_pulse,
        lead_mm=layout.lead_mm,
        window_mm=layout.window_mm,
        min_gap_mm=layout.min_gap_mm,
        max_item_mm=layout.max_item_mm,
        delay_ms=layout.delay_s * 1000,
        tolerance_mm=layout.tolerance_mm,
        diverters="\n".join(f"{route} = {mm}" for route, mm in layout.diverters_mm.items()),
        devices="".join(devices),
    )


class Child:
    """A process of the line; what it writes goes to our standard error."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._name = name
        self._process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=2)

    def check(self) -> None:
        """Raise SmartbinError where it has failed."""
        if self._process.poll() not in (None, 0):
            raise SmartbinError(f"belt-sim: the {self._name} has ended, see above; try again")

    def end(self) -> None:
        """Ask for the end and wait for it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def starting_time_s() -> float:
    """How long this host takes to start a process of the line, just now."""
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "import edge.daemon"], check=True)
    return time.monotonic() - began_s


def start_daemon(folder: Path) -> Child:
    """The daemon, on what lies in the folder."""
    return Child("daemon", "edge.beltsim.daemon", str(folder))


def start_actuator(folder: Path) -> Child:
    """`smartbin actuator`, on the same configuration."""
    return Child("actuator", "edge.cli", "actuator", "--config", str(folder / CONFIG))


def main() -> None:
    """Run the daemon until the camera has ended or it is told to."""
    folder = Path(sys.argv[1])
    logging.basicConfig(stream=sys.stderr, level="WARNING", format="%(levelname)s %(message)s")
    config = load_config(folder / CONFIG)
    world = World.from_json((folder / WORLD).read_text(encoding="utf-8"))
    counted = config.belt.mm_per_pulse if config.belt.clock == "encoder" else 0.0
    rig = Rig(opener=OPENER, sensors=lambda: SimSensors(world, mm_per_pulse=counted))
    daemon = Daemon(config, rig=rig)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.run(broker_wait_s=CONNECT_S)


def moves_since(path: Path, offset: int) -> tuple[list[tuple[float, str, str]], int]:
    """Movements that the devices recorded since: (seconds since the epoch, id, route)."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    rows = [line.split() for line in whole.decode().splitlines()]
    return [(float(at), id, route) for at, id, route in rows], offset + len(whole)


if __name__ == "__main__":
    try:
        main()
    except SmartbinError as error:
        print(json.dumps(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
