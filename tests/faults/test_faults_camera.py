"""Cameras that are away, hang, break off or show nothing: a scripted one, in the real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.frames import FrameWatch
from edge.values import Frame, Pixels
from tests.conftest import Mosquitto, wait_for
from tests.faults.bin import Bin
from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.monitor import ROOT_TOPIC

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
    bin_.configure("camera", source=f"file:{script}", timeout_s=1.0)
    return bin_, script


def play(script: Path, mode: str) -> None:
    """At once: the camera never reads half a word."""
    script.with_suffix(".new").write_text(mode)
    script.with_suffix(".new").replace(script)


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
        ("unplugged", "camera unplugged mid-frame"),
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
    play(script, mode)
    bin_.wait_log("state: degraded")
    play(script, "good")
    wait_for(lambda: bin_.log.count("state: ready") == 2, what="ready again")
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


def watch_frames(*pixels: Pixels, fps: float = 10.0) -> list[str]:
    """The trouble after each frame."""
    watch, told = FrameWatch(frozen_s=1.0, black_s=1.0), []
    for number, picture in enumerate(pixels):
        watch.see(Frame(picture, number / fps, number + 1))
        told.append(watch.trouble)
    return told


def noise(count: int, level: int = 100, spread: int = 20) -> list[Pixels]:
    draw = np.random.default_rng(1)
    return [draw.integers(level, level + spread, (48, 64, 3), np.uint8) for _ in range(count)]


def full(value: int) -> Pixels:
    return np.full((48, 64, 3), value, np.uint8)


def test_a_noisy_camera_is_never_called_frozen_or_black() -> None:
    """However still and dim the scene."""
    assert set(watch_frames(*noise(50), *noise(50, level=12, spread=4))) == {""}


def test_frozen_is_said_after_its_time_and_taken_back_at_once() -> None:
    """Ten identical frames at 10 fps are a second; one that differs ends it."""
    told = watch_frames(*[full(80)] * 12, *noise(1))
    assert told[:10] == [""] * 10
    assert told[10].startswith("the same picture for 1 s") and told[12] == ""


@pytest.mark.parametrize("pictures", [[full(0)] * 12, noise(12, level=0, spread=4)])
def test_black_is_said_and_is_not_called_frozen(pictures: list[Any]) -> None:
    """With and without noise: a sensor in the dark may well deliver zeros."""
    told = watch_frames(*pictures, full(80))
    assert told[9] == "" and told[10].startswith("black for 1 s")
    assert told[11].startswith("black") and told[12] == ""
