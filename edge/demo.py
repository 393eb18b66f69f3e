"""`smartbin demo`: the whole path on one machine, told as it comes back through the broker."""

from __future__ import annotations

import dataclasses
import json
import queue
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.actuator.devices import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.ledger import Ledger
from edge.actuator.service import ActuatorService
from edge.broker import EmbeddedBroker
from edge.brokers import Broker
from edge.config import EXAMPLE_ROUTES, Config
from edge.daemon import Daemon
from edge.errors import SmartbinError
from edge.mqtt import Link
from edge.shipped import samples
from edge.values import Incoming
from edge.wire import Topics

SITE, BIN = "demo", "bin-1"
SAFE = Config().routes.safe
SECONDS_A_PICTURE = 1.0  # where the demo runs for ever, for a person to watch
TRAVEL_S = 0.003  # of the simulated flap, each way; a real one takes a hundred times as long
ACK_S = 2.0
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


class Flap(threading.Thread):
    """The actuator as it ships, in a thread, with a flap in simulation for every compartment."""

    def __init__(self, port: int, state: Path) -> None:
        super().__init__(name="actuator", daemon=True)
        routes = {*EXAMPLE_ROUTES.values(), SAFE}  # a lid that opens for the safe way too
        flap = Simulated(
            name="flap",
            routes=dict.fromkeys(routes, 1.0),
            limits=Limits(dwell_s=0.0, cool_down_s=0.0, per_min=6000),
            travel_s=TRAVEL_S,
        )
        self._service = ActuatorService(
            topics=Topics(SITE, BIN),
            broker=Broker("127.0.0.1", port, version="3.1.1"),
            devices=[flap],
            ledger=Ledger(state / "moves.journal"),
            silence_s=0.0,
        )

    def run(self) -> None:
        self._service.run()

    def await_connection(self) -> None:
        """Before there is anything to move for; raises SmartbinError."""
        until_s = time.monotonic() + CONNECT_S
        while not self._service.connected:
            if time.monotonic() > until_s:
                raise SmartbinError("demo: the actuator does not reach the broker; try again")
            time.sleep(0.01)

    def stop(self) -> None:
        self._service.stop()
        self.join(5.0)


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
        actuator=dataclasses.replace(plain.actuator, mode="broker"),
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
        watcher = _Watcher(broker.port)
        stop, shown = threading.Event(), 0
        worker, flap = _Worker(config, stop), Flap(broker.port, Path(state))
        try:
            flap.start()
            flap.await_connection()
            worker.start()
            for decision in _returned(watcher.decisions, worker, len(truths) if once else None):
                shown += 1
                truth = truths.get(decision.get("picture", ""), "?")
                yield Shown(decision, truth, watcher.ack_of(decision))
        finally:
            stop.set()
            worker.join(10.0)
            flap.stop()
            watcher.close()
    worker.raise_fault()
    if once and shown < len(truths):
        raise SmartbinError(f"demo: {shown} of {len(truths)} decisions came back; try again")


class _Watcher:
    """What anyone hears who listens: decisions in a queue, acks by their id."""

    def __init__(self, port: int) -> None:
        self.decisions: queue.Queue[dict[str, Any]] = queue.Queue()
        self._news = threading.Condition()  # guards _acks
        self._acks: dict[str, str] = {}
        ready = threading.Event()
        topics = Topics(SITE, BIN)
        self._link = Link(
            broker=Broker("127.0.0.1", port, version="3.1.1"),
            client_id="demo-watcher",
            subscriptions=(topics.of("decision"), topics.of("ack")),
            on_connect=ready.set,
            on_message=self._take,
        )
        self._link.start()
        if not ready.wait(CONNECT_S):
            raise SmartbinError("demo: no connection to the embedded broker; try again")

    def ack_of(self, decision: dict[str, Any]) -> str:
        """The actuator's answer, in time; home where nothing was to move."""
        if decision["outcome"] != "sorted":
            return "home"
        with self._news:
            self._news.wait_for(lambda: decision["id"] in self._acks, ACK_S)
            return self._acks.pop(decision["id"], "none")

    def close(self) -> None:
        self._link.stop()

    def _take(self, incoming: Incoming) -> None:
        body: dict[str, Any] = json.loads(incoming.payload)
        if incoming.topic.endswith("/decision"):
            self.decisions.put(body)
            return
        with self._news:
            self._acks[body["id"]] = body["result"]
            self._news.notify_all()


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
