"""What the fleet's tests share: bins that speak through a real broker, a monitor, PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.fleet.monitor import Monitor
from edge.fleet.settings import Settings, parse_settings
from edge.values import Decision, Message, Outcome
from edge.wire import (
    Origin,
    Stamp,
    Topics,
    birth_message,
    decision_payload,
    event_message,
    health_message,
    state_event_message,
    state_message,
)
from tests.harness import free_port, wait_for

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
MODEL = "student.int8@3"
NUMBERS = itertools.count(1)  # for names that no other test has
POSTGRES_BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
NO_POSTGRES = "PostgreSQL's server is not installed: apt-get install postgresql"


@dataclass
class Bin:
    """One bin's words, as edge.wire writes them; says nothing by itself."""

    name: str = "b1"
    site: str = "s"
    boot: str = ""
    model: str = MODEL
    capabilities: tuple[str, ...] = ("ping", "resend")
    random: random.Random = field(default_factory=lambda: random.Random(1))
    seq: int = 0

    def __post_init__(self) -> None:
        self.boot = self.boot or f"{self.random.getrandbits(48):012x}"

    @property
    def origin(self) -> Origin:
        return Origin(Topics(self.site, self.name), self.boot, self.model, "0.1.0")

    def restarted(self) -> Bin:
        boot = f"{self.random.getrandbits(48):012x}"
        return replace(self, boot=boot, seq=0)

    def birth(self) -> Message:
        return birth_message(
            self.origin,
            labels=LABELS,
            routes={"glass": "glass"},
            safe="residual",
            capabilities=self.capabilities,
            ts=time.time(),
        )

    def state(self, state: Any = "ready", reason: str = "deciding") -> Message:
        return state_message(self.origin, state, reason=reason, ts=time.time())

    def event(
        self,
        label: str = "glass",
        confidence: float = 0.95,
        *,
        ts: float | None = None,
        outcome: Outcome | None = None,
        **changed: Any,
    ) -> Message:
        """The next decision; keys of its payload may be changed."""
        self.seq += 1
        ts = time.time() if ts is None else ts
        confidence = min(1.0, max(0.0, confidence))
        outcome = outcome or ("sorted" if confidence >= 0.7 else "unknown")
        route = "glass" if outcome == "sorted" else "residual"
        second = min(1 - confidence, 0.8 * confidence)
        rest = (label, confidence), ("metal" if label != "metal" else "paper", second)
        decision = Decision(
            outcome, label, route, confidence, rest, f"{label} with {confidence:.2f}"
        )
        stamp = Stamp(
            seq=self.seq,
            cause="presence",
            trigger_ts=ts,
            frame_ts=ts,
            decided_ts=ts,
            latency_ms=5.0,
            expires_ms=1990,
            segmenter="none",
            clock_synced=True,
        )
        payload = {**decision_payload(self.origin, decision, stamp), **changed}
        return event_message(self.origin.topics, payload)

    def state_event(self, state: Any = "ready") -> Message:
        self.seq += 1
        return state_event_message(
            self.origin, state, seq=self.seq, reason="r", ts=time.time(), clock_synced=True
        )

    def health(self, **changed: Any) -> Message:
        figures: dict[str, Any] = {
            "uptime_s": 3600.0,
            "temperature_c": 51.0,
            "throttled": 0,
            "rss_mb": 116.0,
            "written_bytes_day": 17_000_000,
            "clock": "synced",
            "outcomes": {"sorted": self.seq},
            "latency_ms": {"p50": 5.1, "p99": 7.2},
            "confidence": {"n": 100, "mean": 0.92, "sd": 0.1},
            "outbox": dict.fromkeys(
                ("depth", "bytes", "in_memory", "overflowed", "expired", "refused"), 0
            ),
            "drops": {"frames": 0, "decisions": 0},
            "camera_restarts": 0,
            "seq": self.seq,
        }
        for key, value in changed.items():
            figures[key] = {**figures[key], **value} if isinstance(value, dict) else value
        return health_message(self.origin, figures, ts=time.time())


