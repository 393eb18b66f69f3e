"""The empty tray: learned, stored, compared with; what `smartbin tray` says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.bundle import load_bundle
from edge.calibrate import Lookout, learn_tray, outlook_of
from edge.classifier import Classifier
from edge.cli_tray import as_row, as_text
from edge.decide import Routes, Rules
from edge.errors import TrayError
from edge.judge import Judge
from edge.pictures import list_pictures, read_picture
from edge.segmenters import WholeFrame
from edge.segmenters.difference import DifferenceSegmenter
from edge.tray import TrayMemory, load_tray, save_tray
from edge.triggers import build_trigger
from edge.values import Frame, Item, Pixels
from tests.test_cli import smartbin
from tests.test_triggers import ITEMS, SAMPLES, Tray, play
from tests.trays import known_tray, lesson_of, model_of

CHALLENGE = Path(__file__).parent / "data" / "challenge"


def shaded(tray: Tray, x: int, *, depth: float = 0.45, blur_px: float = 20) -> Frame:
    """A frame with a soft round shadow at x, as of a hand above."""
    frame = tray.frame()
    dark = np.zeros(frame.pixels.shape[:2], np.float32)
    cv2.circle(dark, (x, 240), 90, depth, -1)
    dark = cv2.GaussianBlur(dark, (0, 0), blur_px)
    pixels = np.clip(frame.pixels * (1 - dark[..., None]), 0, 255).astype(np.uint8)
    return Frame(pixels, frame.captured_s, frame.seq)


def judge_of(write_bundle: Any, tray: TrayMemory) -> Judge:
    bundle = load_bundle(write_bundle())
    return Judge(
        segmenter=WholeFrame(),
        classifier=Classifier(bundle),
        rules=Rules(bundle.labels, bundle.thresholds, bundle.min_margin, 0.6),
        routes=Routes("rest", {}),
        deadline_s=1e9,
        tray=tray,
    )


def tray_memory(surface: str = "card") -> tuple[Tray, TrayMemory]:
    tray = Tray(surface=surface)
    return tray, known_tray(frame.pixels for frame in tray.frames(1.2))


@pytest.mark.parametrize("surface", ["card", "wood"])
def test_an_empty_tray_is_empty_in_any_light(surface: str) -> None:
    """Lamps, colours, a slope of light, noise; each frame is a look of its own."""
    tray, memory = tray_memory(surface)
    for lamp, tint, tilt in [
        (1.0, (1, 1, 1), 0),
        (0.5, (1, 1, 1), 0),
        (1.2, (1.1, 1, 0.8), 0.3),
        (0.3, (1, 1, 1), 0.2),
    ]:
        tray.lamp, tray.tint, tray.tilt = lamp, tint, tilt
        assert all(memory.is_empty(frame) for frame in tray.frames(0.5)), (lamp, tint, tilt)


@pytest.mark.parametrize("surface", ["card", "wood"])
def test_a_moving_soft_shadow_is_no_item(surface: str) -> None:
    """In steps across the tray, 45 % dark: it only dims, and has no steep edge."""
    tray, memory = tray_memory(surface)
    assert all(memory.is_empty(shaded(tray, x)) for x in range(80, 600, 40))


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shadow_or_a_spot_with_an_edge_is_no_item(surface: str, sign: int) -> None:
    """As deep as 45 %, its edge as narrow as 4 px of the frame: 2 px of what is compared."""
    tray, memory = tray_memory(surface)
    depth = 0.45 if sign > 0 else -0.25
    for x in range(80, 600, 40):
        frame = shaded(tray, x, depth=depth, blur_px=4)
        assert memory.is_empty(frame), x


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("kind", ITEMS)
def test_things_in_a_shadow_are_no_empty_tray(kind: str, surface: str) -> None:
    """Its edge runs across them."""
    tray, memory = tray_memory(surface)
    tray.things.append((kind, 320, 250))
    assert not memory.is_empty(shaded(tray, 400, blur_px=5))


def test_a_flat_thing_with_hard_edges_is_no_shadow() -> None:
    """Grey card that only dims white card: its edge is as sharp as the lens."""
    tray, memory = tray_memory()
    frame = tray.frame()
    frame.pixels[200:330, 260:400] = (frame.pixels[200:330, 260:400] * 0.85).astype(np.uint8)
    assert not memory.is_empty(frame)


def bars(*turns_deg: float, depth: float, soft_px: float) -> npt.NDArray[np.float32]:
    """(480, 640) of the light left by long things in a lamp's way, all through the middle."""
    lamp = np.ones((480, 640), np.float32)
    for turn_deg in turns_deg:
        along = 900 * np.array([np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))])
        ends = [tuple(int(v) for v in np.array([320, 240]) + sign * along) for sign in (-1, 1)]
        blocked = cv2.line(np.zeros((480, 640), np.float32), ends[0], ends[1], 1.0, 44)
        lamp *= 1 - cv2.GaussianBlur(blocked, (0, 0), soft_px)
    return np.asarray(1 - depth * (1 - lamp), np.float32)


