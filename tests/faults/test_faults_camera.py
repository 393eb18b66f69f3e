"""Cameras that are away, hang, break off or show nothing: a scripted one, in the real process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.bin import Bin
from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.monitor import ROOT_TOPIC
from tests.harness import Mosquitto, wait_for

pytestmark = pytest.mark.mosquitto
CAMERA = {
    "opener": "tests.faults.camera:open_scripted",
    "constants": {"edge.watch.FROZEN_S": 1.0, "edge.watch.BLACK_S": 1.0},
}


def scripted(make_bin: MakeBin, broker: Mosquitto, mode: str) -> tuple[Bin, Path]:
    """A bin whose camera plays `mode`, and the file to change it."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    script = bin_.folder / "script"
    script.write_text(mode)
    bin_.configure("camera", source=f"file:{script}", timeout_s=5.0, give_up_s=120)
    return bin_, script


def play(script: Path, mode: str) -> None:
    """At once: the camera never reads half a word."""
    script.with_suffix(".new").write_text(mode)
    script.with_suffix(".new").replace(script)


@pytest.mark.slow
def test_camera_absent_at_start(broker: Mosquitto, make_bin: MakeBin) -> None:
    """Tried again until it is there."""
    bin_, script = scripted(make_bin, broker, "absent")
    bin_.start(faults=CAMERA)
    bin_.wait_log("state: degraded")
    play(script, "good")
    bin_.wait_log("state: ready")
    bin_.wait_items(10)
    sees = line_of(bin_.log, "state: degraded")
    enter("camera absent", sees, bin_.close_books())


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("hung", "camera hung"),
        pytest.param("unplugged", "camera unplugged mid-frame", marks=pytest.mark.slow),
        ("black", "camera black"),
        ("frozen", "camera frozen on one frame"),
    ],
)
def test_camera_goes_wrong_and_comes_back(
    broker: Mosquitto, make_bin: MakeBin, mode: str, fault: str
) -> None:
    """Degraded with its reason while it lasts, ready again without anyone's help."""
    bin_, script = scripted(make_bin, broker, "good")
    bin_.start(faults=CAMERA)
    bin_.wait_items(10)
    degraded, ready = bin_.log.count("state: degraded"), bin_.log.count("state: ready")
    play(script, mode)
    wait_for(lambda: bin_.log.count("state: degraded") > degraded, what="degraded")
    play(script, "good")
    wait_for(lambda: bin_.log.count("state: ready") > ready, what="ready again")
    bin_.wait_items(10)
    sees = line_of(bin_.log, "state: degraded")
    enter(fault, sees, bin_.close_books())
    assert bin_.was_degraded("camera: ")


def test_camera_slower_than_the_trigger(broker: Mosquitto, make_bin: MakeBin) -> None:
    """What cannot be looked at in time is refused and said; memory does not grow."""
    bin_, _script = scripted(make_bin, broker, "slow")
    bin_.configure("camera", timeout_s=5.0)
    bin_.configure("trigger", kind="command")
    bin_.start(faults=CAMERA)
    bin_.wait_log("state: ready")
    assert bin_.monitor
    for _ in range(40):
        bin_.monitor.send(f"{ROOT_TOPIC}/cmd/trigger")
    bin_.wait_items(3)
    sees = line_of(bin_.log, "is the camera delivering")
    enter("camera slower than the trigger", sees, bin_.close_books())
