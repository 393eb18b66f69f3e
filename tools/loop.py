"""The closed loop measured: trigger to ack through Mosquitto, and the account of every item.

python -m tools.loop [--items 10000] [--mode broker|local]     latency
python -m tools.loop --chaos [--items 10000] [--out FILE]      redelivery, restarts and kills

All is real but camera and metal: sample stills played as a folder, the shipped student, Mosquitto,
the daemon, the actuator in a process of its own with a simulated device that takes no time; what a
flap or a kicker needs comes on top. Latency is counted by the daemon, on one monotonic clock, from
the trigger (the frame is captured) to the moment at which the ack comes in; the device's own
record and an independent subscriber's are the check in the other mode.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.classify import PictureClassifier
from edge.shipped import samples
from tools.soak import BROKER

ITEMS_PER_S = 20  # twice the fastest belt
DEADLINE_MS = 2000
ACK_MS = 1000
ROOT = "bins/v1/loop/b1"
SETTLE_S = 90.0  # at the end, for the last events
ROUTES = {"cardboard": "a", "glass": "b", "metal": "c", "paper": "d", "plastic": "e"}


@dataclass
class Account:
    """What an independent subscriber with a lasting session was told; written by its thread."""

    decided: dict[str, dict[str, Any]] = field(default_factory=dict)
    movements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by decision
    seqs: dict[str, set[int]] = field(default_factory=dict)  # by boot
    recent: list[bytes] = field(default_factory=list)  # decisions, to be sent again
    duplicates: int = 0

    def take(self, topic: str, payload: bytes) -> None:
        """One message of `event` or `decision`."""
        if topic.endswith("/decision"):
            self.recent = [*self.recent[-200:], payload]
            return
        event = json.loads(payload)
        seen = self.seqs.setdefault(event["boot"], set())
        if event["seq"] in seen:
            self.duplicates += 1
            return
        seen.add(event["seq"])
        if event["type"] == "decision":
            self.decided[event["id"]] = event
        elif event["type"] == "movement":
            self.movements.setdefault(event["decision"], []).append(event)

    @property
    def to_move(self) -> dict[str, dict[str, Any]]:
        """Decisions for which something was to move."""
        return {i: d for i, d in list(self.decided.items()) if d["outcome"] == "sorted"}


class Line:
    """Broker, daemon, actuator and subscriber."""

    def __init__(
        self, folder: Path, *, port: int, mode: str, rate: float, chaos: bool, priority: int
    ) -> None:
        self.folder, self.port, self.mode = folder, port, mode
        self.account = Account()
        self.record = folder / "record"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._config = self._write_config(rate, chaos)
        # Where others work on this machine too, the parts (not this bench) go first.
        self._realtime = ["chrt", "-f", str(priority)] if os.geteuid() == 0 and priority else []
        self._topics = [f"{ROOT}/event"] + ([f"{ROOT}/decision"] if chaos else [])

    def start(self) -> None:
        """In the order in which each is needed."""
        self.start_broker()
        self._subscriber = self._subscribe()
        if self.mode == "broker":
            self.start_part("actuator")
            self._await_log("actuator", "mqtt: connected")
        self.start_part("run")

    def start_broker(self) -> None:
        """Mosquitto, with what it keeps for sessions on the disk."""
        conf = self.folder / "mosquitto.conf"
        conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {self.folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            "max_queued_messages 0\n"
        )
        assert BROKER
        log = (self.folder / "mosquitto.log").open("ab")
        command = [*self._realtime, BROKER, "-c", str(conf)]
        self._processes["broker"] = subprocess.Popen(command, stdout=log, stderr=log)

    def start_part(self, part: str) -> None:
        """`run` or `actuator`."""
        command = [sys.executable, "-m", "edge.cli", part, "--config", str(self._config)]
        command = [*self._realtime, *command]
        log = (self.folder / f"{part}.log").open("ab")
        self._processes[part] = subprocess.Popen(command, stderr=log)

    def end(self, part: str, number: signal.Signals) -> None:
        """End a part by a signal, and wait for it."""
        process = self._processes[part]
        process.send_signal(number)
        process.wait(15)

    def log(self, part: str) -> str:
        """What it has said so far."""
        return (self.folder / f"{part}.log").read_text()

    def moved(self) -> list[tuple[float, str]]:
        """Time and id of every movement, as the device itself wrote them down."""
        if not self.record.exists():
            return []
        rows = [row.split() for row in self.record.read_text().splitlines()]
        return [(float(ts), id) for ts, id, _ in rows]

    def replay(self, rng: random.Random, count: int) -> None:
        """Send decisions of a moment ago again, in any order."""
        for payload in rng.sample(self.account.recent, min(count, len(self.account.recent))):
            self._subscriber.publish(f"{ROOT}/decision", payload, qos=1)

    def close(self) -> None:
        """End whatever still runs."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        with contextlib.suppress(AttributeError):
            self._subscriber.loop_stop()

    def _await_log(self, part: str, text: str) -> None:
        until_s = time.monotonic() + 20
        while text not in self.log(part):
            if time.monotonic() > until_s:
                raise SystemExit(f"{part} did not say {text!r}: {self.log(part)[-1000:]}")
            time.sleep(0.05)

    def _subscribe(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="loop-counter", protocol=paho.MQTTv5
        )
        wanted = [(topic, 1) for topic in self._topics]
        client.on_connect = lambda c, *_: c.subscribe(wanted)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _d, m: self.account.take(m.topic, m.payload)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 86400
        client.reconnect_delay_set(1, 2)
        client.connect_async("127.0.0.1", self.port, 10, clean_start=False, properties=session)
        client.loop_start()
        if not subscribed.wait(30):
            raise SystemExit("the counting subscriber is not let in by the broker")
        return client

    def _write_config(self, rate: float, chaos: bool) -> Path:
        stills = self.folder / "stills"
        stills.mkdir()
        for number, picture in enumerate(sorted_stills()):
            shutil.copy(picture, stills / f"{number:02d}-{picture.name}")
        routes = "\n".join(f'{label} = "{route}"' for label, route in ROUTES.items())
        served = ", ".join(f"{route} = 1" for route in ROUTES.values())
        path = self.folder / "config.toml"
        path.write_text(
            f'[site]\nsite = "loop"\nbin = "b1"\n[camera]\nsource = "folder:{stills}"\n'
            f'fps = {rate}\nrepeat = true\n[trigger]\nkind = "frame"\n'
            f"[decision]\ndeadline_ms = {DEADLINE_MS}\n"
            f'[routes]\nsafe = "rest"\n[routes.by_class]\n{routes}\n'
            f"[mqtt]\nport = {self.port}\nretry_max_s = {1 if chaos else 60}\nkeepalive_s = 5\n"
            f'[outbox]\npath = "{self.folder}/outbox.db"\nreplay_per_s = 400\n'
            f'[log]\nlevel = "{"info" if chaos else "warning"}"\n'.replace("warning", "info")
            + f'[actuator]\nmode = "{self.mode}"\nack_ms = {ACK_MS}\nfailures = 1000\n'
            f'ledger = "{self.folder}/moves.journal"\n'
            f'[actuator.devices.flap]\nkind = "simulated"\nroutes = {{ {served} }}\ntravel_s = 0\n'
            f'dwell_s = 0\ncool_down_s = 0\nper_min = 6000\nrecord = "{self.record}"\n'
        )
        return path


