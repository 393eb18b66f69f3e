"""A worse model is released to a fleet: python -m tools.rollout [--bins 20] [--shadow 100]

Real parts: Mosquitto, a TUF repository on a web server, the shipped student, each bin's own store
and updater, and the controller of `smartbin rollout`. The worse model gives another class on 20 %
of pictures (tools.worse_model); the repaired one is the shipped int8 network. The bins' items are
rendered pictures that are no canaries.

Two stories. `refused`: bins with their canaries, which refuse it with and without shadow (--shadow
0), so the rollout stops. `repaired`: bins without canaries and shadow, where it gets through to all
of them; then bins with both, which must take the repaired one although it differs from what runs.
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

from edge.brokers import Broker
from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.judge import Verdict
from edge.mqtt import Link
from edge.shipped import shipped
from edge.update.canaries import Canary, canaries_of, folders, read
from edge.update.checks import match
from edge.update.controller import Rollout, Stage
from edge.update.keeper import Address, ModelKeeper
from edge.update.rollout import Ruling, Wish, chosen
from edge.update.steps import Plan, note_body
from edge.update.store import ModelStore
from edge.values import Crop, Decision, Pixels
from edge.wire import (
    Origin,
    Stamp,
    Topics,
    decision_payload,
    event_message,
    record_message,
)
from tests.harness import ROOT, Mosquitto, wait_for
from tools.worse_model import mistaken
from trainer.release import Keys, TufRepository

NAME = "student.fp32"
CHALLENGE = ROOT / "tests" / "data" / "challenge"
LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
WRONG = 0.2  # of the pictures
ITEM_S = 0.2  # between two items of a bin
FIRST_ITEMS = 10  # of each bin, before anything changes
PATIENCE_S = 600.0  # with a machine that does other things as well


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
        self.fault: Exception | None = None
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

    @property
    def decided(self) -> int:
        """Items so far."""
        return self._seq

    @property
    def refusals(self) -> dict[int, str]:
        """Versions that this bin has refused since it started, and why."""
        return {v: why for phase, v, why in tuple(self.phases) if phase == "refused" and v}

    def _work(self) -> None:
        try:
            self._run()
        except Exception as error:  # of the thread: else who waits for its items waits for ever
            self.fault = error
            raise

    def _run(self) -> None:
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
        height, width = pixels.shape[:2]
        crop = Crop(pixels, (0, 0, width, height))
        decision = judge(bundle, self._classifier, [crop])
        self.ran.add(bundle.version)
        self._seq += 1
        now = time.time()
        stamp = Stamp(self._seq, "simulated", now, now, now, 2.0, 2000, "none", True)
        payload = decision_payload(self._origin, decision, stamp)
        self._link.publish(event_message(self._origin.topics, payload))
        self._keeper.see(Verdict(decision, now, now, now, "none", crops=(crop,)))

    def _record(self, kind: str, body: dict[str, object]) -> None:
        self._seq += 1
        message = record_message(
            self._origin, kind, body, seq=self._seq, ts=time.time(), clock_synced=True
        )
        self._link.publish(message)


def judge(bundle: Bundle, classifier: Classifier, crops: Sequence[Crop]) -> Decision:
    """One vote a crop, by the bundle's own rules."""
    rules = Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.0)
    routes = Routes("rest", {label: label for label in bundle.labels})
    return decide([classifier.look(crop) for crop in crops], rules=rules, routes=routes)


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


def items() -> list[Canary]:
    """Rendered pictures of known classes of which no canary is one."""
    known = {canary.path.read_bytes() for canary in canaries_of(folders(), LABELS)}
    rows = json.loads((CHALLENGE / "catalogue.json").read_text("utf-8"))["pictures"]
    found = [Canary(CHALLENGE / row["file"], row["label"]) for row in rows if row["label"]]
    return [item for item in found if item.path.read_bytes() not in known]


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
        timeout_s=PATIENCE_S, poll_s=0.5
    ):
        if ruling.action != "wait":
            print(f"  controller: {ruling.action}: {ruling.reason}", flush=True)
        found.append(ruling)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--story", choices=("refused", "repaired"), default="refused")
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--shadow", type=int, default=100, help="items in shadow before a swap")
    parser.add_argument("--items", type=int, default=150, help="canary items before all follow")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smartbin-rollout-") as name:
        fleet = Fleet(Path(name), asked.bins)
        try:
            if asked.story == "refused":
                good = refused(fleet, asked.share, asked.shadow, asked.items)
            else:
                good = repaired(fleet, asked.share, asked.shadow, asked.items)
        finally:
            fleet.close()
    if not good:
        raise SystemExit("the rollout did not go as it must")


