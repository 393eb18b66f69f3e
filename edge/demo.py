"""`smartbin demo`: the whole path on one machine, told as it comes back through the broker."""

from __future__ import annotations

import dataclasses
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.broker import EmbeddedBroker
from edge.brokers import Broker
from edge.config import EXAMPLE_ROUTES, Config
from edge.daemon import Daemon
from edge.errors import SmartbinError
from edge.mqtt import Link
from edge.shipped import samples
from edge.values import Incoming, Message
from edge.wire import Topics, encode

SITE, BIN = "demo", "bin-1"
SECONDS_A_PICTURE = 1.0  # where the demo runs for ever, for a person to watch
MOVE_S = 0.005  # what the simulated flap takes; a real one takes a hundred times as long
LAST_ANSWER_S = 5.0
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """One decision as the broker gave it back, beside what the picture really holds."""

    decision: dict[str, Any]
    truth: str
    ack: str

    @property
    def right(self) -> bool:
        return (self.decision["outcome"], self.decision["label"]) == ("sorted", self.truth)

    def as_json(self) -> str:
        """One line for a program."""
        keys = ("picture", "outcome", "label", "confidence", "route", "latency_ms", "id")
        row = {key: self.decision.get(key) for key in keys}
        return json.dumps({**row, "ack": self.ack, "truth": self.truth, "right": self.right})

    def as_text(self) -> str:
        """One line for a person."""
        d = self.decision
        verdict = "right" if self.right else f"WRONG, it is {self.truth}"
        if d["outcome"] != "sorted":
            verdict = f"not sorted, it is {self.truth}"
        return (
            f"{d.get('picture', ''):<28} {d['outcome']:<9} {d['label'] or '-':<10}"
            f"{d['confidence']:>5.0%} -> {d['route']:<10}{d['latency_ms']:>6.1f} ms  "
            f"flap {self.ack:<5} {verdict}"
        )


class Flap:
    """An actuator in simulation: moves for fresh `sorted` decisions, once each, and says so."""

    def __init__(self, link: Callable[[Message], int | None], topics: Topics) -> None:
        self._publish = link
        self._topics = topics
        self._done: set[str] = set()

    def obey(self, decision: dict[str, Any]) -> str:
        """Move for a decision and acknowledge it; returns the result."""
        age_ms = (time.time() - decision["decided_ts"]) * 1000
        if decision["id"] in self._done or decision["outcome"] != "sorted":
            result = "home"  # the safe position: nothing moves
        elif age_ms > decision["expires_ms"]:
            result = "late"
        else:
            self._done.add(decision["id"])
            time.sleep(MOVE_S)
            result = "done"
        if result != "home":
            ack = {"v": 1, "id": decision["id"], "result": result, "ms": MOVE_S * 1000}
            self._publish(Message(self._topics.of("ack"), encode(ack), qos=1))
        return result


def demo_config(port: int, folder: Path, state: Path, *, once: bool) -> Config:
    """Everything by default, but the camera is a folder and the broker is ours."""
    plain = Config()
    fps = 20.0 if once else 1 / SECONDS_A_PICTURE
    return dataclasses.replace(
        plain,
        site=dataclasses.replace(plain.site, site=SITE, bin=BIN),
        camera=dataclasses.replace(
            plain.camera, source=f"folder:{folder}", fps=fps, repeat=not once
        ),
        trigger=dataclasses.replace(plain.trigger, kind="frame"),
        routes=dataclasses.replace(plain.routes, by_class=EXAMPLE_ROUTES),
        mqtt=dataclasses.replace(plain.mqtt, port=port, version="3.1.1"),
        outbox=dataclasses.replace(plain.outbox, path=str(state / "outbox.db")),
        file="(demo)",
    )


def sample_truths() -> dict[str, str]:
    """File name of each shipped still to the class of what it shows."""
    listing = json.loads((samples() / "samples.json").read_text(encoding="utf-8"))
    return {Path(still["file"]).name: still["label"] for still in listing["stills"]}


def run_demo(*, once: bool) -> Iterator[Shown]:
    """Yield each decision as it comes back; ends after the pictures where `once`."""
    truths = sample_truths()
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory(prefix="smartbin-") as state:
        config = demo_config(broker.port, samples() / "stills", Path(state), once=once)
        returned: queue.Queue[dict[str, Any]] = queue.Queue()
        watcher = _watch(broker.port, returned)
        stop, shown = threading.Event(), 0
        worker = _Worker(config, stop)
        flap = Flap(watcher.publish, Topics(SITE, BIN))
        try:
            worker.start()
            for decision in _returned(returned, worker, len(truths) if once else None):
                shown += 1
                truth = truths.get(decision.get("picture", ""), "?")
                yield Shown(decision, truth, flap.obey(decision))
        finally:
            stop.set()
            worker.join(10.0)
            watcher.stop()
    worker.raise_fault()
    if once and shown < len(truths):
        raise SmartbinError(f"demo: {shown} of {len(truths)} decisions came back; try again")


def _watch(port: int, returned: queue.Queue[dict[str, Any]]) -> Link:
    ready = threading.Event()
    watcher = Link(
        broker=Broker("127.0.0.1", port, version="3.1.1"),
        client_id="demo-watcher",
        subscriptions=(Topics(SITE, BIN).of("decision"),),
        on_connect=ready.set,
        on_message=lambda incoming: returned.put(_decoded(incoming)),
    )
    watcher.start()
    if not ready.wait(CONNECT_S):
        raise SmartbinError("demo: no connection to the embedded broker; try again")
    return watcher


def _decoded(incoming: Incoming) -> dict[str, Any]:
    decision: dict[str, Any] = json.loads(incoming.payload)
    return decision


def _returned(
    returned: queue.Queue[dict[str, Any]], worker: _Worker, expected: int | None
) -> Iterator[dict[str, Any]]:
    """Decisions until `expected` came, or the daemon has ended and no more come."""
    count, ended_s = 0, None
    while expected is None or count < expected:
        try:
            decision = returned.get(timeout=0.2)
        except queue.Empty:
            if worker.is_alive():
                continue
            ended_s = ended_s or time.monotonic()
            if time.monotonic() - ended_s > LAST_ANSWER_S or worker.fault:
                return
            continue
        count += 1
        yield decision


class _Worker(threading.Thread):
    """Runs the daemon beside the one who watches, and keeps its fault."""

    def __init__(self, config: Config, stop: threading.Event) -> None:
        super().__init__(name="daemon", daemon=True)
        self._config, self._stop_event = config, stop
        self.fault: SmartbinError | None = None

    def run(self) -> None:
        try:
            # Built here, because the outbox belongs to the thread that opened it.
            Daemon(self._config, stop=self._stop_event).run(broker_wait_s=CONNECT_S)
        except SmartbinError as error:
            self.fault = error

    def raise_fault(self) -> None:
        if self.fault:
            raise self.fault
