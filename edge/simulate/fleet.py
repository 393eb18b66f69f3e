"""Many bins in one process: connects them, keeps them busy, breaks some, and settles the account.

One thread, one asyncio loop, no task for a bin: a tick of 20 ms asks the plan what is due.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import json
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.brokers import Broker, unreachable
from edge.errors import SmartbinError, UsageError
from edge.shipped import default_model
from edge.simulate import packets
from edge.simulate.bins import SimulatedBin, Tally
from edge.simulate.characters import characters
from edge.simulate.connection import Connection
from edge.simulate.plan import Absence, Habits, Plan
from edge.wire import Topics

TICK_S = 0.02
CONNECTING = 100  # at once; Mosquitto's listening queue holds as many
CONNECT_TIMEOUT_S = 15.0
RETRY_S = (0.5, 5.0)
ARRIVE_S = 120.0  # items begin when all bins are there, or after this
DRAIN_S = 120.0  # at the end, for what waits
LEAVE_S = 1.0
SPARE_FILES = 100
RINGS_BYTES = 200_000_000  # delivered events of all bins, kept for cmd/resend
RING_MAX_BYTES = 2_000_000  # of one bin, as in the daemon


def allow_files(n: int) -> None:
    """Have the system let us hold `n` sockets; raises UsageError where it does not."""
    needed = n + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
    except (ValueError, OSError) as error:
        raise UsageError(
            f"--bins {n}: needs {needed} open files, this system allows {hard}; "
            f"run: ulimit -n {needed}, as root or by /etc/security/limits.conf"
        ) from error


class Fleet:
    """`run` returns the account; `stop` may be called from a signal handler of the loop."""

    def __init__(
        self,
        *,
        broker: Broker,
        bins: int,
        habits: Habits,
        seed: int = 1,
        site: str = "sim",
        tell_decisions: bool = True,
        say: Callable[[dict[str, Any]], None] = lambda figures: None,
        say_every_s: float = 5.0,
    ) -> None:
        self._broker = broker
        self._habits = habits
        self._seed = seed
        self._say, self._say_every_s = say, say_every_s
        self._random = random.Random(seed + 1)
        self.tally = Tally()
        model = shipped_model()
        self.bins = tuple(
            SimulatedBin(
                Topics(site, f"bin-{at + 1:05d}"),
                model=model,
                character=character,
                tally=self.tally,
                seed=self._random.getrandbits(64),
                replay_per_s=50.0,
                ring_bytes=min(RING_MAX_BYTES, RINGS_BYTES // bins),
                tell_decisions=tell_decisions,
                on_gone=self._gone,
            )
            for at, character in enumerate(characters(bins, seed=seed))
        )
        self._index = {bin_.topics.bin: at for at, bin_ in enumerate(self.bins)}
        self._back: list[tuple[float, int]] = []  # when which bin connects again
        self._connecting: set[asyncio.Task[None]] = set()
        self._off: set[int] = set()  # without power: no items
        self._behind: set[int] = set()  # bins that replay
        self._stop = asyncio.Event()
        self._swept = 0.0

    @property
    def online(self) -> int:
        """How many bins are connected."""
        return sum(bin_.online for bin_ in self.bins)

    def stop(self) -> None:
        """End early, in order."""
        self._stop.set()

    async def run(self, *, for_s: float | None) -> dict[str, Any]:
        """Live for a time, or until stopped; raises SmartbinError where there is no broker."""
        allow_files(len(self.bins))
        await self._first()
        await self._arrive()
        began_s = time.monotonic()
        await self._live(began_s, for_s)
        lived_s = time.monotonic() - began_s
        await self._drain()
        return await self._leave(lived_s)

    # Connections

    async def _first(self) -> None:
        """Where the first bin is not let in, no other will be."""
        await self._connect(0)
        until_s = time.monotonic() + CONNECT_TIMEOUT_S
        while not self.bins[0].online and not self.tally.trouble and time.monotonic() < until_s:
            await asyncio.sleep(TICK_S)
        if not self.bins[0].online:
            why = self.tally.trouble or f"{self._broker.address} does not answer as MQTT 5 broker"
            raise SmartbinError(f"simulate: {why}; is a broker there? e.g. mosquitto -p 1883")
        self._back = [(0.0, at) for at in range(1, len(self.bins))]

    async def _connect(self, at: int) -> None:
        bin_, broker = self.bins[at], self._broker
        greeting = packets.connect(
            client_id=f"smartbin/{bin_.topics.site}/{bin_.topics.bin}",
            keepalive_s=broker.keepalive_s,
            will=bin_.will,
            username=broker.username,
            password=broker.password,
        )

        def make() -> Connection:
            connection = Connection(
                bin_,
                greeting=greeting,
                topic=bin_.topics.commands,
                keepalive_s=broker.keepalive_s,
            )
            bin_.connection = connection
            return connection

        loop = asyncio.get_running_loop()
        try:
            opening = loop.create_connection(make, broker.host, broker.port, ssl=broker.tls)
            await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            bin_.connection = None
            self.tally.trouble = unreachable(broker.address, error)
            self._come_back(at, self._random.uniform(*RETRY_S))

    def _come_back(self, at: int, after_s: float) -> None:
        heapq.heappush(self._back, (time.monotonic() + after_s, at))

    def _gone(self, bin_: SimulatedBin, why: str) -> None:
        if why:  # else we cut it ourselves, and know when it comes back
            self._come_back(self._index[bin_.topics.bin], self._random.uniform(*RETRY_S))

    def _open_due(self, now_s: float) -> None:
        while self._back and self._back[0][0] <= now_s and len(self._connecting) < CONNECTING:
            _, at = heapq.heappop(self._back)
            if self.bins[at].connection is not None:
                continue
            if at in self._off:
                self._off.discard(at)
                self.bins[at].boot()
            task = asyncio.get_running_loop().create_task(self._connect(at))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            self._behind.add(at)

    def _break(self, at: int, how: Absence, for_s: float) -> None:
        bin_ = self.bins[at]
        if bin_.connection is None or not bin_.online:
            return
        if how == "off":
            self._off.add(at)
        bin_.connection.cut()
        self._come_back(at, for_s)

    # Time

    async def _arrive(self) -> None:
        until_s = time.monotonic() + ARRIVE_S
        async for now_s in self._ticks():
            if now_s > until_s or (self._all_started() and self.online == len(self.bins)):
                return

    async def _live(self, began_s: float, for_s: float | None) -> None:
        plan = Plan(len(self.bins), self._habits, seed=self._seed, now_s=began_s)
        async for now_s in self._ticks():
            if for_s is not None and now_s - began_s >= for_s:
                return
            for at in plan.items(now_s):
                if at not in self._off:
                    self.bins[at].decide()
                    self._behind.add(at)
            for one in plan.breaks(now_s):
                self._break(one.bin, one.how, one.for_s)
            for at in plan.healths(now_s):
                self.bins[at].feel()

    def _all_started(self) -> bool:
        return not self._back and not self._connecting

    def _all_told(self) -> bool:
        return all(bin_.online and not bin_.waiting for bin_ in self.bins)

    async def _drain(self) -> None:
        """All come back, and the broker gets what waits."""
        until_s = time.monotonic() + DRAIN_S
        self._back = [(0.0, at) for _, at in self._back]
        async for now_s in self._ticks(stoppable=False):
            if now_s > until_s or (self._all_started() and self._all_told()):
                return

    async def _leave(self, lived_s: float) -> dict[str, Any]:
        waiting = sum(bin_.waiting for bin_ in self.bins)
        online = self.online
        for bin_ in self.bins:
            bin_.leave()
        await asyncio.sleep(LEAVE_S)
        figures = {"lived_s": round(lived_s, 1), "bins": len(self.bins), "online": online}
        return {**figures, "waiting": waiting, **dataclasses.asdict(self.tally)}

    async def _ticks(self, *, stoppable: bool = True) -> Any:
        """Until stopped: what is always to be done, then the time."""
        said_s = time.monotonic()
        while not (stoppable and self._stop.is_set()):
            now_s = time.monotonic()
            self._open_due(now_s)
            self._pump_behind()
            self._sweep(now_s)
            if now_s - said_s >= self._say_every_s:
                said_s = now_s
                self._say(self._present())
            yield now_s
            await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - now_s)))

    def _pump_behind(self) -> None:
        for at in list(self._behind):
            bin_ = self.bins[at]
            bin_.pump()
            if bin_.online and not bin_.waiting:
                self._behind.discard(at)

    def _sweep(self, now_s: float) -> None:
        """Keep connections alive; all of them are looked at within a tenth of the interval."""
        if now_s - self._swept < self._broker.keepalive_s / 10:
            return
        self._swept = now_s
        loop_s = asyncio.get_running_loop().time()
        for bin_ in self.bins:
            if bin_.connection:
                bin_.connection.keep_alive(loop_s)

    def _present(self) -> dict[str, Any]:
        waiting = sum(bin_.waiting for bin_ in self.bins)
        return {"online": self.online, "waiting": waiting, **dataclasses.asdict(self.tally)}

    def ledger(self) -> Iterator[dict[str, Any]]:
        """One row for each start of each bin: its events are 1..last."""
        for bin_ in self.bins:
            for start in bin_.starts:
                yield {
                    "site": bin_.topics.site,
                    "bin": bin_.topics.bin,
                    "boot": start.boot,
                    "last": start.last,
                    "waited": start.waited,
                }

    def write_ledger(self, path: Path) -> None:
        """As JSON lines."""
        path.write_text("".join(json.dumps(row) + "\n" for row in self.ledger()))


def shipped_model() -> str:
    """name@version of the shipped model, so that the monitor finds its card."""
    path = default_model()
    version = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["version"]
    return f"{path.stem}@{version}"
