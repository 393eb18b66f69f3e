"""The whole path, JPEG or raw frame to a message that a subscriber has: ours and a tutorial's.

The tutorial's script is written here as most of them write it: cv2.imdecode, rembg's remove, a
PIL-like resize and normalisation in float, onnxruntime with its defaults, paho's publish.
"""

from __future__ import annotations

import json
import os
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.brokers import Broker
from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.config import Config
from edge.decide import Routes, Rules
from edge.judge import Judge
from edge.mqtt import Link
from edge.outbox import Outbox
from edge.pictures import decode_picture
from edge.postman import Postman
from edge.reporter import Reporter
from edge.segmenters.whole import WholeFrame
from edge.shipped import samples, shipped
from edge.values import Decision, Frame, Item, Message, Pixels
from edge.wire import Origin, Topics
from tests.harness import Mosquitto
from tools.bench.timing import Spent, allocated, interleaved

TOPIC = "bins/v1/bench/b1/decision"
WAIT_S = 10.0
REST_S = 0.04  # onnxruntime's threads spin on after a run, and would take the next way's core
OURS, JPEG, RAW = "ours", "JPEG 512x384", "raw 1280x720"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to get from a picture to a message."""

    name: str
    spent: Spent
    peak_mb: float  # Python and numpy memory of one decision


class Ears:
    """A subscriber that says when a message has arrived."""

    def __init__(self, port: int) -> None:
        self._heard: queue.Queue[bytes] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda client, data, message: self._heard.put(message.payload)
        ready: queue.Queue[bool] = queue.Queue()
        self._client.on_subscribe = lambda *_: ready.put(True)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(TOPIC, qos=1)
        self._client.loop_start()
        ready.get(timeout=WAIT_S)

    def wait(self) -> bytes:
        return self._heard.get(timeout=WAIT_S)

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


class Ours:
    """The daemon's own steps, outbox on the disk included."""

    def __init__(self, port: int, folder: Path) -> None:
        bundle = load_bundle(shipped("models/student.int8.onnx"))
        rules = Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.6)
        routes = Routes("rest", {label: label for label in bundle.labels})
        deadline_s = Config().decision.deadline_ms / 1000
        self._judge = Judge(
            segmenter=WholeFrame(),
            classifier=Classifier(bundle),
            rules=rules,
            routes=routes,
            deadline_s=deadline_s,
        )
        origin = Origin(Topics("bench", "b1"), "0" * 12, bundle.model_id, "bench")
        outbox = Outbox(folder / "outbox.db", max_bytes=10**8, max_days=1)
        postman = Postman(outbox, per_s=1000)
        self._link = Link(
            broker=Broker("127.0.0.1", port), client_id="ours", on_ack=postman.acknowledge
        )
        self._link.start()
        until_s = time.monotonic() + WAIT_S
        while not self._link.connected and time.monotonic() < until_s:
            time.sleep(0.01)
        self._reporter = Reporter(
            origin=origin, link=self._link, outbox=outbox, postman=postman, deadline_s=deadline_s
        )
        self._seq = 0

    def decide(self, pixels: Pixels) -> None:
        self._seq += 1
        now_s = time.monotonic()
        item = Item((Frame(pixels, now_s, self._seq),), now_s, "bench")
        self._reporter.report(item, self._judge.judge(item), obey=_no_device)

    def close(self) -> None:
        self._link.stop()


def _no_device(_decision: Decision, _message: Message) -> None:
    """No actuator hangs on this board."""


class Tutorial:
    """A plain script with a network for (1, 3, 224, 224) float32; `session` of rembg, or None.

    `threads` 0 is onnxruntime's default, one for each core of the machine, which spin.
    """

    def __init__(self, port: int, network: bytes, session: Any, *, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session, self._rembg = ort.InferenceSession(network, options), session
        self._labels = load_bundle(shipped("models/student.fp32.onnx")).labels
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def decide(self, bgr: Pixels) -> None:
        if self._rembg is not None:
            from rembg import remove

            cut = remove(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), session=self._rembg)
            rgb = np.asarray(cut)[..., :3]
        else:
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        resized = cv2.resize(rgb, (224, 224))
        x = (resized.astype(np.float32) - 127.0) / 128.0
        x = np.expand_dims(np.transpose(x, (2, 0, 1)), 0)
        logits = self._session.run(None, {self._session.get_inputs()[0].name: x})[0][0]
        probs = np.exp(logits - logits.max())
        probs /= probs.sum()
        best = int(np.argmax(probs))
        told = {"label": self._labels[best], "confidence": float(probs[best]), "ts": time.time()}
        self._client.publish(TOPIC, json.dumps(told), qos=1)

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


