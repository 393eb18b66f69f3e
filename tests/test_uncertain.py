"""Pictures of uncertain items: which, how bounded, what is hidden, and what may leave the bin."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.config import parse_config
from edge.errors import ConfigError, SmartbinError
from edge.pictures import read_picture
from edge.uncertain import blur
from edge.uncertain.blur import FinderError, PeopleHider
from edge.uncertain.choose import uncertain
from edge.uncertain.collector import PictureCollector, Rules
from edge.uncertain.store import PictureStore
from edge.values import Decision, Message
from edge.wire import Topics
from tests.harness import Listener, Mosquitto, RunningDaemon, wait_for, write_picture
from tests.test_daemon import payloads, publish
from tests.test_wire import check_payload

Write = Callable[..., Path]
Listen = Callable[..., Listener]
Run = Callable[..., RunningDaemon]
TOPIC = "bins/v1/test/b1"
GREY = np.full((48, 64, 3), 127, np.uint8)


def decided(outcome: str, lead: float = 0.5) -> Decision:
    top = (("red", 0.5 + lead / 2), ("green", 0.5 - lead / 2))
    return Decision(outcome, "red", "left", top[0][1], top, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (decided("unknown"), "unknown"),
        (decided("ambiguous"), "ambiguous"),
        (decided("sorted", 0.1), "low margin"),
        (decided("sorted", 0.9), ""),
        (decided("empty"), ""),
        (decided("fault"), ""),
        (decided("late"), ""),
    ],
)
def test_only_uncertain_items_are_kept(decision: Decision, why: str) -> None:
    """What was unknown, ambiguous or barely decided; never an empty tray or a fault."""
    assert uncertain(decision, margin=0.3) == why


class Days:
    def __init__(self) -> None:
        self.now_s = 1.8e9

    def __call__(self) -> float:
        return self.now_s


def store(folder: Path, wall: Callable[[], float], max_bytes: int = 1000) -> PictureStore:
    return PictureStore(folder, max_bytes=max_bytes, max_age_s=86400, wall=wall)


def test_the_store_is_bounded_in_bytes_and_days(tmp_path: Path) -> None:
    """The oldest go when room is needed, and all when a day has passed."""
    wall = Days()
    made = store(tmp_path, wall)
    for number in range(15):
        wall.now_s += 60
        made.add(f"b-{number}", b"x" * 100, {})
    assert made.total_bytes <= 1000
    assert [kept.name for kept in made.kept] == [f"b-{n}" for n in range(5, 15)]
    assert len(list(tmp_path.glob("*.jpg"))) == 10
    wall.now_s += 86401
    assert made.rotate() == 10
    assert not list(tmp_path.iterdir())


def test_a_power_cut_leaves_no_half_picture(tmp_path: Path) -> None:
    """What a cut left without its note is gone at the next start; the whole ones are there."""
    made = store(tmp_path, Days())
    made.add("b-1", b"one", {"why": "unknown"})
    (tmp_path / "b-2.jpg").write_bytes(b"half")
    (tmp_path / "b-3.json.partial").write_text("{")
    (tmp_path / "b-4.json").write_text("{}")
    again = store(tmp_path, Days())
    assert [kept.name for kept in again.kept] == ["b-1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b-1.jpg", "b-1.json"]
    again.mark_sent("b-1")
    assert store(tmp_path, Days()).kept[0].sent


def test_a_hand_that_reaches_in_is_hidden_and_the_item_is_not() -> None:
    """An arm of skin colour from the edge becomes coarse; a patterned item in the middle stays."""
    scene = np.full((240, 320, 3), (235, 235, 232), np.uint8)
    noise = np.random.default_rng(0).integers(0, 60, (240, 320, 1), np.uint8)
    scene = np.asarray(scene - noise, np.uint8)
    cv2.rectangle(scene, (0, 90), (110, 130), (198, 140, 112), -1)
    for x in range(5, 105, 10):
        cv2.line(scene, (x, 92), (x, 128), (160, 100, 80), 2)
    item = scene[100:200, 180:280].copy()
    shown, hidden = PeopleHider("hands").hide(scene)
    before, after = (picture[95:125, 10:100].std((0, 1)).mean() for picture in (scene, shown))
    assert after < 0.5 * before
    assert np.array_equal(shown[100:200, 180:280], item)
    assert 0.03 < hidden < 0.25
    assert PeopleHider("none").hide(scene)[1] == 0


def test_a_face_model_that_is_another_file_is_refused(tmp_path: Path) -> None:
    """Weights of others come with a hash that is checked."""
    other = tmp_path / "face.onnx"
    with pytest.raises(SmartbinError, match="cannot be read"):
        PeopleHider("people", str(other))
    other.write_bytes(b"x")
    with pytest.raises(SmartbinError, match="not the CenterFace we know"):
        PeopleHider("people", str(other))


def red_finder() -> bytes:
    """A network with CenterFace's four outputs that takes red squares for faces of 40 px."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, rows: list[list[float]]) -> TensorProto:
        return numpy_helper.from_array(np.array(rows, np.float32)[..., None, None], name)

    weights = [
        constant("red", [[1 / 255, -0.5 / 255, -0.5 / 255]]),
        constant("none", [[0.0] * 3] * 2),
        constant("marks", [[0.0] * 3] * 10),
        numpy_helper.from_array(np.full(2, np.log(10), np.float32), "ten places"),
    ]
    nodes = [
        helper.make_node("AveragePool", ["in"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "red"], ["537"]),
        helper.make_node("Conv", ["small", "none", "ten places"], ["538"]),
        helper.make_node("Conv", ["small", "none"], ["539"]),
        helper.make_node("Conv", ["small", "marks"], ["540"]),
    ]
    tensor = helper.make_tensor_value_info
    given = [tensor("in", TensorProto.FLOAT, [1, 3, "h", "w"])]
    planes = {"537": 1, "538": 2, "539": 2, "540": 10}
    told = [tensor(k, TensorProto.FLOAT, [1, n, "y", "x"]) for k, n in planes.items()]
    graph = helper.make_graph(nodes, "faces", given, told, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def finder_in(folder: Path, network: bytes, monkeypatch: pytest.MonkeyPatch) -> PeopleHider:
    """A hider with another face finder than the one that it would accept."""
    path = folder / "face.onnx"
    path.write_bytes(network)
    monkeypatch.setattr(blur, "FACE_SHA256", hashlib.sha256(network).hexdigest())
    return PeopleHider("people", str(path))


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (288, 384)])
def test_a_face_is_hidden_wherever_it_is_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    """Through OpenCV's own reader, turned four ways and back: the places are those of the frame."""
    hider = finder_in(tmp_path, red_finder(), monkeypatch)
    height, width = shape
    scene = np.full((height, width, 3), 127, np.uint8)
    side = width // 10
    x, y = width // 5, height * 3 // 5
    scene[y : y + side, x : x + side] = (255, 0, 0)
    region = cv2.resize(hider.people(scene), (width, height), interpolation=cv2.INTER_NEAREST)
    assert region[y : y + side, x : x + side].all()
    assert region.mean() < 0.12
    shown, hidden = hider.hide(scene)
    assert 0.01 < hidden < 0.12
    assert shown[y : y + side, x : x + side, 0].max() < 255
    assert hider.hide(np.full_like(scene, 127))[1] == 0