def in_light(frame: Frame, light: npt.NDArray[np.float32]) -> Frame:
    """What a frame shows in a part of its light."""
    return replace(frame, pixels=(frame.pixels * light[..., None]).astype(np.uint8))


@pytest.mark.parametrize("apart_deg", [20, 25, 35, 50, 70, 90])
def test_two_hard_shadows_across_each_other_are_no_item(apart_deg: float) -> None:
    """Their penumbras 4 px of the frame; in the wedge between them light comes and goes again."""
    tray, memory = tray_memory()
    for turn_deg in (0, 30, 75):
        light = bars(turn_deg, turn_deg + apart_deg, depth=0.6, soft_px=4)
        assert memory.is_empty(in_light(tray.frame(), light)), turn_deg


def test_a_shadow_along_the_border_is_no_item() -> None:
    """Its edge lies in the outermost px, where smoothing has one side of it alone."""
    tray, memory = tray_memory()
    for at in range(465, 480):
        dark = np.zeros((960, 640), np.float32)
        dark[at:] = 0.6
        light = 1 - cv2.GaussianBlur(dark, (0, 0), 3)[:480]
        assert memory.is_empty(in_light(tray.frame(), np.ascontiguousarray(light))), at


def test_a_light_that_whitens_a_pattern_is_no_item() -> None:
    """A woven cloth in twice the light: what is whiter than levels go loses its weave."""
    dice = np.random.default_rng(3)
    rows, columns = np.mgrid[0:240, 0:320]
    weave = 205 + 14 * np.sin(columns * 1.3) * np.sin(rows * 1.1)
    cloth = np.stack([weave, weave * 0.97, weave * 0.9], axis=-1)
    memory = known_tray(noisy(np.clip(cloth, 0, 255).astype(np.uint8), n) for n in range(8))
    for gain in (1.1, 1.15, 1.2, 1.25, 1.3):
        shown = np.clip(cloth * gain + dice.normal(0, 1.5, cloth.shape), 0, 255)
        assert memory.is_empty(Frame(shown.astype(np.uint8), 1.0, 1)), gain
    thing = np.clip(cloth * 1.2, 0, 255)
    thing[80:150, 120:200] = (120, 90, 60)
    assert not memory.is_empty(Frame(thing.astype(np.uint8), 2.0, 2))


def test_dirt_is_an_empty_tray() -> None:
    """A crumb of 10 px in 640; five times as long, it is a thing."""
    tray, memory = tray_memory()
    for side, empty in ((10, True), (50, False)):
        frame = tray.frame()
        frame.pixels[200 : 200 + side, 300 : 300 + side] //= 3
        assert memory.is_empty(frame) == empty, side


def test_a_shadow_that_stays_is_decided_empty(write_bundle: Any) -> None:
    """The trigger sees something at rest; the judge says that it is none, and nothing moves."""
    tray, memory = Tray(), TrayMemory()
    trigger, judge = build_trigger("presence", votes=3, tray=memory), judge_of(write_bundle, memory)
    assert play(trigger, tray.frames(1)) == []
    (item,) = play(trigger, (shaded(tray, 320, depth=0.5, blur_px=4) for _ in range(20)))
    decision = judge.judge(item).decision
    assert (decision.outcome, decision.route, decision.top) == ("empty", "rest", ())


def test_rendered_empty_trays_are_empty_in_all_their_lights() -> None:
    """Eight surfaces; uneven light, one shadow, two across each other, dark and warm light."""
    rows = json.loads((CHALLENGE / "catalogue.json").read_text("utf-8"))["pictures"]
    by_surface: dict[str, dict[str, Pixels]] = {}
    for row in rows:
        if row["group"] == "empty":
            lights = by_surface.setdefault(row["surface"], {})
            lights[row["light"]] = read_picture(CHALLENGE / row["file"])
    assert len(by_surface) == 8
    for surface, lights in by_surface.items():
        memory = known_tray(noisy(lights["lit"], seed) for seed in range(8))
        for light, still in lights.items():
            frame = Frame(noisy(still, 99), 1.0, 1)
            assert memory.is_empty(frame), (surface, light)


