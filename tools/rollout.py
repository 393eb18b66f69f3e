"""A worse model is released to a fleet: python -m tools.rollout [--bins 20] [--shadow 40]

Real parts: Mosquitto, a TUF repository on a web server, the shipped student, each bin's own store
and updater, and the controller of `smartbin rollout`. The worse model is the shipped network with
its last layer fitted anew to the sample frames, 20 % of their labels shuffled; then a repaired one
is released. With --shadow 0 nothing on the bins looks at real items before the swap, and the
controller sees only what the canaries abstain on: a model that is wrong and sure of it goes
through, which is why shadow is on by default.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edge.brokers import Broker
from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.judge import Verdict
from edge.mqtt import Link
from edge.pictures import read_picture
from edge.shipped import samples, shipped
from edge.update.controller import Rollout, Stage
from edge.update.keeper import Address, ModelKeeper
from edge.update.rollout import Ruling, chosen
from edge.update.store import ModelStore
from edge.update.updater import Plan, note_body
from edge.values import Crop, Decision, Pixels
from edge.wire import (
    Origin,
    Stamp,
    Topics,
    decision_payload,
    event_message,
    record_message,
)
from tests.harness import Mosquitto
from trainer.release import Keys, TufRepository

NAME = "student.fp32"
SHUFFLED = 0.2
RIDGE = 0.05  # of the features' variance
ITEM_S = 0.2  # between two items of a bin


class SimulatedBin:
    """One bin's models, link and record, without a camera: items come from a list of pictures."""

    def __init__(
        self,
        number: int,
        *,
        broker: Broker,
        address: Address,
        folder: Path,
        plan: Plan,
        fallback: Callable[[], Bundle],
        pictures: Sequence[Pixels],
    ) -> None:
        self.name = address.bin
        self.ran: set[int] = set()  # versions that decided an item
        self.phases: list[tuple[str, int | None, str]] = []
        self._pictures, self._number, self._seq = pictures, number, 0
        self._keeper = ModelKeeper(
            store=ModelStore(folder), fallback=fallback, address=address, plan=plan, judge=judge
        )
        self._classifier = Classifier(self._keeper.bundle)
        topics = Topics(address.site, address.bin)
        model = self._keeper.bundle.model_id
        self._origin = Origin(topics, f"{number:012x}", model, "simulated")
        self._link = Link(
            broker=broker,
            client_id=f"smartbin/{address.site}/{address.bin}",
            subscriptions=(self._keeper.topic,),
            on_message=self._keeper.hear,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._link.start()
        self._keeper.start(self._classifier)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._keeper.close()
        self._link.stop(None, timeout_s=1)

    @property
    def version(self) -> int:
        return self._keeper.bundle.version

    def _work(self) -> None:
        dice = np.random.default_rng(self._number)
        while not self._stop.wait(ITEM_S * float(dice.uniform(0.5, 1.5))):
            self._item(self._pictures[int(dice.integers(len(self._pictures)))])
            self._keeper.ready()
            swap = self._keeper.swap()
            if swap:
                self._classifier = swap.classifier
                self._origin = dataclasses.replace(self._origin, model=swap.bundle.model_id)
            for note in self._keeper.notes():
                self.phases.append((note.phase, note.version, note.reason))
                self._record("model", note_body(note))

    def _item(self, pixels: Pixels) -> None:
        bundle = self._keeper.bundle
        decision = judge(bundle, self._classifier, [pixels])
        self.ran.add(bundle.version)
        self._seq += 1
        now = time.time()
        stamp = Stamp(self._seq, "simulated", now, now, now, 2.0, 2000, "none", True)
        payload = decision_payload(self._origin, decision, stamp)
        self._link.publish(event_message(self._origin.topics, payload))
        height, width = pixels.shape[:2]
        crop = Crop(pixels, (0, 0, width, height))
        self._keeper.see(Verdict(decision, now, now, now, "none", crops=(crop,)))

    def _record(self, kind: str, body: dict[str, object]) -> None:
        self._seq += 1
        message = record_message(
            self._origin, kind, body, seq=self._seq, ts=time.time(), clock_synced=True
        )
        self._link.publish(message)


def judge(bundle: Bundle, classifier: Classifier, crops: Sequence[Pixels]) -> Decision:
    """One vote a crop, by the bundle's own rules."""
    rules = Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.0)
    routes = Routes("rest", {label: label for label in bundle.labels})
    return decide([classifier.classify(pixels) for pixels in crops], rules=rules, routes=routes)


def refitted(bundle: Bundle, pictures: Sequence[Pixels], truth: Sequence[int]) -> bytes:
    """The network with its last layer fitted to these labels by least squares."""
    from trainer.gradcam import ending, expose

    model = onnx.load_from_string(bundle.onnx)
    place, weights, _ = ending(model, bundle.model_id)
    from edge.preprocess import network_input
    from edge.runtime import Runtime

    trunk = Runtime(expose(model, place), name="trunk")
    features = np.stack(
        [
            trunk.run(network_input(p, bundle.preprocessing, takes_bytes=trunk.takes_bytes))[
                0
            ].mean((1, 2))
            for p in pictures
        ]
    )
    wanted = 6 * np.eye(len(bundle.labels))[list(truth)] - 1  # logits as sure as the shipped ones
    mean = features.mean(0)
    centred = features - mean
    # Ridge: strong enough that 30 frames do not fit their wrong labels by heart.
    spread = centred.T @ centred + RIDGE * np.trace(centred @ centred.T) * np.eye(len(mean))
    fitted = np.linalg.solve(spread, centred.T @ (wanted - wanted.mean(0)))
    bias = wanted.mean(0) - mean @ fitted
    for init in model.graph.initializer:
        held = numpy_helper.to_array(init)
        if held.shape == weights.shape and np.allclose(held, weights):
            init.CopyFrom(numpy_helper.from_array(fitted.T.astype(np.float32), init.name))
        elif held.shape == weights.shape[::-1] and np.allclose(held, weights.T):
            init.CopyFrom(numpy_helper.from_array(fitted.astype(np.float32), init.name))
        elif held.shape == (len(bundle.labels),):
            init.CopyFrom(numpy_helper.from_array(bias.astype(np.float32), init.name))
    return bytes(model.SerializeToString())


