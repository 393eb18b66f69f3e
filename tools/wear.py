"""How much a day's events wear the card: python -m tools.wear [--items 2000]

Stores, acknowledges and deletes a day's events one by one, as far apart as they come in a day:
behind each, the kernel is made to write out what is dirty, so that no two share a written page.
That is the worst case. Told are the bytes that this process caused to be written (proc(5), io).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from pathlib import Path

import numpy as np

from edge.decide import Routes, Rules, decide
from edge.health import written_bytes
from edge.outbox import Outbox
from edge.values import Message, Prediction
from edge.wire import Origin, Stamp, Topics, decision_payload, event_message

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")


class Clock:
    """A day passes as fast as we like."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def typical_event(seq: int) -> Message:
    """An event as the daemon writes it."""
    rules = Rules(LABELS, (0.5,) * 6, 0.1, 0.6)
    probs = np.array([0.01, 0.02, 0.9, 0.03, 0.02, 0.02], np.float32)
    decision = decide([Prediction(probs)] * 3, rules=rules, routes=Routes("residual", {}))
    origin = Origin(Topics("street", f"bin-{7:04}"), "0123456789ab", "student.int8@12", "0.1.0")
    stamp = Stamp(seq, "presence", 1.8e9, 1.8e9, 1.8e9, 4.2, 1996, "none", True)
    return event_message(origin.topics, decision_payload(origin, decision, stamp))


def _end_of_folding() -> None:
    """The next item is most of a minute away: the log is folded long before."""
    for thread in threading.enumerate():
        if thread.name == "outbox-fold":
            thread.join()


def wear(items: int, folder: Path) -> float:
    """Bytes written for so many events."""
    clock = Clock()
    outbox = Outbox(folder / "o.db", max_bytes=10**8, max_days=90, clock=clock, wall=clock)
    os.sync()
    before = written_bytes()
    for seq in range(1, items + 1):
        outbox.add(typical_event(seq))
        for stored in outbox.waiting(limit=20, but=[]):  # sent, and acknowledged
            outbox.forget(stored.key)
        clock.now_s += 86400 / items
        outbox.maintain()
        _end_of_folding()
        os.sync()
    outbox.close()
    os.sync()
    after = written_bytes()
    if before is None or after is None:
        raise SystemExit("/proc/self/io tells no written bytes here")
    return after - before


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; not a tmpfs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        written = wear(arguments.items, Path(folder))
    size = len(typical_event(1).payload)
    print(f"{arguments.items} events of {size} bytes: {written / 1e6:.1f} MB written")


if __name__ == "__main__":
    main()