def test_a_finder_that_cannot_be_run_is_told_before_a_picture_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that OpenCV reads and cannot run as it must is a sentence at the start."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(red_finder())
    del model.graph.output[3]
    del model.graph.node[4]
    with pytest.raises(FinderError, match=r"OpenCV \S+ cannot run it .* blur = hands"):
        finder_in(tmp_path, model.SerializeToString(), monkeypatch)


def test_the_configuration_asks_for_what_is_missing() -> None:
    """Sending without keeping, and hiding faces without a model, are faults with a remedy."""
    with pytest.raises(ConfigError, match=r"pictures.send.*only kept pictures are sent"):
        parse_config("[pictures]\nsend = true\n")
    with pytest.raises(ConfigError, match=r"pictures.face_model.*choose blur"):
        parse_config("[pictures]\nkeep = true\n")
    assert parse_config('[pictures]\nkeep = true\nblur = "hands"\n').pictures.keep
    assert not parse_config("").pictures.keep


PAYLOAD: dict[str, Any] = {
    "id": "0123456789ab-7", "site": "s", "bin": "b", "boot": "0123456789ab", "seq": 7,
    "outcome": "unknown", "label": "red", "confidence": 0.4, "top": [["red", 0.4]],
    "model": "tiny@3", "decided_ts": 1.8e9,
}  # fmt: skip