def test_rendered_items_are_no_empty_tray() -> None:
    """The six drops at rest, in the usual light and in a third of it."""
    drops = json.loads((SAMPLES / "samples.json").read_text("utf-8"))["drops"]
    items = [row for row in drops if row["first_at_rest"] is not None]
    assert len(items) == 6
    for row in items:
        frames = [read_picture(path) for path in list_pictures(SAMPLES / row["folder"])]
        memory = known_tray(noisy(frames[seed % 4], seed) for seed in range(8))
        for gain in (1.0, 0.33):
            frame = Frame(noisy(frames[-1] * gain, 99), 1.0, 1)
            assert not memory.is_empty(frame), (row["folder"], gain)


def noisy(still: npt.ArrayLike, seed: int) -> Pixels:
    levels = np.asarray(still, np.float32)
    noise = np.random.default_rng(seed).normal(0, 1.5, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def test_a_tray_stored_without_a_picture_still_works(tmp_path: Path) -> None:
    """Format 1: soft shadows are none, and a bottle is a thing."""
    tray, path = Tray(), tmp_path / "tray.npz"
    save_tray(replace(model_of(frame.pixels for frame in tray.frames(1)), detail=None), path)
    damaged(path, format=np.int64(1))
    memory = TrayMemory(load_tray(path))
    assert memory.is_empty(tray.frame()) and memory.is_empty(shaded(tray, 320))
    tray.things.append(("bottle", 320, 250))
    assert not memory.is_empty(tray.frame())


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("kind", ITEMS)
def test_things_are_no_empty_tray(kind: str, surface: str) -> None:
    """Clear glass and white paper on white card included."""
    tray, memory = tray_memory(surface)
    tray.things.append((kind, 320, 250))
    assert not memory.is_empty(tray.frame())


def test_difference_leaves_the_shadow_out() -> None:
    """The box is that of the can, though its shadow lies beside it."""
    tray, memory = tray_memory("wood")
    tray.things.append(("can", 250, 240))
    frame = shaded(tray, 400)
    crop = DifferenceSegmenter(memory).cut(frame, Item((frame,), 0.0, "frame"))
    assert crop.segmenter == "difference" and crop.quality > 0.5
    assert crop.box_xyxy == pytest.approx((210, 170, 290, 310), abs=16)


def test_difference_learns_what_presence_learns() -> None:
    """No calibration: the trigger's empty tray is the segmenter's."""
    tray, memory = Tray(), TrayMemory()
    trigger = build_trigger("presence", votes=3, tray=memory)
    segmenter = DifferenceSegmenter(memory)
    frame = tray.frame()
    whole = segmenter.cut(frame, Item((frame,), 0.0, "frame"))
    assert whole.note == "difference: the empty tray is not known, whole frame judged"
    assert play(trigger, tray.frames(1)) == []
    tray.things.append(("can", 320, 250))
    (item,) = play(trigger, tray.frames(2))
    crops = [segmenter.cut(voting, item) for voting in item.frames]
    assert {crop.segmenter for crop in crops} == {"difference"}
    assert crops[0].box_xyxy == pytest.approx((280, 180, 360, 320), abs=16)


def test_a_stored_tray_is_read_back_whole(tmp_path: Path) -> None:
    """Every field, and no half-written file is ever left."""
    model = model_of(frame.pixels for frame in Tray().frames(1))
    save_tray(model, tmp_path / "deep" / "tray.npz")
    again = load_tray(tmp_path / "deep" / "tray.npz")
    assert np.array_equal(again.levels, model.levels)
    assert np.array_equal(again.variance, model.variance)
    assert model.detail is not None and model.detail.shape == (240, 320, 3)
    assert again.detail is not None and np.array_equal(again.detail, model.detail)
    assert (again.width_px, again.height_px, again.frames) == (640, 480, model.frames)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tray.npz"]


def damaged(path: Path, **changed: Any) -> None:
    with np.load(path) as stored:
        fields = {name: stored[name] for name in stored.files}
    np.savez(path, **{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"format": np.int64(3)}, "format = 3"),
        ({"detail": np.zeros((30, 40, 3), np.uint8)}, "picture does not fit"),
        ({"size_px": np.array([100, 100])}, "do not fit its camera"),
        ({"levels": np.full((3, 72, 96), np.nan)}, "do not fit"),
        ({"levels": np.array([object()])}, "not a stored tray"),
    ],
)
def test_a_damaged_tray_is_refused(changed: dict[str, Any], part: str, tmp_path: Path) -> None:
    """In one sentence with the remedy; nothing in it is executed."""
    path = tmp_path / "tray.npz"
    save_tray(model_of(frame.pixels for frame in Tray().frames(1)), path)
    damaged(path, **changed)
    with pytest.raises(TrayError, match=part):
        load_tray(path)


