"""`smartbin run` with a camera of the tests, shorter waits or another clock, named in $FAULTS.

FAULTS is JSON; each key may be left out:
    opener      MODULE:FUNCTION that opens the camera, in the capture process
    constants   {"MODULE.NAME": value}
    item_s      every judgement takes so long
    clock_file  seconds in a file, by which the wall clock is ahead
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any


def main() -> None:
    wanted: dict[str, Any] = json.loads(os.environ.get("FAULTS", "{}"))
    if "clock_file" in wanted:  # before anything keeps time.time
        move_clock(Path(wanted["clock_file"]))
    for name, value in wanted.get("constants", {}).items():
        module, _, constant = name.rpartition(".")
        part = importlib.import_module(module)
        assert hasattr(part, constant), name
        setattr(part, constant, value)
    daemon = importlib.import_module("edge.daemon")
    if "opener" in wanted:
        daemon.Capture = functools.partial(daemon.Capture, opener=wanted["opener"])
    if "item_s" in wanted:
        make_slow(wanted["item_s"])
    importlib.import_module("edge.cli").main()


def move_clock(file: Path) -> None:
    """libfaketime would, but its 0.9.10 breaks time.sleep, which sleeps by CLOCK_MONOTONIC."""
    real = time.time
    time.time = lambda: real() + float(file.read_text() or 0)


def make_slow(item_s: float) -> None:
    """Let a judgement begin with a line in the log and take its time."""
    part = importlib.import_module("edge.judge").Judge
    judge = part.judge

    def judge_slowly(self: Any, item: Any, **rest: Any) -> Any:
        logging.getLogger("edge.judge").info("judging begins")
        time.sleep(item_s)
        return judge(self, item, **rest)

    part.judge = judge_slowly


if __name__ == "__main__":
    main()
