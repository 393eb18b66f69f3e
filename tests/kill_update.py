"""An update in a process of its own that kills itself at the step it is told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from edge.bundle import load_bundle
from edge.update.repository import Repository
from edge.update.rollout import Wish
from edge.update.store import ModelStore
from edge.update.updater import Updater
from tests import updates


def main(folder: Path, url: str, kill_at: int) -> None:
    count = -1

    def step(text: str) -> None:
        nonlocal count
        count += 1
        print(text, flush=True)
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    old = folder / "made" / "3" / "tiny.onnx"
    root = (folder / "web" / "root.json").read_bytes()
    updater = Updater(
        store=ModelStore(folder / "bin"),
        source=lambda tell: Repository(url=url, root=root, folder=folder / "bin/tuf", step=tell),
        fallback=lambda: load_bundle(old),
        running=updates.running(old),
        judge=updates.judging,
        plan=updates.plan_of(folder / "canaries"),
        step=step,
    )
    updater._follow(Wish(4))
    assert updater._trial is not None
    updater._try_out(updater._trial)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
