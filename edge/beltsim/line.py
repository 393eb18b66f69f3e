"""The whole line in simulation: broker, daemon, actuator and belt, in real time."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.beltsim.broker import some_broker
from edge.beltsim.daemon import (
    BIN,
    CONFIG,
    MOVES,
    SITE,
    WORLD,
    Child,
    line_text,
    moves_since,
    start_actuator,
    start_daemon,
    starting_time_s,
)
from edge.beltsim.fate import Fate
from edge.beltsim.layout import Setup
from edge.beltsim.world import Thing, World
from edge.brokers import Broker
from edge.errors import SmartbinError
from edge.mqtt import Link
from edge.values import Incoming
from edge.wire import Topics

LEAD_IN = 3.0  # times a process's start: daemon, camera and actuator start before the belt does
LEAST_LEAD_IN_S = 2.0
CONNECT_S = 10.0
LAST_S = 0.25  # for the last ack to come
KICK_ORDER_S = 0.02  # kicks are worked off so much later, so that they come in the order of time


@dataclass(slots=True)
class Told:
    """One decision as the broker returned it, with the item that it is about."""

    decision: dict[str, Any]
    thing: Thing | None
    ack: str = ""


@dataclass(slots=True)
class Record:
    """What the broker told; filled by the network's thread."""

    told: dict[str, Told] = field(default_factory=dict)  # by decision id
    again: int = 0  # decisions that came twice
    lock: threading.Lock = field(default_factory=threading.Lock)  # guards both


class Paddles:
    """The diverters' devices record their movements, and the belt's physics answer."""

    def __init__(self, fate: Fate, record: Record, moves: Path, *, delay_s: float) -> None:
        self._fate = fate
        self._record = record
        self._moves = moves
        self._delay_s = delay_s
        self._read = 0  # bytes of the file
        self._waiting: list[tuple[float, str, str]] = []

    def settle(self, until_s: float) -> None:
        """Work off the movements up to then, in the order of time."""
        fresh, self._read = moves_since(self._moves, self._read)
        to_monotonic = time.monotonic() - time.time() + self._delay_s
        self._waiting += [(at_ts + to_monotonic, id, route) for at_ts, id, route in fresh]
        self._waiting.sort()
        while self._waiting and self._waiting[0][0] <= until_s:
            at_s, id, route = self._waiting.pop(0)
            with self._record.lock:
                told = self._record.told.get(id)
            number = told.thing.number if told and told.thing else 0
            self._fate.kick(route, number, at_s)


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
                self._record.told[body["id"]] = Told(body, self._fate.thing_at(trigger_s))


class Line:
    """Use it with `with`; `step` keeps it going until it returns False."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.world = World(
            seed=setup.seed,
            start_s=time.monotonic() + LEAST_LEAD_IN_S + LEAD_IN * starting_time_s(),
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
        self._children: list[Child] = []
        self._closing = contextlib.ExitStack()
        last = self.world.things[-1]
        self.end_s = self.world.time_of(last.lead_mm + last.length_mm + setup.layout.end_mm)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as closing:
            port, self.broker = closing.enter_context(some_broker())
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="smartbin-")))
            text = line_text(self.setup, port=port, folder=folder)
            (folder / CONFIG).write_text(text, encoding="utf-8")
            (folder / WORLD).write_text(self.world.to_json(), encoding="utf-8")
            listener = Listener(port, self.fate, self.record)
            closing.callback(listener.link.stop)
            delay_s = self.setup.layout.delay_s
            self._paddles = Paddles(self.fate, self.record, folder / MOVES, delay_s=delay_s)
            for start in (start_actuator, start_daemon):
                self._children.append(start(folder))
                closing.callback(self._children[-1].end)
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def step(self, wait_s: float = 0.02) -> bool:
        """Let a little time pass; False once the last item has left the belt."""
        time.sleep(wait_s)
        for child in self._children:
            child.check()
        now_s = time.monotonic()
        over = now_s > self.end_s + LAST_S
        self._paddles.settle(now_s if over else now_s - KICK_ORDER_S)
        return not over

    def told(self) -> Iterator[Told]:
        """A copy of what was heard so far."""
        with self.record.lock:
            yield from list(self.record.told.values())
