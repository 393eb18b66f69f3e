"""How cost grows: with the size of a frame, with items a second, with what waits in the outbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.outbox import Outbox
from edge.pictures import read_picture
from edge.preprocess import squeeze
from edge.shipped import samples, shipped
from edge.store import Row, Store
from edge.values import Message
from tests.harness import Mosquitto, wait_for
from tools.bench.live import FPS
from tools.bench.timing import Spent, interleaved

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080), (4056, 3040))
DEPTHS = (0, 1_000, 10_000, 100_000, 1_000_000)
RATES = (20, 50, 100, 200, 300, 400)  # frames a second
PAYLOAD = b"{" + b"x" * 558 + b"}"  # as long as a decision's event
FILL = 10_000  # rows in one commit
SETTLE_S, HEALTH_S, END_S = 2.0, 2, 60


@dataclass(frozen=True, slots=True)
class AtSize:
    """One size of frame, (width, height) px."""

    size: tuple[int, int]
    squeeze: Spent
    whole: Spent  # with the network


@dataclass(frozen=True, slots=True)
class AtRate:
    """So many frames a second, each an item."""

    asked: float
    segmenter: str
    decided: float  # a second, as a subscriber has them
    dropped: float  # frames a second that made room for newer ones, as health counts them
    cores: float  # processor time of the daemon and its capture process
    p50_ms: float  # frame to subscriber
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Load:
    """What the daemon is given to do."""

    rate: int  # frames a second
    segmenter: str
    cpus: str  # as taskset takes them; empty: all


@dataclass(frozen=True, slots=True)
class AtDepth:
    """So many events wait."""

    depth: int
    add: Spent
    look: Spent  # find the next ten, let go of them
    keep: Spent  # what the daemon does after a decision: deletes 200 at once, folds the log
    mb: float  # on disk
    open_ms: float


def by_size(rounds: int) -> list[AtSize]:
    """One sample picture at several sizes."""
    bundle = load_bundle(shipped("models/student.int8.onnx"))
    classifier, spec = Classifier(bundle), bundle.preprocessing
    still = read_picture(samples() / "stills" / "can_wood.jpg")
    frames = {size: cv2.resize(still, size) for size in SIZES}
    cut = interleaved(
        {str(s): lambda f=f: squeeze(f, spec) for s, f in frames.items()}, rounds=rounds
    )
    whole = interleaved(
        {str(s): lambda f=f: classifier.classify(f) for s, f in frames.items()}, rounds=rounds
    )
    return [AtSize(size, cut[str(size)], whole[str(size)]) for size in SIZES]


def by_depth(rounds: int, depths: tuple[int, ...] = DEPTHS) -> list[AtDepth]:
    """One file, filled further and further, used as the daemon does."""
    found: list[AtDepth] = []
    with tempfile.TemporaryDirectory(prefix="smartbin-depth-") as name:
        path = Path(name) / "outbox.db"
        for depth in depths:
            _fill(path, depth)
            began_s = time.perf_counter()
            outbox = Outbox(path, max_bytes=10**12, max_days=365)
            open_ms = (time.perf_counter() - began_s) * 1000
            found.append(_at_depth(outbox, path, depth, open_ms, rounds))
            outbox.close()
    return found


def _fill(path: Path, depth: int) -> None:
    store = Store(path)
    while store.count < depth:
        rows = [Row(0, False, time.time(), "bins/v1/s/b/event", PAYLOAD)]
        store.insert(rows * min(FILL, depth - store.count))
        store.fold()
    store.close()


def _at_depth(outbox: Outbox, path: Path, depth: int, open_ms: float, rounds: int) -> AtDepth:
    event = Message("bins/v1/s/b/event", PAYLOAD, qos=1)

    def look() -> None:
        for stored in outbox.waiting(limit=10, but=()):
            outbox.forget(stored.key)

    steps = {"add": lambda: outbox.add(event), "look": look, "keep": outbox.maintain}
    spent = interleaved(steps, rounds=rounds)
    mb = path.stat().st_size / 1e6
    return AtDepth(depth, spent["add"], spent["look"], spent["keep"], mb, open_ms)


def by_rate(
    seconds: float,
    rates: tuple[int, ...] = RATES,
    *,
    cpus: str = "",
    segmenter: str = "none",
) -> list[AtRate]:
    """The daemon on a camera that does not wait; `cpus` as taskset takes them, for both."""
    with tempfile.TemporaryDirectory(prefix="smartbin-rate-") as name:
        folder = Path(name)
        broker = Mosquitto(folder).start()
        try:
            return [
                _at_rate(folder, broker.port, Load(rate, segmenter, cpus), seconds)
                for rate in rates
            ]
        finally:
            broker.stop()


def _at_rate(folder: Path, port: int, load: Load, seconds: float) -> AtRate:
    heard: list[tuple[float, float]] = []  # when, ms since its frame
    health: list[tuple[float, int]] = []  # when, frames dropped

    def take(_client: object, _data: object, message: Any) -> None:
        content, now_s = json.loads(message.payload), time.time()
        if message.topic.endswith("/decision"):
            heard.append((now_s, (now_s - content["frame_ts"]) * 1000))
        else:
            health.append((content["ts"], content["drops"]["frames"]))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.subscribe([("bins/v1/+/+/decision", 1), ("bins/v1/+/+/health", 1)])
    client.loop_start()
    with _daemon(folder, port, load) as pid:
        wait_for(lambda: heard, what="the first decision")  # however long the start takes
        time.sleep(SETTLE_S)
        began_s, cpu_began_s = time.time(), _cpu_s(pid)
        time.sleep(seconds)
        took_s, cpu_s = time.time() - began_s, _cpu_s(pid) - cpu_began_s
    client.loop_stop()
    counted = [ms for when, ms in heard if began_s <= when < began_s + took_s]
    p50, p99 = np.percentile(counted, (50, 99)) if counted else (np.nan, np.nan)
    decided = len(counted) / took_s
    cores, shed = cpu_s / took_s, _slope(health)
    return AtRate(load.rate, load.segmenter, decided, shed, cores, float(p50), float(p99))


def _slope(points: list[tuple[float, int]]) -> float:
    """A second, between the first and the last."""
    if len(points) < 2 or points[-1][0] == points[0][0]:
        return float("nan")
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


@contextmanager
def _daemon(folder: Path, port: int, load: Load) -> Iterator[int]:
    config = folder / "config.toml"
    config.write_text(
        f'[segmenter]\nkind = "{load.segmenter}"\n[trigger]\nkind = "frame"\n'
        f"[mqtt]\nport = {port}\n[health]\ninterval_s = {HEALTH_S}\n"
        f'[outbox]\npath = "{folder / f"outbox-{load.rate}.db"}"\nreplay_per_s = 1000\n'
        '[log]\nlevel = "error"\n'
    )
    prefix = ["taskset", "-c", load.cpus] if load.cpus else []
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "tools.bench.live", str(config)],
        env={**os.environ, FPS: str(load.rate)},
    )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended by itself with {process.returncode}; see above")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_S)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for each in (str(pid), *children):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