class Voice:
    """A connection that publishes for many bins and waits until the broker has it all."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = self._heard
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self.commands: list[tuple[str, dict[str, Any], paho.MQTTMessage]] = []
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("bins/v1/+/+/cmd/+", qos=1)
        self._client.loop_start()
        wait_for(subscribed.is_set, what="the voice's subscription")

    def _heard(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self.commands.append((message.topic, json.loads(message.payload), message))

    def say(self, *messages: Message) -> None:
        infos = [
            self._client.publish(m.topic, m.payload, qos=m.qos, retain=m.retain) for m in messages
        ]
        for info in infos:
            info.wait_for_publish(90)
            assert info.is_published()

    def raw(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(90)

    def answer(self, message: paho.MQTTMessage, *, ok: bool) -> None:
        properties = paho.Properties(paho.PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        payload = {"v": 1, "verb": "resend", "ok": ok, "detail": "d"}
        self._client.publish(
            message.properties.ResponseTopic, json.dumps(payload), qos=1, properties=properties
        )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def settings_for(port: int, folder: Path, *, url: str = "", extra: str = "") -> Settings:
    """Fast clocks, a free port for the page, a database of its own."""
    url = url or f"sqlite:///{folder / 'fleet.db'}"
    return parse_settings(
        f"""
[store]
url = "{url}"
linger_ms = 20
[mqtt]
port = {port}
retry_max_s = 0.5
name = "m{next(NUMBERS)}"
[page]
port = 0
{extra}
"""
    )


class RunningMonitor:
    """A monitor in a thread of this process."""

    def __init__(self, settings: Settings) -> None:
        self.monitor = Monitor(settings)
        self.subscriptions = 0  # one for each connection, when the broker has granted it
        self._count_subscriptions()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.fault: BaseException | None = None
        self._thread.start()
        wait_for(lambda: self._ready.is_set() or self.fault, what="the monitor to start")
        if self.fault:
            raise self.fault

    def _run(self) -> None:
        try:
            self.monitor.run(ready=self._ready.set)
        except BaseException as error:
            self.fault = error

    def _count_subscriptions(self) -> None:
        """The subscription stands a moment after the connection; the monitor need not know."""
        new_client = self.monitor.subscriber._new_client

        def new_watched_client() -> paho.Client:
            client = new_client()
            client.on_subscribe = self._subscribed
            return client

        self.monitor.subscriber._new_client = new_watched_client  # type: ignore[method-assign]

    def _subscribed(self, *_: Any) -> None:
        self.subscriptions += 1

    def wait_connected(self, times: int = 1) -> RunningMonitor:
        """Until it hears what bins say; `times` counts the connections since its start."""
        wait_for(lambda: self.subscriptions >= times, what="the monitor to subscribe")
        return self

    def scalar(self, sql: str) -> Any:
        """One value by SQL; the test's own look into the database."""
        with self.monitor.database.reading() as db:
            return db.exec_driver_sql(sql).scalar()

    @property
    def url(self) -> str:
        assert self.monitor.server
        return self.monitor.server.address

    def close(self) -> None:
        self.monitor.stop()
        self._thread.join(90)
        assert not self._thread.is_alive()


class PostgresCluster:
    """A server of our own in a temporary folder, on loopback, run by a user that is not root."""

    def __init__(self, *, fsync: bool = False, options: Sequence[str] = ()) -> None:
        assert POSTGRES_BIN
        self._options = options
        self._fsync = "on" if fsync else "off"
        self._folder = Path(tempfile.mkdtemp(prefix="smartbin-pg-"))
        self.port = free_port()
        self._as: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._folder, pwd.getpwnam("postgres").pw_uid)
            self._as = ["runuser", "-u", "postgres", "--"]
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "smartbin", "--no-sync")
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def pid(self) -> int:
        """Of the process whose children do the work."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _run(self, tool: str, *arguments: str) -> None:
        command = [*self._as, str(POSTGRES_BIN / tool), *arguments]  # type: ignore[operator]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=200, cwd="/")

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        options += "".join(f" -c {option}" for option in (f"fsync={self._fsync}", *self._options))
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def database(self, name: str, *options: str) -> str:
        """A fresh database, by createdb's options; its URL as fleet.toml takes it."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "smartbin"]
        self._run("createdb", *where, *options, name)
        return f"postgresql://smartbin@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def postgres(*, fsync: bool = False, options: Sequence[str] = ()) -> Iterator[PostgresCluster]:
    cluster = PostgresCluster(fsync=fsync, options=options)
    try:
        yield cluster
    finally:
        cluster.close()
