"""Model after model on a running daemon: python -m tools.swaps [--swaps 20]

The shipped network under ever higher versions, each fetched, checked, shadowed, tried and confirmed
by a real daemon beside Mosquitto and a web server. Told are the latency of decisions before and
while this goes on, what was late or missing, and the daemon's memory after each swap.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edge.bundle import load_bundle
from edge.shipped import samples, shipped
from tests.harness import Listener, Mosquitto, RunningDaemon, wait_for
from tools import rollout
from trainer.release import Keys, TufRepository

NAME = "student.int8"
CONFIG = """
[site]
site = "s"
bin = "b"
[camera]
source = "folder:{stills}"
fps = 10
repeat = true
[trigger]
kind = "frame"
[mqtt]
port = {port}
[outbox]
path = "{folder}/outbox.db"
[update]
url = "{url}"
root = "{folder}/web/root.json"
bundle = "{name}"
store = "{folder}/store"
shadow_items = 10
trial_items = 10
retry_s = 1
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=20)
    with tempfile.TemporaryDirectory(prefix="smartbin-swaps-") as name:
        swap_often(Path(name), parser.parse_args().swaps)


def swap_often(folder: Path, count: int) -> None:
    """Release, wish and measure."""
    rollout.NAME = NAME
    old = load_bundle(shipped(f"models/{NAME}.onnx"))
    versions = range(old.version + 1, old.version + 1 + count)
    keys = Keys(folder / "keys", "")
    keys.make()
    repository = TufRepository(folder / "web", keys)
    repository.begin()
    for version in versions:
        model = onnx.load_from_string(old.onnx)
        model.doc_string = f"version {version}"
        made = rollout.write_version(folder / "made", old, model.SerializeToString(), version)
        repository.release(made)
    server, broker = rollout.serve(folder / "web"), Mosquitto(folder).start()
    listener = Listener(broker.port)
    time.sleep(0.5)
    path = folder / "config.toml"
    url = f"http://127.0.0.1:{server.server_port}"
    path.write_text(
        CONFIG.format(
            stills=samples() / "stills", port=broker.port, folder=folder, url=url, name=NAME
        )
    )
    daemon = RunningDaemon(path)
    try:
        measure(daemon, listener, broker.port, list(versions))
    finally:
        daemon.close()
        listener.close()
        broker.stop()
        server.shutdown()


def measure(daemon: RunningDaemon, listener: Listener, port: int, versions: list[int]) -> None:
    """Wish for one version after the other and print what it did to the daemon."""

    def events(kind: str) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = [row["payload"] for row in listener.of("event")]  # type: ignore[misc]
        return [event for event in told if event["type"] == kind]

    wait_for(lambda: len(events("decision")) > 100, what="decisions", timeout_s=120)
    print_latency("before", [event["latency_ms"] for event in events("decision")])
    memory = [rss_mb(daemon.pid)]
    for version in versions:
        topic, wish = "bins/v1/s/b/cmd/model", json.dumps({"version": version})
        command = ["mosquitto_pub", "-V", "5", "-q", "1", "-p", str(port), "-t", topic, "-m", wish]
        subprocess.run(command, check=True)
        done = {"phase": "confirmed", "version": version}
        wait_for(
            lambda done=done: any(done.items() <= event.items() for event in events("model")),  # type: ignore[misc]
            what=f"version {version}",
            timeout_s=90,
        )
        memory.append(rss_mb(daemon.pid))
    decided = events("decision")[100:]
    print_latency("with swaps", [event["latency_ms"] for event in decided])
    late = sum(event["outcome"] == "late" for event in decided)
    seqs = {row["payload"]["seq"] for row in listener.of("event")}  # type: ignore[index]
    print(f"late {late}; events missing {max(seqs) - len(seqs)}; models run {len(versions) + 1}")
    print("memory, MB, before and after each swap: " + " ".join(f"{mb:.0f}" for mb in memory))


def print_latency(when: str, ms: list[float]) -> None:
    p50, p99 = np.percentile(ms, (50, 99))
    print(f"{when}: {len(ms)} decisions, p50 {p50:.1f}, p99 {p99:.1f}, worst {max(ms):.1f} ms")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
