"""Soak: the daemon at 20 items a second for a set time, with camera, broker and disk faults.

python -m tools.soak --minutes 60 --out docs/soak.md

Everything is real but the camera, which is the folder of sample frames: Mosquitto, the outbox on a
small file system that fills up now and then (as root; else that fault is left out, and said), the
capture process that is killed, the broker that is stopped, frozen and restarted. An independent
subscriber with a persistent session counts what arrives.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.shipped import samples

ITEMS_PER_S = 20
SAMPLE_EVERY_S = 5.0
WARM_UP_SHARE = 0.2  # of the time; what a process allocates at first is no leak
SETTLE_S = 60.0  # at the end, for the last events to arrive
DISK_KB = 2048
BROKER = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


@dataclass
class Tally:
    """What the subscriber got; written by paho's thread, read after it has ended."""

    seqs: dict[str, set[int]] = field(default_factory=dict)  # by boot
    duplicates: int = 0

    def take(self, payload: bytes) -> None:
        event = json.loads(payload)
        seen = self.seqs.setdefault(event["boot"], set())
        self.duplicates += event["seq"] in seen
        seen.add(event["seq"])


@dataclass(frozen=True)
class Sample:
    """The daemon's own process at one time."""

    at_s: float
    rss_mb: float
    handles: int
    threads: int


class Bench:
    """Broker, daemon and subscriber, and the faults that may befall them."""

    def __init__(self, folder: Path, port: int, seed: int) -> None:
        self.folder, self.port = folder, port
        self.random = random.Random(seed)
        self.faults: dict[str, int] = {}
        self.tally = Tally()
        self.disk = folder / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(self.disk)]
        self.mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
        self.broker: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.log = folder / "daemon.log"

    def start(self) -> None:
        self.start_broker()
        self.subscriber = self._subscribe()
        command = [sys.executable, "-m", "edge.cli", "run", "--config", str(self._config())]
        self.daemon = subprocess.Popen(command, stderr=self.log.open("wb"))

    def start_broker(self) -> None:
        conf = self.folder / "mosquitto.conf"
        conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {self.folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            "max_queued_messages 0\n"
        )
        assert BROKER
        log = (self.folder / "mosquitto.log").open("ab")
        self.broker = subprocess.Popen([BROKER, "-c", str(conf)], stdout=log, stderr=log)

    def stop_broker(self) -> None:
        assert self.broker
        self.broker.terminate()
        self.broker.wait(10)

    def close(self) -> None:
        for process in (self.daemon, self.broker):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)

    def inject(self, stop: threading.Event) -> None:
        """One fault after the other at random until stopped."""
        kinds: dict[str, Callable[[threading.Event], None]] = {
            "capture process killed": self._kill_capture,
            "broker restarted": self._restart_broker,
            "broker frozen": self._freeze_broker,
        }
        if self.mounted:
            kinds["disk full"] = self._fill_disk
        while not stop.wait(self.random.uniform(8, 25)):
            kind = self.random.choice(sorted(kinds))
            kinds[kind](stop)
            self.faults[kind] = self.faults.get(kind, 0) + 1

    def _kill_capture(self, _stop: threading.Event) -> None:
        assert self.daemon
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text()
        for child in children.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def _restart_broker(self, stop: threading.Event) -> None:
        self.stop_broker()
        stop.wait(self.random.uniform(0.5, 8))
        self.start_broker()

    def _freeze_broker(self, stop: threading.Event) -> None:
        assert self.broker
        self.broker.send_signal(signal.SIGSTOP)
        stop.wait(self.random.uniform(0.5, 5))
        self.broker.send_signal(signal.SIGCONT)

    def _fill_disk(self, stop: threading.Event) -> None:
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 1024)
        stop.wait(self.random.uniform(2, 10))
        filler.unlink()

    def _subscribe(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="soak-counter", protocol=paho.MQTTv5
        )
        client.on_connect = lambda c, *_: c.subscribe("bins/v1/soak/+/event", qos=1)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _d, message: self.tally.take(message.payload)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 86400
        client.reconnect_delay_set(1, 2)
        client.connect_async("127.0.0.1", self.port, 10, clean_start=False, properties=session)
        client.loop_start()
        if not subscribed.wait(30):
            raise SystemExit("the counting subscriber is not let in by the broker")
        return client

    def _config(self) -> Path:
        path = self.folder / "config.toml"
        path.write_text(
            f'[site]\nsite = "soak"\nbin = "b1"\n'
            f'[camera]\nsource = "folder:{samples() / "stills"}"\nfps = {ITEMS_PER_S}\n'
            f'repeat = true\n[trigger]\nkind = "frame"\n'
            f"[mqtt]\nport = {self.port}\nretry_max_s = 3\nkeepalive_s = 5\n"
            f'[outbox]\npath = "{self.disk / "outbox.db"}"\nreplay_per_s = 200\n'
            "[health]\ninterval_s = 10\n"
        )
        return path