def test_what_is_no_tray_at_all_is_refused(tmp_path: Path) -> None:
    """Missing, text, a cut zip."""
    path = tmp_path / "tray.npz"
    with pytest.raises(TrayError, match="cannot be read"):
        load_tray(path)
    for content in (b"", b"hello", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(TrayError, match="not a stored tray"):
            load_tray(path)


def test_frames_with_a_hand_are_left_out() -> None:
    """A few; with a hand in most of them nothing is learned."""
    tray, lookout = Tray(), Lookout()
    for number in range(20):
        lookout.add(tray.frame([("hand", 320, 200)] if number in (6, 7, 8) else ()).pixels)
    lesson = learn_tray(lookout, learned_ts=1.0)
    assert (lesson.left_out, lesson.model.frames) == (3, 17)
    busy = Lookout()
    for number in range(20):
        busy.add(tray.frame([("hand", 60 + 28 * number, 300)]).pixels)
    with pytest.raises(TrayError, match="keep hands out"):
        learn_tray(busy, learned_ts=1.0)


def test_too_few_frames_are_said() -> None:
    """With what to do."""
    lookout = Lookout()
    lookout.add(Tray().frame().pixels)
    with pytest.raises(TrayError, match=r"1 frames are too few.*--seconds"):
        learn_tray(lookout, learned_ts=1.0)


def test_a_long_watch_stays_in_bounded_memory() -> None:
    """Later frames count as much as the first."""
    lookout, pixels = Lookout(), np.zeros((48, 64, 3), np.uint8)
    for _ in range(2000):
        lookout.add(pixels)
    assert 80 <= len(lookout.scenes) < 160 and len(lookout.samples) == 8


def outlook(pixels: list[Pixels]) -> Any:
    return outlook_of(lesson_of(pixels), pixels[:8])


def test_the_outlook_names_what_will_not_stand_out() -> None:
    """White paper on white card; nothing on wood."""
    card = outlook([frame.pixels for frame in Tray().frames(1)])
    assert card.verdict == "fair" and "white paper" in card.sentence
    assert card.stands_out["brown cardboard"] > 0.95
    wood = outlook([frame.pixels for frame in Tray(surface="wood").frames(1)])
    assert wood.verdict == "good" and wood.saturation > card.saturation
    assert wood.texture > card.texture


def test_the_outlook_asks_for_light_where_it_is_dark() -> None:
    """And tells the noise as it is."""
    dark = outlook([frame.pixels for frame in Tray(lamp=0.12, noise=3.0).frames(1)])
    assert dark.verdict != "good" and "dark" in dark.sentence
    assert dark.noise == pytest.approx(3.0, rel=0.35)


def test_the_outlook_tells_of_a_surface_that_changes_with_the_light(tmp_path: Path) -> None:
    """Another lamp shows the relief of a part from its other side: the tray itself is a thing."""
    rows, columns = np.mgrid[0:240, 0:320]
    relief = 12 * np.sin(columns) * np.sin(rows)
    turned = np.where(columns > 220, -1, 1) * relief
    steady, other = (np.stack([150 + paint] * 3, axis=-1) for paint in (relief, turned))
    lookout = Lookout()
    for number in range(12):
        lookout.add(noisy(steady, number))
    plain = learn_tray(lookout, learned_ts=1.0)
    assert plain.mistaken == 0
    assert "the tray itself" not in outlook_of(plain, lookout.samples).sentence
    for number in range(4):
        lookout.add(noisy(0.75 * other, number))
    lesson = learn_tray(lookout, learned_ts=1.0)
    found = outlook_of(lesson, lookout.samples)
    assert (lesson.mistaken, lesson.left_out, lesson.model.frames) == (4, 0, 16)
    assert found.verdict != "good" and "in 25% of the frames the tray itself" in found.sentence
    assert as_row(tmp_path / "t.npz", lesson, found)["mistaken"] == 4


def test_an_item_there_from_the_start_is_seen_against_the_stored_tray() -> None:
    """Without it, what lies there at the start would count as the empty tray."""
    tray = Tray()
    memory = known_tray(frame.pixels for frame in tray.frames(1))
    tray.things.append(("can", 320, 250))
    assert play(build_trigger("presence", votes=3), tray.frames(3)) == []
    assert len(play(build_trigger("presence", votes=3, tray=memory), tray.frames(3))) == 1


def test_another_scene_than_the_stored_tray_is_learned_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A camera that was moved is said, and the bin works on."""
    memory = known_tray(frame.pixels for frame in Tray().frames(1))
    other = Tray(seed=3)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    other._empty = (
        cv2.GaussianBlur(noise, (0, 0), 25) // 2 + cv2.resize(noise[:6, :8], (640, 480)) // 2
    )
    trigger = build_trigger("presence", votes=3, tray=memory)
    assert play(trigger, other.frames(2)) == []
    assert "was the camera moved" in caplog.text
    other.things.append(("can", 320, 250))
    assert len(play(trigger, other.frames(2))) == 1


def test_a_tray_of_another_picture_size_is_said(
    write_bundle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By the segmenter in its note, by judge and trigger in the log; nothing is called empty."""
    memory = known_tray(frame.pixels for frame in Tray().frames(1))
    small = cv2.resize(Tray().frame().pixels, (320, 240), interpolation=cv2.INTER_AREA)
    frames = [Frame(small, captured_s=n / 10, seq=n) for n in range(40)]
    words = "the stored tray is one of 640x480 px, frames are 320x240; run smartbin tray again"
    item = Item((frames[0],), trigger_s=0.0, cause="command")
    crop = DifferenceSegmenter(memory).cut(frames[0], item)
    assert crop.note == f"difference: {words}, whole frame judged"
    judge = judge_of(write_bundle, memory)
    assert {judge.judge(item).decision.outcome for _ in range(3)} != {"empty"}
    assert [r.getMessage().count(words) for r in caplog.records] == [1]  # once for three looks
    caplog.clear()
    play(build_trigger("presence", votes=3, tray=memory), frames)
    assert [r.getMessage().count(words) for r in caplog.records] == [1]


@pytest.mark.parametrize("kind", ["command", "interval"])
def test_a_known_empty_tray_is_empty_for_every_trigger(kind: str, write_bundle: Any) -> None:
    """No class is judged and nothing moves; a thing there is judged as ever."""
    tray, memory = tray_memory()
    judge = judge_of(write_bundle, memory)
    for things, empty in (([], True), ([("can", 320, 250)], False)):
        tray.things = list(things)
        trigger = build_trigger(kind, votes=2, interval_s=5.0)
        trigger.fire(tray.now_s)
        item = play(trigger, tray.frames(0.5))[0]
        decision = judge.judge(item).decision
        assert (decision.outcome == "empty") == empty
        assert decision.route == "rest"


def test_smartbin_tray_learns_from_the_camera_of_the_configuration(
    tmp_path: Path, write_config: Any
) -> None:
    """It stores the tray, says what to expect, and the file it wrote is used by classify."""
    tray, folder = Tray(surface="wood"), tmp_path / "empty"
    folder.mkdir()
    for number in range(16):
        tray.lamp = 0.6 if number > 10 else 1.0
        cv2.imwrite(str(folder / f"{number:02}.png"), tray.frame().pixels[..., ::-1])
    out = tmp_path / "tray.npz"
    config = write_config(1, source=f"folder:{folder}", fps=50, repeat=False)
    result = smartbin("tray", "--config", config, "--out", out, "--json")
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert (row["frames"], row["size_px"], row["verdict"]) == (16, [640, 480], "good")
    assert row["light"][0] == pytest.approx(0.6, abs=0.1)
    seen = smartbin(
        "classify", "--json", "--segment", "difference", "--tray", out, folder / "00.png"
    )
    assert json.loads(seen.stdout)["outcome"] == "empty"
    assert "segmenter" not in json.loads(seen.stdout)  # as in the bin: what is empty is not cut


def test_the_words_begin_with_the_verdict(tmp_path: Path) -> None:
    """For a person who reads only the first line."""
    lookout = Lookout()
    for frame in Tray().frames(1):
        lookout.add(frame.pixels)
    lesson = learn_tray(lookout, learned_ts=1.0)
    lines = as_text(tmp_path / "t.npz", lesson, outlook_of(lesson, lookout.samples))
    assert any("no other was seen" in line for line in lines)  # nobody touched a lamp
    assert lines[0].startswith("fair: Items will stand out") and "640x480" in lines[-1]
