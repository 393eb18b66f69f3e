"""A broker for the simulation: Mosquitto where it is installed, else the embedded one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.broker import EmbeddedBroker
from edge.errors import SmartbinError

START_S = 10.0


@contextlib.contextmanager
def some_broker() -> Iterator[tuple[int, str]]:
    """A broker on loopback, as long as the block lasts: its port, and what it is."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program:
        with _mosquitto(program) as port:
            yield port, "mosquitto"
    else:
        with EmbeddedBroker() as broker:
            yield broker.port, "embedded"


@contextlib.contextmanager
def _mosquitto(program: str) -> Iterator[int]:
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="smartbin-broker-") as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        process = subprocess.Popen(
            [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _await(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(5)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SmartbinError("mosquitto does not start on loopback; try it by hand: mosquitto -v")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