class Bench:
    """A collector whose broker is a list."""

    def __init__(self, folder: Path, *, send: bool = True, keep: bool = True) -> None:
        self.sent: list[Message] = []
        self.folder = folder
        self.collector = PictureCollector(
            topics=Topics("s", "b"),
            open_store=lambda: store(folder, Days(), 1_000_000),
            publish=self._publish,
            hider=PeopleHider("none"),
            rules=Rules(keep, send, "none", 0.3, per_minute=6000),
        )
        self.collector.start()

    def _publish(self, message: Message) -> int:
        self.sent.append(message)
        return len(self.sent)

    def see(self, **changed: object) -> None:
        self.collector.see(GREY, decided("unknown"), {**PAYLOAD, **changed})

    def kept(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))


@pytest.fixture
def bench(tmp_path: Path):  # type: ignore[no-untyped-def]
    made: list[Bench] = []

    def make(**rules: bool) -> Bench:
        made.append(Bench(tmp_path / "pictures", **rules))
        return made[-1]

    yield make
    for one in made:
        one.collector.close()


def test_a_picture_is_sent_once_it_is_acknowledged_never_again(bench: Callable[..., Bench]) -> None:
    """The message holds the JPEG and its hash; the broker's answer marks it as sent."""
    made = bench()
    made.see()
    wait_for(lambda: made.sent, what="a picture")
    body = json.loads(made.sent[0].payload)
    check_payload("picture", body)
    jpeg = base64.b64decode(body["jpeg"])
    assert hashlib.sha256(jpeg).hexdigest() == body["sha256"]
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (288, 384, 3)
    made.collector.acknowledge(1, True)
    made.see(id="0123456789ab-8", seq=8)
    wait_for(lambda: len(made.sent) == 2, what="the second picture")
    assert json.loads(made.sent[1].payload)["seq"] == 8


def test_nothing_is_sent_that_the_owner_does_not_allow(bench: Callable[..., Bench]) -> None:
    """Kept but not sent; allowed later, it goes; switched off, nothing more is kept or sent."""
    made = bench(send=False)
    made.see()
    wait_for(lambda: made.kept() == [PAYLOAD["id"]], what="the picture to be kept")
    assert not made.sent
    made.collector.rules = Rules(True, True, "none", 0.3, 6000)
    wait_for(lambda: made.sent, what="the picture to be sent")
    made.collector.acknowledge(1, True)
    made.collector.rules = Rules(False, False, "none", 0.3, 6000)
    made.see(id="0123456789ab-9")
    made.collector.delete("all")
    wait_for(lambda: made.kept() == [], what="all to be deleted")
    assert len(made.sent) == 1


def test_an_actuator_that_objects_makes_an_item_uncertain(bench: Callable[..., Bench]) -> None:
    """A sure item is not kept, until its movement is refused."""
    made = bench(send=False)
    made.collector.see(GREY, decided("sorted", 0.9), PAYLOAD)
    made.collector.object(PAYLOAD["id"], "done")
    made.collector.object(PAYLOAD["id"], "refused")
    wait_for(lambda: made.kept() == [PAYLOAD["id"]], what="the disputed picture")
    note = json.loads((made.folder / f"{PAYLOAD['id']}.json").read_text())
    assert note["why"] == "disputed: refused"


def test_a_disk_that_is_full_stops_nothing(bench: Callable[..., Bench], tmp_path: Path) -> None:
    """Where the folder cannot be made the trouble is told, and the loop never notices."""
    (tmp_path / "pictures").write_text("in the way")
    made = bench()
    made.see()
    wait_for(lambda: "cannot be kept" in made.collector.trouble, what="the trouble")
    assert not made.sent


SECTION = """
[pictures]
keep = true
send = {send}
blur = "hands"
folder = "{folder}"
per_minute = 600
"""


@pytest.mark.mosquitto
def test_a_daemon_keeps_sends_and_deletes(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run, tmp_path: Path
) -> None:
    """Through a real broker: pictures come; switched off at a reload they stop; then deleted."""
    folder = tmp_path / "kept"
    write_picture(tmp_path / "mixed" / "red-or-blue.png", (200, 30, 195))
    config = write_config(
        mosquitto.port,
        extra=SECTION.format(send="true", folder=folder),
        source=f"folder:{tmp_path / 'mixed'}",
    )
    listener = listen(mosquitto.port, "bins/#")
    daemon = run_daemon(config)
    wait_for(lambda: len(listener.of("picture")) >= 2, what="pictures", timeout_s=20)
    for body in payloads(listener.of("picture")):
        check_payload("picture", body)
    ids = {e["id"] for e in payloads(listener.of("event"))}
    assert {body["id"] for body in payloads(listener.of("picture"))} <= ids
    text = config.read_text().replace("send = true", "send = false")
    config.write_text(text)
    daemon.send(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in daemon.log, what="the reload")
    wait_for(lambda: len(list(folder.glob("*.jpg"))) > len(listener.of("picture")) + 5, what="more")
    before = len(listener.of("picture"))
    publish(mosquitto.port, f"{TOPIC}/cmd/pictures", '{"delete": "all"}', "-q", "1")
    wait_for(lambda: "all pictures go" in daemon.log, what="the answer")
    wait_for(lambda: len(list(folder.glob("*.jpg"))) < 20, what="the folder to be emptied")
    assert len(listener.of("picture")) <= before + 1