def measure(pid: int, started_s: float) -> Sample:
    """One look at a process (proc(5))."""
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text().split()[1])
    threads = int(re.search(r"Threads:\s+(\d+)", (proc / "status").read_text())[1])  # type: ignore[index]
    rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    handles = len(list((proc / "fd").iterdir()))
    return Sample(time.monotonic() - started_s, rss_mb, handles, threads)


def soak(minutes: float, port: int, seed: int) -> str:
    """Run it and return the table; raises SystemExit(1) where an event was lost."""
    with tempfile.TemporaryDirectory(prefix="smartbin-soak-") as folder:
        bench = Bench(Path(folder), port, seed)
        try:
            bench.start()
            wait_s = minutes * 60
            taken = list(_samples(bench, wait_s))
            return _finish(bench, taken, minutes)
        finally:
            bench.close()


def _samples(bench: Bench, wait_s: float) -> Iterator[Sample]:
    assert bench.daemon
    stop = threading.Event()
    trouble = threading.Thread(target=bench.inject, args=(stop,), daemon=True)
    started_s = time.monotonic()
    trouble.start()
    try:
        while time.monotonic() - started_s < wait_s:
            time.sleep(SAMPLE_EVERY_S)
            if bench.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended: {bench.log.read_text()[-2000:]}")
            yield measure(bench.daemon.pid, started_s)
            if sys.stderr.isatty():
                left_s = wait_s - (time.monotonic() - started_s)
                print(f"\r{left_s:6.0f} s left, faults {bench.faults}", end="", file=sys.stderr)
    finally:
        stop.set()
        trouble.join(20)


def _finish(bench: Bench, taken: list[Sample], minutes: float) -> str:
    assert bench.daemon
    bench.daemon.send_signal(signal.SIGTERM)
    code = bench.daemon.wait(15)
    log = bench.log.read_text()
    decided = [int(n) for n in re.findall(r" item (\d+)", log)]
    # The last seq is that of the state `stopped`, one behind what the log numbers.
    expected = set(decided)
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        if all(expected <= seqs for seqs in bench.tally.seqs.values()) and bench.tally.seqs:
            break
        _drain_leftovers(bench)
        time.sleep(0.5)
    bench.subscriber.disconnect()
    bench.subscriber.loop_stop()
    (received,) = bench.tally.seqs.values()
    lost = expected - received
    table = _table(bench, taken, minutes, len(decided), len(lost), code)
    if lost or code:
        kept = Path(tempfile.gettempdir()) / "smartbin-soak-daemon.log"
        kept.write_text(log)
        print(f"{table}\nlost: {sorted(lost)[:50]}; the daemon's log: {kept}")
        raise SystemExit(1)
    return table


def _drain_leftovers(bench: Bench) -> None:
    """What the daemon had no time to send lies in its outbox; the next start would send it."""
    from edge.store import Store

    store = Store(bench.disk / "outbox.db")
    for row in store.first([], 10**6):
        bench.tally.take(row.payload)
    store.close()


def _table(
    bench: Bench, taken: list[Sample], minutes: float, decided: int, lost: int, code: int
) -> str:
    warm = [s for s in taken if s.at_s > minutes * 60 * WARM_UP_SHARE]
    hours = np.array([s.at_s for s in warm]) / 3600
    slope = float(np.polyfit(hours, [s.rss_mb for s in warm], 1)[0]) if len(warm) > 2 else 0.0
    rows = {
        "minutes": f"{minutes:g}",
        "decisions": f"{decided} ({decided / minutes / 60:.1f} a second)",
        "faults injected": ", ".join(f"{k} {v}" for k, v in sorted(bench.faults.items())),
        "events lost": str(lost),
        "duplicates (by id)": str(bench.tally.duplicates),
        "RSS after warm-up, first and last": f"{warm[0].rss_mb:.1f} and {warm[-1].rss_mb:.1f} MB",
        "RSS slope after warm-up": f"{slope:+.2f} MB an hour",
        "handles, least and most": f"{min(s.handles for s in warm)}, "
        f"{max(s.handles for s in warm)}; last {warm[-1].handles}",
        "threads, least and most": f"{min(s.threads for s in warm)}, "
        f"{max(s.threads for s in warm)}",
        "exit code": str(code),
    }
    body = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    left_out = "" if bench.mounted else "\nThe disk faults need root and were left out.\n"
    return f"| what | measured |\n|---|---|\n{body}\n{left_out}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--port", type=int, default=18831)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the table there")
    arguments = parser.parse_args()
    if BROKER is None:
        sys.exit("mosquitto is not installed; run: sudo apt-get install mosquitto")
    table = soak(arguments.minutes, arguments.port, arguments.seed)
    print(table)
    if arguments.out:
        command = f"python -m tools.soak --minutes {arguments.minutes:g} --seed {arguments.seed}"
        arguments.out.write_text(f"# Soak\nWritten by `{command}`.\n\n{table}")


if __name__ == "__main__":
    main()
