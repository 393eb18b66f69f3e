"""The capture process: opens a camera, posts its frames, and ends when its parent does.

Started by edge.capture with a JSON order on its standard input, whose other end the parent
holds: its end of file is the order to stop, however the parent ended.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

from edge.cameras.base import Camera, CameraSpec
from edge.cameras.mailbox import SharedSlots, Writer
from edge.childhood import MAX_TEXT, ORDERS_FD, Talk, begin
from edge.errors import CameraError, SmartbinError

log = logging.getLogger(__name__)

PROCESS_NAME = "smartbin-camera"  # 15 characters, all that the kernel keeps
CLOSE_GRACE_S = 1.2  # to hand the device back; then the process ends as it is


def main() -> None:
    """Run the capture process; the order says everything."""
    order = begin(PROCESS_NAME, close_grace_s=CLOSE_GRACE_S)
    talk = Talk(order["talk_fd"])
    logging.getLogger().addHandler(talk)
    slots = SharedSlots(order["memory_fd"], order["slot_bytes"])
    writer = Writer(
        slots=slots,
        slot_bytes=order["slot_bytes"],
        letters_r=order["letters_r"],
        letters_w=order["letters_w"],
        returns_r=ORDERS_FD,
    )
    spec = CameraSpec(**order["spec"])
    # A fault is said before the camera is closed: a network camera that is silent takes its
    # read time-out again and again to say goodbye to (15 s measured, for a time-out of 5).
    with contextlib.ExitStack() as closing:
        try:
            camera = closing.enter_context(_opener(order["opener"])(spec))
            _play(camera, writer, talk, first_seq=order["first_seq"])
        except EOFError:
            return
        except SmartbinError as error:
            talk.say(fault=str(error)[:MAX_TEXT])
            sys.exit(1)
        except Exception as error:
            traceback.print_exc()
            talk.say(fault=f"the camera's code failed: {type(error).__name__}: {error}"[:600])
            sys.exit(1)


def _play(camera: Camera, writer: Writer, talk: Talk, *, first_seq: int) -> None:
    talk.say(live=camera.live)
    skipped = 0
    while (frame := camera.read()) is not None:
        if camera.skipped != skipped:
            skipped = camera.skipped
            talk.say(skipped=skipped)
        if not writer.fits(frame):
            height, width = frame.pixels.shape[:2]
            name = frame.source or "a frame"
            too_large = f"{name}: {width}x{height} is more than the capture memory holds"
            if camera.live:
                raise CameraError(f"{too_large}; ask the camera for less")
            log.warning("%s; skipped, scale it down", too_large)
            camera.skipped += 1
            continue
        writer.post(frame, seq=first_seq + frame.seq - 1, stamped=camera.stamped)
        if not camera.live:
            writer.wait_until_taken()
    writer.wait_until_taken()
    talk.say(skipped=camera.skipped)
    talk.say(ended=True)


def _opener(name: str) -> Callable[[CameraSpec], Camera]:
    module, _, function = name.partition(":")
    opener: Any = getattr(importlib.import_module(module), function)
    return opener  # type: ignore[no-any-return]