def sorted_stills() -> list[Path]:
    """The sample stills that the shipped student sorts, so that every item moves something."""
    classifier = PictureClassifier(None)
    stills = sorted((samples() / "stills").glob("*.jpg"))
    good = [
        p
        for p in stills
        if (row := classifier.classify(p))["outcome"] == "sorted" and row["label"] in ROUTES
    ]
    assert good, "the student sorts none of its own samples"
    return good


def latency(line: Line, items: int) -> str:
    """Run until so many items were acknowledged; returns the table."""
    line.start()
    _until(line, items)
    line.end("run", signal.SIGTERM)
    _settle(line, lambda: len(line.account.movements) >= len(line.account.to_move))
    told = [m for ms in line.account.movements.values() for m in ms]
    results = Counter(m["result"] for m in told)
    first = [line.account.movements[i][0] for i in line.account.to_move][:items]
    done = np.array([m["waited_ms"] for m in first if m["result"] == "done"])
    p50, p99 = np.percentile(done, (50, 99))
    to_decision = np.array([d["latency_ms"] for d in line.account.to_move.values()][:items])
    over = int((done > 60).sum())
    rows = {
        "items acknowledged `done`": f"{len(done)} of {len(first)} "
        f"({', '.join(f'{k} {v}' for k, v in sorted(results.items()))})",
        "trigger to ack, p50 / p99 / worst": f"{p50:.2f} / {p99:.2f} / {done.max():.1f} ms",
        "over 60 ms": str(over),
        "of these to the decision, p50 / p99 / worst": f"{np.median(to_decision):.2f} / "
        f"{np.percentile(to_decision, 99):.2f} / {to_decision.max():.1f} ms",
        "in the actuator, p50 / p99": "{:.2f} / {:.2f} ms".format(
            *np.percentile([m["ms"] for m in first if m["ms"] is not None], (50, 99))
        ),
    }
    return _table(rows)