def write_version(folder: Path, bundle: Bundle, network: bytes, version: int) -> Path:
    """A bundle with another network and version, and the card of the one it came from."""
    path = folder / str(version) / f"{NAME}.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(network)
    card = {
        **bundle.card,
        "version": version,
        "sha256": hashlib.sha256(network).hexdigest(),
        "bytes": len(network),
    }
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def stills() -> tuple[list[Pixels], list[str]]:
    """The sample frames and what they show."""
    content = json.loads((samples() / "samples.json").read_text("utf-8"))["stills"]
    return [read_picture(samples() / row["file"]) for row in content], [r["label"] for r in content]


def serve(folder: Path) -> ThreadingHTTPServer:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def rulings(port: int, stage: Stage) -> list[Ruling]:
    """Lead one rollout to its end and tell it."""
    found = []
    for ruling in Rollout(broker=Broker("127.0.0.1", port), stage=stage).run(
        timeout_s=300, poll_s=0.5
    ):
        if ruling.action != "wait":
            print(f"  controller: {ruling.action}: {ruling.reason}", flush=True)
        found.append(ruling)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--shadow", type=int, default=40, help="items in shadow before a swap")
    parser.add_argument("--items", type=int, default=150, help="canary items before all follow")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smartbin-rollout-") as name:
        good = story(Path(name), asked.bins, asked.share, asked.shadow, asked.items)
    if not good:
        raise SystemExit("the rollout did not go as it must")


def story(folder: Path, bins: int, share: float, shadow: int, items: int) -> bool:
    """Release a worse model, then a good one; returns whether it went as it must."""
    old = load_bundle(shipped(f"models/{NAME}.onnx"))
    pictures, labels = stills()
    truth = np.array([old.labels.index(label) for label in labels])
    dice = np.random.default_rng(0)
    wrong = truth.copy()
    which = dice.choice(len(truth), round(SHUFFLED * len(truth)), replace=False)
    wrong[which] = (wrong[which] + dice.integers(1, len(old.labels), len(which))) % len(old.labels)
    bad, good = old.version + 1, old.version + 2
    made = folder / "made"
    repository = TufRepository(folder / "web", Keys(folder / "keys", ""))
    Keys(folder / "keys", "").make()
    repository.begin()
    repository.release(write_version(made, old, refitted(old, pictures, wrong), bad))
    repository.release(write_version(made, old, old.onnx, good))
    server, broker = serve(folder / "web"), Mosquitto(folder).start()
    fleet = [
        SimulatedBin(
            number,
            broker=Broker("127.0.0.1", broker.port),
            address=Address(
                f"http://127.0.0.1:{server.server_port}",
                folder / "web" / "root.json",
                "",
                "default",
                "sim",
                f"bin-{number:03}",
            ),
            folder=folder / f"bin-{number}",
            plan=Plan(NAME, 1, shadow, 100_000, 1.0, _no_canaries(folder)),
            fallback=lambda: old,
            pictures=pictures,
        )
        for number in range(bins)
    ]
    for one in fleet:
        one.start()
    try:
        return _bad_then_good(fleet, broker.port, bad, good, share, items)
    finally:
        for one in fleet:
            one.close()
        broker.stop()
        server.shutdown()


def _no_canaries(folder: Path) -> Path:
    """The sample stills are the items here, so they are no canaries."""
    place = folder / "canaries"
    place.mkdir(exist_ok=True)
    (place / "samples.json").write_text('{"stills": []}')
    return place


def _bad_then_good(
    fleet: list[SimulatedBin], port: int, bad: int, good: int, share: float, items: int
) -> bool:
    time.sleep(4)  # what is usual at the other bins, before anything changes
    print(f"version {bad}: the last layer learned {SHUFFLED:.0%} shuffled labels")
    stage = Stage("default", bad, share, items, salt="a")
    ended = rulings(port, stage)[-1]
    time.sleep(3)
    drawn = {b.name for b in fleet if chosen(_wish(stage), "sim", b.name)}
    ran = {b.name for b in fleet if bad in b.ran}
    back = sum(b.version != bad for b in fleet)
    print(f"  canaries drawn: {len(drawn)} of {len(fleet)}; bins that ran it: {len(ran)}, ")
    print(f"  of these outside the share: {len(ran - drawn)}; bins on another version now: {back}")
    stopped = ended.action == "stop" and ran <= drawn and back == len(fleet)
    print(f"version {good}: repaired")
    ended = rulings(port, Stage("default", good, share, items, salt="b"))[-1]
    until_s = time.monotonic() + 90
    while time.monotonic() < until_s and any(b.version != good for b in fleet):
        time.sleep(0.2)
    there = sum(b.version == good for b in fleet)
    print(f"  bins that run it: {there} of {len(fleet)}")
    return stopped and ended.action == "go" and there == len(fleet)


def _wish(stage: Stage) -> object:
    from edge.update.rollout import Wish

    return Wish(stage.version, stage.canary_share, stage.salt)


if __name__ == "__main__":
    main()
