"""One contender in a process of its own: how long until its first answer, and its memory.

python -m tools.bench.child '{"name": ..., "runtime": ..., "path": ...}' prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tools.bench.runners import Contender, opened

RUNS = 10  # before the memory is read: the first alone does not touch all of it


@dataclass(frozen=True, slots=True)
class Alone:
    """What a contender costs by itself; medians over processes."""

    cold_ms: float  # from the start of the process to the first answer
    rss_mb: float  # at its peak


def main(text: str) -> None:
    """Open, answer once, say so; then run on and tell the memory."""
    content = json.loads(text)
    content["path"] = Path(content["path"])
    contender = Contender(**content)
    runner = opened(contender)
    fed = runner.feed(np.full((contender.size_px, contender.size_px, 3), 99, np.uint8))
    runner.run(fed)
    answered_s = time.time()
    for _ in range(RUNS):
        runner.run(fed)
    print(json.dumps({"answered_s": answered_s, "rss_mb": peak_rss_mb()}), flush=True)
    os._exit(0)  # some runtimes take their time to end, which is not asked for


def peak_rss_mb() -> float:
    """Of this process; getrusage would tell the parent's, where that had more before the exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1.024 / 1000


def alone(contender: Contender, processes: int = 3) -> Alone:
    """Start so many processes; raises RuntimeError with what the process said."""
    text = json.dumps({**asdict(contender), "path": str(contender.path)})
    cold_ms, rss_mb = [], []
    for _ in range(processes):
        began_s = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "tools.bench.child", text],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{contender.key}: {done.stderr.strip().splitlines()[-1]}")
        said = json.loads(done.stdout.splitlines()[-1])
        cold_ms.append((said["answered_s"] - began_s) * 1000)
        rss_mb.append(said["rss_mb"])
    return Alone(float(np.median(cold_ms)), float(np.median(rss_mb)))


def edge_import_ms(processes: int = 9) -> tuple[float, float, float]:
    """Milliseconds that `import edge.daemon` takes in a fresh process: p10, p50, p90."""
    code = "import time; t = time.perf_counter(); import edge.daemon; "
    code += "print(time.perf_counter() - t)"
    took = []
    for _ in range(processes):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        took.append(float(done.stdout) * 1000)
    p10, p50, p90 = np.percentile(took, (10, 50, 90))
    return float(p10), float(p50), float(p90)


if __name__ == "__main__":
    main(sys.argv[1])
