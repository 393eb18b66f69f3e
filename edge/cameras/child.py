"""The capture process: opens a camera, posts its frames, and ends when its parent does.

Started by edge.capture with a JSON order on its standard input, whose other end the parent
holds: its end of file is the order to stop, however the parent ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.cameras.base import Camera, CameraSpec
from edge.cameras.mailbox import SharedSlots, Writer
from edge.errors import CameraError, SmartbinError

log = logging.getLogger(__name__)

PROCESS_NAME = "smartbin-camera"  # 15 characters, all that the kernel keeps
CLOSE_GRACE_S = 1.2  # to hand the device back; then the process ends as it is
ORDERS_FD = 0  # standard input
MAX_TALK_BYTES = 4000  # below PIPE_BUF: a line is written whole or not at all


class Talk(logging.Handler):
    """Lines of JSON to the parent: how the camera is, and what was logged here."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def say(self, **news: object) -> None:
        line = json.dumps(news).encode() + b"\n"
        # A parent that does not listen must not stop the camera: the line is lost then.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, line)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[: MAX_TALK_BYTES // 6]  # JSON may write \uXXXX for a character
        self.say(log=text, level=record.levelno, logger=record.name)


def main() -> None:
    """Run the capture process; the order says everything."""
    # The parent alone decides when this ends: a Ctrl-C or systemd's SIGTERM goes to the whole
    # group, and the parent may want another frame to finish its item.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(PROCESS_NAME)
    order = json.loads(_read_line(ORDERS_FD))
    for name in ("memory_fd", "letters_r", "letters_w", "talk_fd"):
        os.set_inheritable(order[name], False)  # a program that a camera library starts
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
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
            talk.say(fault=str(error)[: MAX_TALK_BYTES // 6])
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


def _read_line(fd: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: what follows the order are slot numbers
        byte = os.read(fd, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return bytes(line)


def _end_with_parent(parent_pid: int) -> None:
    """End this process when the parent is gone, even where a camera call never returns."""
    poller = select.poll()
    poller.register(ORDERS_FD, 0)  # 0: only that the other end was closed
    # A fork of the parent may hold the other end open, so its number is looked at as well.
    while not poller.poll(1000) and os.getppid() == parent_pid:
        pass
    time.sleep(CLOSE_GRACE_S)
    os._exit(0)
