"""A camera that does not wait: decoded sample stills at the rate asked, taken or not.

python -m tools.bench.live CONFIG runs the daemon with it. A folder waits until its picture was
taken, so it can never show what a daemon sheds that is asked for too much.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from edge.cameras.base import BackEnd, CameraSpec
from edge.pictures import list_pictures, read_picture
from edge.shipped import samples
from edge.values import Frame

FPS = "SMARTBIN_BENCH_FPS"  # in the environment: more than a configuration allows a camera


class LiveStills(BackEnd):
    """Frames by the clock; one that comes too late for its time comes at once."""

    live = True

    def __init__(self, spec: CameraSpec) -> None:
        self._frames = [read_picture(path) for path in list_pictures(samples() / "stills")]
        self._period_s, self._seq = 1 / float(os.environ.get(FPS, spec.fps)), count(1)
        self._due_s = time.monotonic()

    def read(self) -> Frame:
        now_s = time.monotonic()
        if self._due_s > now_s:
            time.sleep(self._due_s - now_s)
        self._due_s = max(self._due_s, now_s - self._period_s) + self._period_s
        seq = next(self._seq)
        return Frame(self._frames[seq % len(self._frames)], time.monotonic(), seq)

    def close(self) -> None:
        """Nothing is held."""


def open_live(spec: CameraSpec) -> LiveStills:
    """Called in the capture process."""
    return LiveStills(spec)


def _no_sensors() -> Any:
    raise AssertionError("this daemon has no belt")


def main(config: Path) -> None:
    """The daemon, as `smartbin run` has it, with this camera."""
    from edge.config import load_config  # not for the capture process
    from edge.daemon import Daemon, Rig

    daemon = Daemon(load_config(config), rig=Rig("tools.bench.live:open_live", _no_sensors))
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    daemon.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
