"""`smartbin run` with the camera of the tests and with waits made shorter, both named in $FAULTS.

FAULTS is JSON: {"opener": "MODULE:FUNCTION", "constants": {"MODULE.NAME": 1}, "item_s": 2};
`item_s` makes every judgement take so long.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import time
from typing import Any

import edge.cli
import edge.daemon
from edge.judge import Judge, Verdict
from edge.values import Item


def main() -> None:
    wanted: dict[str, Any] = json.loads(os.environ.get("FAULTS", "{}"))
    for name, value in wanted.get("constants", {}).items():
        module, _, constant = name.rpartition(".")
        part = importlib.import_module(module)
        assert hasattr(part, constant), name
        setattr(part, constant, value)
    if "opener" in wanted:
        capture = functools.partial(edge.daemon.Capture, opener=wanted["opener"])
        edge.daemon.Capture = capture  # type: ignore[assignment, misc]
    if "item_s" in wanted:
        make_slow(wanted["item_s"])
    edge.cli.main()


def make_slow(item_s: float) -> None:
    """Let a judgement begin with a line in the log and take its time."""
    judge = Judge.judge

    def judge_slowly(self: Judge, item: Item) -> Verdict:
        edge.daemon.log.info("judging begins")
        time.sleep(item_s)
        return judge(self, item)

    Judge.judge = judge_slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