def chaos(line: Line, items: int, seed: int) -> str:
    """Run so many items while everything that can happen does; raises SystemExit(1) on a fault."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    stop = threading.Event()
    line.start()
    trouble = threading.Thread(target=_trouble, args=(line, rng, counts, stop), daemon=True)
    trouble.start()
    _until(line, items)
    stop.set()
    trouble.join(30)
    line.end("run", signal.SIGTERM)
    line.start_part("run")  # sends what the last one left in its outbox
    time.sleep(3)
    line.end("run", signal.SIGTERM)
    _settle(line, lambda: not _unaccounted(line))
    return _verdict(line, counts)


def _trouble(line: Line, rng: random.Random, counts: Counter[str], stop: threading.Event) -> None:
    """Replays all the time, and one kill or restart after the other."""
    next_s = time.monotonic() + 5
    while not stop.wait(0.2):
        line.replay(rng, rng.randint(1, 6))
        counts["decisions sent again"] += 1
        if time.monotonic() < next_s:
            continue
        kind = rng.choice(("daemon killed", "actuator killed", "broker restarted"))
        counts[kind] += 1
        if kind == "broker restarted":
            line.end("broker", signal.SIGTERM)
            stop.wait(rng.uniform(0.1, 3))
            line.start_broker()
        else:
            part = "run" if kind == "daemon killed" else "actuator"
            line.end(part, signal.SIGKILL)
            stop.wait(rng.uniform(0, 2))
            line.start_part(part)
        next_s = time.monotonic() + rng.uniform(4, 10)


def _unaccounted(line: Line) -> list[str]:
    """Gaps in the numbers of any boot, and movements without an event of their decision."""
    gaps = [
        f"{boot}: {sorted(set(range(1, max(seqs) + 1)) - seqs)[:5]}"
        for boot, seqs in line.account.seqs.items()
        if len(seqs) != max(seqs)
    ]
    orphans = {id for _, id in line.moved()} - set(line.account.decided)
    return gaps + [f"movement for {id} without its decision" for id in sorted(orphans)[:5]]


def _verdict(line: Line, counts: Counter[str]) -> str:
    account, moved = line.account, line.moved()
    times = Counter(id for _, id in moved)
    double = [id for id, count in times.items() if count > 1]
    expired = [
        id for ts, id in moved if id in account.decided and ts > _expiry_ts(account.decided[id])
    ]
    wrong = [id for _, id in moved if account.decided.get(id, {}).get("outcome") != "sorted"]
    results = Counter(_outcome(account, id) for id in account.to_move)
    unaccounted = _unaccounted(line)
    rows = {
        "items decided": str(len(account.decided)),
        "of these to be moved": str(len(account.to_move)),
        "faults": ", ".join(f"{k} {v}" for k, v in sorted(counts.items())),
        "movements, by the device's own record": str(len(moved)),
        "double movements": str(len(double)),
        "movements for an expired decision": str(len(expired)),
        "movements for anything but `sorted`": str(len(wrong)),
        "outcome of the items": ", ".join(f"{k} {v}" for k, v in sorted(results.items())),
        "items or events unaccounted for": str(len(unaccounted)),
        "events delivered twice (by id)": str(account.duplicates),
    }
    table = _table(rows)
    if double or expired or wrong or unaccounted:
        kept = Path(tempfile.mkdtemp(prefix="smartbin-loop-"))
        shutil.copytree(line.folder, kept, dirs_exist_ok=True)
        print(f"{table}\n{unaccounted}\n{double[:5]} {expired[:5]}; everything lies in {kept}")
        raise SystemExit(1)
    return table


def _expiry_ts(decision: dict[str, Any]) -> float:
    # The stamps are rounded to a millisecond.
    return float(decision["decided_ts"] + decision["expires_ms"] / 1000 + 0.002)


def _outcome(account: Account, id: str) -> str:
    """The last word on a movement; none where the daemon died before it could be said."""
    told = account.movements.get(id)
    return told[-1]["result"] if told else "killed before the ack"


def _until(line: Line, items: int) -> None:
    """Wait until so many decisions came as events."""
    last, last_s = 0, time.monotonic()
    while (count := len(line.account.to_move)) < items:
        time.sleep(0.2)
        if count > last:
            last, last_s = count, time.monotonic()
        if time.monotonic() - last_s > 60:
            raise SystemExit(f"stuck at {count} items: {line.log('run')[-1500:]}")
        if sys.stderr.isatty():
            print(f"\r{count:6d} of {items} items", end="", file=sys.stderr)


def _settle(line: Line, complete: Any) -> None:
    until_s = time.monotonic() + SETTLE_S
    while not complete() and time.monotonic() < until_s:
        time.sleep(0.2)


def _table(rows: dict[str, str]) -> str:
    body = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"| what | measured |\n|---|---|\n{body}\n"


@contextlib.contextmanager
def a_line(
    *,
    port: int,
    mode: str = "broker",
    rate: float = ITEMS_PER_S,
    chaos: bool = False,
    priority: int = 0,
) -> Iterator[Line]:
    """A line in a folder of its own, ended whatever happens."""
    memory = Path("/dev/shm")  # the loop is measured, not the disk that others use too
    parent = memory if memory.is_dir() and "TMPDIR" not in os.environ else None
    with tempfile.TemporaryDirectory(prefix="smartbin-loop-", dir=parent) as folder:
        line = Line(Path(folder), port=port, mode=mode, rate=rate, chaos=chaos, priority=priority)
        try:
            yield line
        finally:
            line.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--mode", choices=("broker", "local"), default="broker")
    parser.add_argument("--chaos", action="store_true")
    parser.add_argument("--rate", type=float, default=ITEMS_PER_S, help="items a second")
    parser.add_argument("--port", type=int, default=18851)
    parser.add_argument(
        "--priority", type=int, default=10, help="chrt -f of the parts, as root; 0: none"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the table there")
    given = parser.parse_args()
    if BROKER is None:
        sys.exit("mosquitto is not installed; run: sudo apt-get install mosquitto")
    with a_line(
        port=given.port,
        mode=given.mode,
        rate=given.rate,
        chaos=given.chaos,
        priority=given.priority,
    ) as line:
        run = chaos(line, given.items, given.seed) if given.chaos else latency(line, given.items)
    print(run)
    if given.out:
        given.out.write_text(
            f"Written by `python -m tools.loop {' '.join(sys.argv[1:])}`.\n\n{run}"
        )


if __name__ == "__main__":
    main()