HANDS = sorted((Path(__file__).parent / "data/challenge/unknown").glob("hand_*.jpg"))
ITEMS = Path(__file__).parent / "data/challenge/factorial"
GREY_SURFACES = ("belt", "cloth", "concrete", "dark", "steel", "white")


@pytest.mark.parametrize("path", HANDS, ids=lambda path: path.stem)
def test_rendered_hands_are_hidden_on_every_surface(path: Path) -> None:
    """Where it can be told from the surface: its pixels; on wood and card: the whole frame."""
    pixels = read_picture(path)
    hidden = cv2.resize(PeopleHider("hands").people(pixels), pixels.shape[1::-1])
    ycc = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb).astype(int)
    red, blue = (ycc[..., i] - np.median(ycc[..., i]) for i in (1, 2))
    hand = ((red > 8) & (blue < -4)).astype(np.uint8)
    hand = cv2.morphologyEx(hand, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if path.stem.split("_")[1] in GREY_SURFACES:
        assert hand.mean() > 0.05
        assert hidden[hand > 0].mean() > 0.98
    else:
        assert hidden.mean() > 0.95


@pytest.mark.parametrize("surface", GREY_SURFACES)
def test_items_on_a_grey_surface_are_not_taken_for_hands(surface: str) -> None:
    """Of twelve rendered items, card among them, next to nothing is hidden."""
    shares = [PeopleHider("hands").hide(read_picture(p))[1] for p in ITEMS.glob(f"*_{surface}*")]
    assert len(shares) == 12
    assert max(shares) < 0.02


def test_what_was_kept_with_less_hidden_is_not_sent(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """The owner asks for hidden hands: what was kept before stays on the bin, new ones go."""
    made = bench(send=False)
    made.see()
    wait_for(lambda: made.kept() == [PAYLOAD["id"]], what="the first picture")
    made.collector.rules = Rules(True, True, "hands", 0.3, 6000)
    made.see(id="0123456789ab-8", seq=8)
    wait_for(lambda: made.sent, what="the second picture")
    time.sleep(0.6)
    assert [json.loads(message.payload)["seq"] for message in made.sent] == [8]
    note = json.loads((made.folder / "0123456789ab-8.json").read_text())
    assert note["blur"] == "hands"


def test_hiding_that_cannot_be_had_keeps_nothing(bench: Callable[..., Bench]) -> None:
    """Switched to people at a reload, with no face model: trouble, and no picture."""
    made = bench(send=False)
    made.collector.rules = Rules(True, False, "people", 0.3, 6000, "/nothing.onnx")
    made.see()
    wait_for(lambda: "face_model" in made.collector.trouble, what="the trouble")
    assert made.kept() == []


def test_a_busy_picture_fits_into_a_message(bench: Callable[..., Bench]) -> None:
    """Noise is the worst JPEG there is; it is made coarser, not refused by the monitor."""
    made = bench()
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    made.collector.see(noise, decided("unknown"), PAYLOAD)
    wait_for(lambda: made.sent, what="a picture")
    assert len(made.sent[0].payload) < 65_536


def test_old_pictures_go_even_when_none_are_kept_any_more(tmp_path: Path) -> None:
    """Switched off and restarted: what lies there ends with its days, not never."""
    folder = tmp_path / "pictures"
    past = Days()
    store(folder, past).add("0123456789ab-1", b"old", {})
    past.now_s += 2 * 86400
    collector = PictureCollector(
        topics=Topics("s", "b"),
        open_store=lambda: store(folder, past, 1_000_000),
        publish=lambda message: None,
        hider=PeopleHider("none"),
        rules=Rules(False, False, "people", 0.3, 6),
        there=True,
    )
    collector.start()
    wait_for(lambda: not list(folder.iterdir()), what="the old picture to go")
    collector.close()
