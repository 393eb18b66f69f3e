"""What tests share: a tiny network with known answers, a real broker, a running daemon."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin"
MOSQUITTO = shutil.which("mosquitto", path=SEARCH)


def write_picture(path: Path, rgb: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Path:
    """A picture of one colour; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), rgb[::-1], np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def tiny_network() -> bytes:
    """ONNX: mean colour times 12, so that the brightest channel wins; (1,3,32,32) -> (1,3)."""
    import onnx
    from onnx import TensorProto, helper

    weights = onnx.numpy_helper.from_array(12 * np.eye(3, dtype=np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def tiny_card(onnx: bytes) -> dict[str, object]:
    """The JSON beside the tiny network."""
    return {
        "format": 1,
        "version": 3,
        "labels": list(COLOURS),
        "preprocessing": {
            "size_px": 32,
            "mean": [127, 127, 127],
            "std": [128, 128, 128],
            "max_aspect": 1.3334,
        },
        "temperature": 1.0,
        "thresholds": dict.fromkeys(COLOURS, 0.6),
        "min_margin": 0.2,
        "precision": "fp32",
        "sha256": hashlib.sha256(onnx).hexdigest(),
    }


def free_port() -> int:
    """A port that nobody has, and that the kernel gives to no connection meanwhile.

    Below its range for those: above, a client that tries to reach a server not yet up can be
    given the server's own port, and connect to itself.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Mosquitto:
    """Debian's broker on loopback, with lines of configuration of the test's own."""

    running: ClassVar[list[Mosquitto]] = []

    def __init__(self, folder: Path, *extra: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", *extra]
        if not any(line.startswith("allow_anonymous") for line in extra):
            lines.append("allow_anonymous true")
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        assert MOSQUITTO
        log = (self.folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config), "-v"], stdout=log, stderr=log
        )
        Mosquitto.running.append(self)
        wait_for(self._answers, what="mosquitto to listen")
        return self

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def wait_for(condition: Callable[[], object], *, what: str, timeout_s: float = 90.0) -> None:
    """Poll until true; a test that waits in vain says for what.

    The bound is for what never comes. How soon it comes is for a test that is about time.
    """
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.02)


class Listener:
    """mosquitto_sub beside the daemon: an independent client that sees what others see.

    It is made when its subscription stands, of which -d tells, at once where lines are not held
    back in a buffer.
    """

    FORMAT = '{"topic":"%t","qos":%q,"retain":%r,"expiry":"%E","payload":"%x"}'

    def __init__(self, port: int, topic: str = "bins/#", *options: str) -> None:
        tool = shutil.which("mosquitto_sub", path=SEARCH)
        assert tool
        self.rows: list[dict[str, object]] = []
        command = ["stdbuf", "-oL", tool, "-V", "5", "-q", "1", "-d", "-p", str(port)]
        command += ["-t", topic, "-F", self.FORMAT, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_for(self._subscribed.is_set, what="mosquitto_sub to subscribe")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("Subscribed"):
                self._subscribed.set()
            if not line.startswith("{"):  # what -d tells besides
                continue
            row = json.loads(line)
            row["payload"] = _decoded(bytes.fromhex(row["payload"]))
            self.rows.append(row)

    def of(self, name: str) -> list[dict[str, object]]:
        """Messages whose topic ends in /name."""
        return [row for row in self.rows if str(row["topic"]).endswith(f"/{name}")]

    def last(self, name: str) -> dict[str, Any]:
        """The newest payload of a topic that ends in /name, as soon as there is one.

        What another process has seen, this one may hear of later.
        """
        wait_for(lambda: self.of(name), what=f"a message on {name}")
        payload = self.of(name)[-1]["payload"]
        assert isinstance(payload, dict), payload
        return payload

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # mosquitto_sub at times misses its signal
            self._process.kill()
            self._process.wait(60)


def _decoded(payload: bytes) -> object:
    """The JSON of a payload; commands may be empty or broken."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload


class RunningDaemon:
    """`smartbin run`, or another command that takes a config, in a process of its own."""

    def __init__(
        self, config: Path, environment: dict[str, str] | None = None, *, command: str = "run"
    ) -> None:
        self.log_file = config.with_suffix(".log" if command == "run" else f".{command}.log")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", command, "--config", str(config)],
            cwd=ROOT,
            stderr=self.log_file.open("wb"),
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 90.0) -> int:
        return self._process.wait(timeout_s)

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        if self.alive():
            self._process.kill()
            self._process.wait(60)
