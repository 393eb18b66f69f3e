"""A network camera that tests can stall, kill and cut off; run by Debian's own python3."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.values import Frame
from tests.cameras import virtual

PORT = 8554  # on a loopback of our own
FPS = 25  # of rtsp_server.py


class RtspServer:
    """Starts ready, ends with its `with` block."""

    def __init__(self, login: str = "") -> None:
        self._login = [login] if login else []
        virtual.rgb_files()
        self.start()

    def start(self) -> None:
        script = Path(__file__).parent / "rtsp_server.py"
        argv = ["/usr/bin/python3", str(script), str(PORT), str(virtual.RGB), *self._login]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def age_s(frame: Frame) -> float:
    """How old the picture was when the frame came out of its process, to 1 / FPS."""
    made = virtual.number_of(frame.pixels)
    return (time.monotonic() * FPS - made) % virtual.COUNT / FPS


def link(state: str) -> None:
    """Take the loopback of this network namespace up or down."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)
