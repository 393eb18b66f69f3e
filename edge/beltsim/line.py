"""The whole line in simulation: broker, daemon, actuator and belt, in real time."""

from __future__ import annotations

import contextlib
import json
import queue
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.actuator.devices.base import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.ledger import Ledger
from edge.actuator.service import ActuatorService
from edge.actuator.values import Order
from edge.beltsim.broker import some_broker
from edge.beltsim.daemon import BIN, SITE, DaemonThread
from edge.beltsim.fate import SAFE, Fate, Kick
from edge.beltsim.layout import Setup
from edge.beltsim.world import Thing, World
from edge.brokers import Broker
from edge.errors import SmartbinError
from edge.mqtt import Link
from edge.values import Incoming
from edge.wire import Topics

LEAD_IN_S = 3.0  # from the making of the world to its start; the daemon starts meanwhile
CONNECT_S = 10.0
KICK_ORDER_S = 0.25  # kicks are worked off so much later, so that they come in the order of time


@dataclass(slots=True)
class Told:
    """One decision as the broker returned it, with the item that it is about."""

    decision: dict[str, Any]
    thing: Thing | None
    received_s: float
    ack: str = ""


@dataclass(slots=True)
class Record:
    """Everything that happened, guarded by `lock`: filled by several threads."""

    told: dict[str, Told] = field(default_factory=dict)  # by decision id
    again: int = 0  # decisions that came twice
    lock: threading.Lock = field(default_factory=threading.Lock)


class Paddles:
    """The diverters' devices report here, and the belt's physics answer."""

    def __init__(self, fate: Fate, record: Record, *, delay_s: float) -> None:
        self._fate = fate
        self._record = record
        self._delay_s = delay_s
        self._moves: queue.Queue[tuple[float, Order]] = queue.Queue()

    def moved(self, order: Order) -> None:
        """A device began to move; called in its own thread."""
        self._moves.put((time.monotonic() + self._delay_s, order))

    def settle(self, until_s: float) -> list[Kick]:
        """Work off the movements up to then, in the order of time."""
        waiting = []
        while not self._moves.empty():
            waiting.append(self._moves.get())
        kicks = []
        for at_s, order in sorted(waiting, key=lambda move: move[0]):
            if at_s > until_s:
                self._moves.put((at_s, order))
                continue
            with self._record.lock:
                told = self._record.told.get(order.id)
            number = told.thing.number if told and told.thing else 0
            kicks.append(self._fate.kick(order.route, number, at_s))
        return kicks


class Listener:
    """Hears decisions and acks as any subscriber would."""

    def __init__(self, port: int, fate: Fate, record: Record) -> None:
        topics = Topics(SITE, BIN)
        self._fate = fate
        self._record = record
        self._ready = threading.Event()
        self.link = Link(
            broker=Broker("127.0.0.1", port),
            client_id="belt-sim-listener",
            subscriptions=(topics.of("decision"), topics.of("ack")),
            on_connect=self._ready.set,
            on_message=self._take,
        )
        self.link.start()
        if not self._ready.wait(CONNECT_S):
            raise SmartbinError("belt-sim: no connection to the broker; try again")

    def _take(self, incoming: Incoming) -> None:
        body = json.loads(incoming.payload)
        with self._record.lock:
            if incoming.topic.endswith("/ack"):
                told = self._record.told.get(body["id"])
                if told:
                    told.ack = body["result"]
            elif body["id"] in self._record.told:
                self._record.again += 1
            else:
                trigger_s = body["trigger_ts"] - time.time() + time.monotonic()
                thing = self._fate.thing_at(trigger_s)
                self._record.told[body["id"]] = Told(body, thing, incoming.received_s)


class Actuator(threading.Thread):
    """`smartbin actuator` in a thread, with a simulated device for each diverter."""

    def __init__(self, setup: Setup, port: int, paddles: Paddles, folder: Path) -> None:
        super().__init__(name="actuator", daemon=True)
        tolerance_s = setup.layout.tolerance_mm / setup.speed_mm_s
        limits = Limits(dwell_s=0.02, cool_down_s=0.0, per_min=6000, tolerance_s=tolerance_s)
        devices = [
            Simulated(
                name=route,
                routes={route: 1.0},
                limits=limits,
                travel_s=0.005,
                on_move=paddles.moved,
            )
            for route in setup.layout.diverters_mm
        ]
        self._service = ActuatorService(
            topics=Topics(SITE, BIN),
            broker=Broker("127.0.0.1", port),
            devices=devices,
            ledger=Ledger(folder / "moves.journal"),
            silence_s=0,
            safe=SAFE,
        )

    def run(self) -> None:
        self._service.run()

    def stop(self) -> None:
        self._service.stop()
        self.join(5.0)


class Line:
    """Use it with `with`; `step` keeps it going until it returns False."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.world = World(
            seed=setup.seed,
            start_s=time.monotonic() + LEAD_IN_S,
            items=setup.items,
            per_min=setup.per_min,
            speed_mm_s=setup.speed_mm_s,
            fps=setup.fps,
            camera_mm=setup.layout.picture_mm,
            faults=setup.faults,
        )
        self.fate = Fate(self.world, setup.layout)
        self.record = Record()
        self.broker = ""
        self._paddles = Paddles(self.fate, self.record, delay_s=setup.layout.delay_s)
        self._closing = contextlib.ExitStack()
        last = self.world.things[-1]
        self.end_s = self.world.time_of(last.lead_mm + last.length_mm + setup.layout.end_mm)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as closing:
            port, self.broker = closing.enter_context(some_broker())
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="smartbin-")))
            listener = Listener(port, self.fate, self.record)
            closing.callback(listener.link.stop)
            actuator = Actuator(self.setup, port, self._paddles, folder)
            actuator.start()
            closing.callback(actuator.stop)
            self._worker = self._daemon(port, folder)
            closing.callback(self._worker.end)
            self._worker.start()
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def step(self, wait_s: float = 0.05) -> bool:
        """Let a little time pass; False once the last item has left the belt."""
        time.sleep(wait_s)
        self._worker.raise_fault()
        now_s = time.monotonic()
        over = now_s > self.end_s + KICK_ORDER_S
        self._paddles.settle(now_s if over else now_s - KICK_ORDER_S)
        return not over

    def told(self) -> Iterator[Told]:
        """A copy of what was heard so far."""
        with self.record.lock:
            yield from list(self.record.told.values())

    def _daemon(self, port: int, folder: Path) -> DaemonThread:
        world = folder / "world.json"
        world.write_text(self.world.to_json(), encoding="utf-8")
        return DaemonThread(self.setup, self.world, port=port, folder=folder, world_file=world)