class Fleet:
    """A repository with a worse model and a repaired one, a broker, and bins beside them."""

    def __init__(self, folder: Path, bins: int) -> None:
        self._folder, self._count = folder, bins
        self.old = load_bundle(shipped(f"models/{NAME}.onnx"))
        self.bad, self.good = self.old.version + 1, self.old.version + 2
        self._items = [read(item) for item in items()]
        keys = Keys(folder / "keys", "")
        keys.make()
        self._repository = TufRepository(folder / "web", keys)
        self._repository.begin()
        self._release()
        self._server = serve(folder / "web")
        self._broker = Mosquitto(folder).start()
        self.bins: list[SimulatedBin] = []

    @property
    def port(self) -> int:
        return self._broker.port

    def start(self, *, shadow: int, trial: int, canaries: bool) -> None:
        """All bins, again where they ran before; back when each has decided its first items."""
        self.stop()
        places = folders() if canaries else ()
        plan = Plan(NAME, 1, shadow, trial, 1.0, places)
        self.bins = [self._bin(number, plan) for number in range(self._count)]
        for one in self.bins:
            one.start()
        self.let_decide(FIRST_ITEMS)

    def let_decide(self, count: int) -> None:
        """Wait until each bin has decided so many more items."""
        until = {one: one.decided + count for one in self.bins}
        self.wait(
            lambda: all(one.decided >= number for one, number in until.items()),
            what=f"{count} items of each bin",
        )

    def wait(self, condition: Callable[[], bool], *, what: str) -> None:
        """Patiently, for as long as the bins work."""

        def met() -> bool:
            for one in self.bins:
                if one.fault is not None:
                    raise RuntimeError(f"{one.name} has died") from one.fault
            return condition()

        wait_for(met, what=what, timeout_s=PATIENCE_S)

    def stop(self) -> None:
        for one in self.bins:
            one.close()
        self.bins = []

    def close(self) -> None:
        self.stop()
        self._broker.stop()
        self._server.shutdown()

    def _release(self) -> None:
        """Both versions, signed; tells how much worse the worse one is."""
        made, repaired = self._folder / "made", load_bundle(shipped("models/student.int8.onnx"))
        canaries = canaries_of(folders(), self.old.labels)
        pictures = [*self._items, *map(read, canaries)]
        network = mistaken(self.old, pictures, WRONG)
        path = write_version(made, self.old, network, self.bad)
        self._repository.release(path)
        worse = Classifier(load_bundle(path))
        print(f"version {self.bad}: another class on {WRONG:.0%} of pictures")
        for word, known in (("items", items()), ("canaries", canaries)):
            found = match(worse, Classifier(self.old), known)
            print(
                f"  of {found.canaries} {word} version {self.old.version} has "
                f"{found.right_before} right, version {self.bad} {found.right}"
            )
        self._repository.release(write_version(made, repaired, repaired.onnx, self.good))

    def _bin(self, number: int, plan: Plan) -> SimulatedBin:
        url = f"http://127.0.0.1:{self._server.server_port}"
        root = self._folder / "web" / "root.json"
        return SimulatedBin(
            number,
            broker=Broker("127.0.0.1", self.port),
            address=Address(url, root, "", "default", "sim", f"bin-{number:03}"),
            folder=self._folder / f"bin-{number}",
            plan=plan,
            fallback=lambda: self.old,
            pictures=self._items,
        )


def refused(fleet: Fleet, share: float, shadow: int, count: int) -> bool:
    """The bins' own canaries refuse the worse model, and it never runs; the repaired one does."""
    fleet.start(shadow=shadow, trial=20, canaries=True)
    stage = Stage("default", fleet.bad, share, count, salt="a")
    ended = rulings(fleet.port, stage)[-1]
    fleet.let_decide(FIRST_ITEMS)  # whatever the end of the rollout sets off
    tell(fleet, stage)
    stopped = ended.action == "stop" and not any(fleet.bad in b.ran for b in fleet.bins)
    return all_follow(fleet, fleet.good, share, count, salt="b") and stopped


def repaired(fleet: Fleet, share: float, shadow: int, count: int) -> bool:
    """Nothing stops the worse model on bins without guards; the repaired one reaches them all."""
    fleet.start(shadow=0, trial=20, canaries=False)
    print("bins without canaries and shadow")
    through = all_follow(fleet, fleet.bad, share, count, salt="a")
    print(f"bins with canaries and {shadow} items in shadow")
    fleet.start(shadow=shadow, trial=20, canaries=True)
    return all_follow(fleet, fleet.good, share, count, salt="b") and through


def all_follow(fleet: Fleet, version: int, share: float, count: int, salt: str) -> bool:
    """Lead a rollout; returns whether it ended with this version on every bin."""
    print(f"version {version} is released")
    stage = Stage("default", version, share, count, salt)
    if rulings(fleet.port, stage)[-1].action != "go":
        tell(fleet, stage)
        return False
    fleet.wait(
        lambda: all(b.version == version or version in b.refusals for b in fleet.bins),
        what=f"version {version} on every bin",
    )
    tell(fleet, stage)
    return all(b.version == version for b in fleet.bins)


def tell(fleet: Fleet, stage: Stage) -> None:
    """What became of a version on the bins."""
    wish = Wish(stage.version, stage.canary_share, stage.salt)
    drawn = {b.name for b in fleet.bins if chosen(wish, "sim", b.name)}
    ran = {b.name for b in fleet.bins if stage.version in b.ran}
    refusals = [b.refusals[stage.version] for b in fleet.bins if stage.version in b.refusals]
    on_it = sum(b.version == stage.version for b in fleet.bins)
    print(
        f"  canaries: {len(drawn)} of {len(fleet.bins)} bins; refused by {len(refusals)}; "
        f"decided items on {len(ran)}; runs on {on_it} now"
    )
    for reason in sorted(set(refusals)):
        print(f"  {reason}")
    passed = {reason for b in fleet.bins for phase, v, reason in b.phases
              if phase == "swapped" and v == stage.version}  # fmt: skip
    for reason in sorted(passed)[:2]:
        print(f"  swapped {reason}")


if __name__ == "__main__":
    main()