def _plain_network() -> bytes:
    """Our fp32 student as a tutorial has one: (1, 3, 224, 224) float32."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(load_bundle(shipped("models/student.fp32.onnx")).onnx)
    # Floats come normalised: undo our own input steps by putting their inverse before them.
    graph = model.graph
    graph.input[0].name = "bytes_in"
    for node in graph.node:
        node.input[:] = ["bytes_f" if name == "pixels" else name for name in node.input]
    for node in graph.node:
        if node.op_type == "Cast":
            node.op_type = "Identity"
            del node.attribute[:]
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(128), "back_scale"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(127), "back_shift"))
    steps = [
        helper.make_node("Transpose", ["float_in"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["nhwc", "back_scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "back_shift"], ["bytes_f"]),
    ]
    for at, node in enumerate(steps):
        graph.node.insert(at, node)
    del graph.input[:]
    shape = [1, 3, 224, 224]
    graph.input.append(helper.make_tensor_value_info("float_in", TensorProto.FLOAT, shape))
    del graph.value_info[:]
    return bytes(model.SerializeToString())


@contextmanager
def _broker() -> Iterator[tuple[int, Path]]:
    with tempfile.TemporaryDirectory(prefix="smartbin-bench-") as name:
        broker = Mosquitto(Path(name)).start()
        try:
            yield broker.port, Path(name)
        finally:
            broker.stop()


def rembg_session(threads: int) -> Any:
    """rembg's u2netp, or None where rembg or its weights cannot be had."""
    try:
        import onnxruntime as ort
        from rembg import new_session

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        return new_session("u2netp", sess_opts=options)
    except Exception as error:
        print(f"rembg u2netp: not here ({type(error).__name__}); its row is left out")
        return None


def on_one_core(rounds: int, lite0: Path | None = None) -> list[Row]:
    """As `whole_path`, with one core for everything but the broker.

    A script's network gets the one thread that its default would be on a machine with one core.
    By default here it takes a thread for each core, and sets their cores by itself: to pin the
    process would not hold them.
    """
    allowed = os.sched_getaffinity(0)
    with _broker() as (port, folder):
        os.sched_setaffinity(0, {min(allowed)})  # threads that begin from here on inherit it
        try:
            return _ways(port, folder, rounds, lite0, threads=1)
        finally:
            os.sched_setaffinity(0, allowed)


def whole_path(rounds: int, lite0: Path | None = None) -> list[Row]:
    """Every way, interleaved in one run, to the arrival of its message.

    `lite0` is EfficientNet-Lite0 as fp32 ONNX, what a tutorial takes instead of our student.
    """
    with _broker() as (port, folder):
        return _ways(port, folder, rounds, lite0, threads=0)


def _ways(port: int, folder: Path, rounds: int, lite0: Path | None, *, threads: int) -> list[Row]:
    jpeg = (samples() / "stills" / "can_wood.jpg").read_bytes()
    raw = cv2.resize(decode_picture(jpeg, name="sample"), (1280, 720))
    bgr = np.ascontiguousarray(raw[..., ::-1])
    session = rembg_session(threads) if os.environ.get("U2NET_HOME") else None
    student = _plain_network()
    networks = {"our student": student} | ({"Lite0": lite0.read_bytes()} if lite0 else {})
    with ExitStack() as ending:
        ears, ours = ending.enter_context(closing(Ears(port))), Ours(port, folder)
        ending.enter_context(closing(ours))
        ways: dict[str, Callable[[], None]] = {
            f"{OURS}, {JPEG}": lambda: ours.decide(decode_picture(jpeg, name="x")),
            f"{OURS}, {RAW}": lambda: ours.decide(raw),
        }
        for name, network in networks.items():
            plain = ending.enter_context(closing(Tutorial(port, network, None, threads=threads)))
            ways[f"script with {name}, {JPEG}"] = lambda p=plain: p.decide(_decoded(jpeg))
            ways[f"script with {name}, {RAW}"] = lambda p=plain: p.decide(bgr)
        if session is not None:
            for name, network in networks.items():
                cut = ending.enter_context(
                    closing(Tutorial(port, network, session, threads=threads))
                )
                way = f"script with rembg u2netp and {name}, {JPEG}"
                ways[way] = lambda c=cut: c.decide(_decoded(jpeg))
        told = {name: _heard(step, ears) for name, step in ways.items()}
        fast = {name: step for name, step in told.items() if "rembg" not in name}
        spent = interleaved(fast, rounds=rounds, rest_s=REST_S)
        # Fewer rounds of all, so that rembg's rows stand in the same minutes as the others.
        few = interleaved(told, rounds=max(10, rounds // 10), warm=2, rest_s=REST_S)
        spent |= {name: few[name] for name in told if name not in fast}
        return [Row(name, spent[name], allocated(told[name])[0]) for name in told]


def _decoded(jpeg: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def _heard(step: Callable[[], None], ears: Ears) -> Callable[[], None]:
    def until_heard() -> None:
        step()
        ears.wait()

    return until_heard
