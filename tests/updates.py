"""What the update tests share: signed tiny models, and a web server that can misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.update.steps import Plan, Swap
from edge.values import Crop, Decision, Pixels
from tests.harness import COLOURS, tiny_card, tiny_network, write_picture
from trainer.release import Keys, TufRepository, Validity

NAME = "tiny"


def tiny_bundle(folder: Path, version: int, *, wrong: bool = False, **changed: object) -> Path:
    """A bundle of the three colours; a `wrong` one takes red for green."""
    import hashlib

    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(tiny_network())
    weights = 12 * np.eye(3, dtype=np.float32)
    if wrong:
        weights = np.ascontiguousarray(weights[:, [1, 0, 2]])
    weights += np.float32(version) * 1e-6  # no two versions have the same bytes
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    data = model.SerializeToString()
    path = folder / str(version) / f"{NAME}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    card = {**tiny_card(data), "version": version, **changed}
    card["sha256"] = hashlib.sha256(data).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def begin(folder: Path, validity: Validity | None = None) -> TufRepository:
    """A new repository with plain keys beside it."""
    keys = Keys(folder.parent / f"{folder.name}-keys", "")
    keys.make()
    repository = TufRepository(folder, keys, validity or Validity())
    repository.begin()
    return repository


def canary_folder(folder: Path) -> Path:
    """Three plain pictures in eight shades each, as the sample stills."""
    stills = []
    for (name, rgb), shade in product(COLOURS.items(), range(8)):
        stills.append({"file": f"{name}-{shade}.png", "label": name})
        darker = tuple(level * (20 - shade) // 20 for level in rgb)
        write_picture(folder / f"{name}-{shade}.png", darker)  # type: ignore[arg-type]
    (folder / "samples.json").write_text(json.dumps({"stills": stills}))
    return folder


def plan_of(canaries: Path | None = None, *, shadow_items: int = 0, trial_items: int = 0) -> Plan:
    """`canaries` is a folder to write them into; None: there are none."""
    return Plan(
        name=NAME,
        threads=1,
        shadow_items=shadow_items,
        trial_items=trial_items,
        retry_s=0.05,
        canaries=(canary_folder(canaries),) if canaries else (),
    )


def judging(bundle: Bundle, classifier: Classifier, crops: Sequence[Crop]) -> Decision:
    rules = Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.0)
    votes = [classifier.look(crop) for crop in crops]
    return decide(votes, rules=rules, routes=Routes("safe", {}))


def running(path: Path) -> Swap:
    bundle = load_bundle(path)
    return Swap(bundle, Classifier(bundle), "start")


def crop_of(name: str) -> Crop:
    return Crop(pixels_of(name), (0, 0, 64, 48))


def pixels_of(name: str) -> Pixels:
    return np.full((48, 64, 3), COLOURS[name], np.uint8)


class Server:
    """A folder on loopback, with ranges, that can be told to misbehave for names it is given."""

    def __init__(self, folder: Path) -> None:
        self.cut_after: dict[str, int] = {}  # part of a name: bytes after which the line breaks
        self.endless: set[str] = set()  # part of a name: the body never ends
        self.asked: list[tuple[str, str]] = []  # path and range of every request
        handler = partial(_Handler, owner=self, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: object, owner: Server, **kwargs: object) -> None:
        self._owner = owner
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        ranged = self.headers.get("Range", "")
        self._owner.asked.append((self.path, ranged))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
        if start >= len(data) > 0 and ranged:
            self.send_error(416)
            return
        endless = self._hit(self._owner.endless)
        self.send_response(206 if ranged else 200)
        if not endless:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self._send(data[start:], endless=endless)

    def _send(self, data: bytes, *, endless: bool) -> None:
        cut = self._hit(self._owner.cut_after)
        if cut:
            self.wfile.write(data[: self._owner.cut_after[cut]])
            self.wfile.flush()
            self.connection.close()
            return
        try:
            self.wfile.write(data)
            while endless:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def _hit(self, names: dict[str, int] | set[str]) -> str:
        return next((name for name in names if name in self.path), "")

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
