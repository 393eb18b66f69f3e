"""What a process started by edge.children does first; the child's side.

It gets a JSON order on its standard input, whose other end the parent holds: its end of file is
the order to stop, however the parent ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

ORDERS_FD = 0  # standard input
MAX_TALK_BYTES = 4000  # below PIPE_BUF: a line is written whole or not at all
MAX_TEXT = MAX_TALK_BYTES // 6  # characters; JSON may write \uXXXX for one


class Talk(logging.Handler):
    """Lines of JSON to the parent: how the work is, and what was logged here."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def say(self, **news: object) -> None:
        line = json.dumps(news).encode() + b"\n"
        # A parent that does not listen must not stop the work: the line is lost then.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, line)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[:MAX_TEXT]
        self.say(log=text, level=record.levelno, logger=record.name)


def begin(process_name: str, *, close_grace_s: float) -> dict[str, Any]:
    """Become a child of the daemon; returns the order.

    `close_grace_s` is the time from the parent's end to ours, to hand devices back. The kernel
    keeps 15 characters of the name.
    """
    # The parent alone decides when this ends: a Ctrl-C or systemd's SIGTERM goes to the whole
    # group, and the parent may want another frame to finish its item.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(process_name)
    order: dict[str, Any] = json.loads(_read_line(ORDERS_FD))
    for name, value in order.items():
        if name.endswith(("_fd", "_r", "_w")):
            os.set_inheritable(value, False)  # a program that a library starts
    parent_pid = os.getppid()
    threading.Thread(target=_end_with_parent, args=(parent_pid, close_grace_s), daemon=True).start()
    return order


def _read_line(fd: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: what follows the order is not for us
        byte = os.read(fd, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return bytes(line)


def _end_with_parent(parent_pid: int, close_grace_s: float) -> None:
    """End this process when the parent is gone, even where a call never returns."""
    poller = select.poll()
    poller.register(ORDERS_FD, 0)  # 0: only that the other end was closed
    # A fork of the parent may hold the other end open, so its number is looked at as well.
    while not poller.poll(1000) and os.getppid() == parent_pid:
        pass
    time.sleep(close_grace_s)
    os._exit(0)
