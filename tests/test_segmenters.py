"""One contract for all segmenters, and what each adds; rembg's own process where rembg is."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import load_bundle
from edge.errors import BundleError, MissingExtraError, UsageError
from edge.health import rss_mb
from edge.preprocess import FILL_GREY
from edge.segmenters import KINDS, Segmenter, build_segmenter
from edge.segmenters.base import certainty
from edge.segmenters.cutout import (
    box_of,
    cells_of,
    cut_out,
    fault_of,
    main_pieces,
    on_grey,
    window_of,
)
from edge.segmenters.rembg import RembgSegmenter
from edge.segmenters.tiny import TinySegmenter, load_mask_net
from edge.shipped import default_model, default_segmenter
from edge.tray import TrayMemory
from edge.values import Crop, Frame, Item, Pixels
from tests.harness import wait_for
from tests.masknets import write_mask_net
from tests.trays import known_tray

WEIGHTS = os.environ.get("SMARTBIN_U2NET_HOME", "")
STAND_IN = "tests.rembg_stand_in"
needs_rembg = pytest.mark.skipif(
    not WEIGHTS or importlib.util.find_spec("rembg") is None,
    reason="set SMARTBIN_U2NET_HOME to a folder with u2netp.onnx, and install '.[segment]'",
)
ITEM_BOX = (240, 160, 400, 320)  # of the bright disc in `scene`


def scene(size: tuple[int, int] = (640, 480), *, item: bool = True, seed: int = 0) -> Pixels:
    """A dark tray, seen with some noise, and a bright disc on it; `size` is (width, height)."""
    pixels = np.full((480, 640, 3), (70, 66, 60), np.uint8)
    if item:
        cv2.circle(pixels, (320, 240), 80, (225, 222, 210), -1)
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(seed).normal(0, 1.5, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def shown(pixels: Pixels, box: tuple[int, int, int, int] | None = None) -> tuple[Frame, Item]:
    frame = Frame(pixels, captured_s=1.0, seq=1)
    return frame, Item((frame,), trigger_s=1.0, cause="frame", box_xyxy=box)


def cut(segmenter: Segmenter, pixels: Pixels) -> Crop:
    return segmenter.cut(*shown(pixels))


@pytest.fixture(scope="module")
def mask_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mask_net(tmp_path_factory.mktemp("net"))


def stand_in(manner: str = "good", **options: Any) -> RembgSegmenter:
    settings = {"timeout_s": 20.0, "memory_mb": 2000.0, "patient": True} | options
    return RembgSegmenter(session=manner, child=STAND_IN, **settings)


def build(kind: str, mask_net: Path) -> Segmenter:
    if kind == "rembg, stand-in":
        return stand_in()
    return build_segmenter(
        kind,
        model=mask_net if kind == "tiny" else None,
        tray=known_tray(scene(item=False, seed=n) for n in range(1, 9)),
        patient=True,
        timeout_s=60.0,
        memory_mb=2000.0,
    )


ALL = [*KINDS[:-1], "rembg, stand-in", pytest.param("rembg", marks=needs_rembg)]


@pytest.fixture(params=ALL, scope="module")
def segmenter(request: pytest.FixtureRequest, mask_net: Path) -> Iterator[Segmenter]:
    if WEIGHTS:
        os.environ["U2NET_HOME"] = WEIGHTS
    made = build(request.param, mask_net)
    yield made
    made.close()


@pytest.fixture(params=ALL[1:], scope="module")
def cutter(request: pytest.FixtureRequest, mask_net: Path) -> Iterator[Segmenter]:
    """All but the one that cuts nothing."""
    if WEIGHTS:
        os.environ["U2NET_HOME"] = WEIGHTS
    made = build(request.param, mask_net)
    yield made
    made.close()


def assert_valid(crop: Crop, pixels: Pixels) -> None:
    """What the contract says of every crop."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = crop.box_xyxy
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert crop.pixels.dtype == np.uint8 and crop.pixels.shape[2] == 3
    assert 0 <= crop.quality <= 1
    if crop.mask is None:
        assert crop.segmenter == "none" and crop.pixels is pixels
    else:
        assert crop.mask.dtype == np.bool_ and crop.mask.shape == crop.pixels.shape[:2]
        assert crop.mask.any() and not crop.note


def test_a_crop_is_valid(segmenter: Segmenter) -> None:
    """Whatever the segmenter and the scene."""
    for pixels in (scene(), scene(item=False), scene((320, 240)), np.zeros_like(scene())):
        assert_valid(cut(segmenter, pixels), pixels)


def test_an_item_is_cut_out_on_grey_in_a_4_to_3_window(cutter: Segmenter) -> None:
    """Its box is where it lies; what is not the item is neutral grey; the name says who cut."""
    crop = cut(cutter, scene())
    assert crop.segmenter == cutter.name and not crop.note
    assert crop.box_xyxy == pytest.approx(ITEM_BOX, abs=14)
    assert crop.mask is not None
    assert crop.pixels.shape[1] / crop.pixels.shape[0] == pytest.approx(4 / 3, abs=0.02)
    far = cv2.dilate(crop.mask.astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
    assert far.any() and (crop.pixels[far] == FILL_GREY).all()
    middle = crop.pixels[crop.pixels.shape[0] // 2, crop.pixels.shape[1] // 2]
    assert middle.min() > 190


def test_the_same_frame_gives_the_same_crop(segmenter: Segmenter) -> None:
    """Bit for bit."""
    first, second = cut(segmenter, scene()), cut(segmenter, scene())
    assert first.box_xyxy == second.box_xyxy
    assert np.array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("kind", ["difference", "tiny", "rembg, stand-in"])
def test_an_empty_mask_falls_back_and_says_so(kind: str, mask_net: Path) -> None:
    """The whole frame is judged, under the name none, with a note."""
    segmenter = build(kind, mask_net)
    pixels = scene(item=False)
    crop = cut(segmenter, pixels)
    segmenter.close()
    assert crop.pixels is pixels and crop.segmenter == "none" and crop.mask is None
    assert crop.note == f"{segmenter.name}: empty mask, whole frame judged"


@pytest.mark.parametrize("kind", ["none", "difference", "tiny", "rembg, stand-in"])
def test_closing_twice_is_closing_once(kind: str, mask_net: Path) -> None:
    """And a closed one raises nothing."""
    segmenter = build(kind, mask_net)
    segmenter.close()
    segmenter.close()
    assert_valid(cut(segmenter, scene()), scene()) if kind == "tiny" else cut(segmenter, scene())


@pytest.mark.parametrize("kind", ["difference", "tiny", "rembg, stand-in"])
def test_memory_does_not_grow_with_use(kind: str, mask_net: Path) -> None:
    """Forty items later the process is as large as after ten, within 20 MB."""
    segmenter = build(kind, mask_net)
    pid = getattr(segmenter, "pid", None)
    pixels = scene()
    for _ in range(10):
        cut(segmenter, pixels)
    before_mb = rss_mb(pid)
    for _ in range(40):
        cut(segmenter, pixels)
    assert rss_mb(pid) - before_mb < 20
    segmenter.close()


FRAMES = st.tuples(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["black", "white", "noise", "half"]),
    st.integers(0, 3),
)


@pytest.mark.parametrize("kind", ["none", "difference", "tiny"])
@settings(max_examples=60, deadline=None)
@given(drawn=FRAMES)
def test_any_frame_gives_a_valid_crop(
    kind: str, mask_net: Path, drawn: tuple[int, int, str, int]
) -> None:
    """Odd sizes, black and white ones; a tray that is known for this size or not."""
    height, width, content, seed = drawn
    pixels = frame_of(height, width, content, seed)
    empty = frame_of(height, width, "black", 0)
    tray = known_tray([empty] * 4) if seed else TrayMemory()
    segmenter = build_segmenter(kind, model=mask_net if kind == "tiny" else None, tray=tray)
    assert_valid(cut(segmenter, pixels), pixels)


def test_a_frame_too_small_for_its_mask_is_judged_whole(mask_net: Path) -> None:
    """Two pixels of noise: the mask is the item in its own cells, but in neither pixel."""
    pixels = frame_of(1, 2, "noise", 0)
    crop = cut(build_segmenter("tiny", model=mask_net, tray=TrayMemory()), pixels)
    assert crop.mask is None and crop.pixels.shape == pixels.shape
    assert crop.note == "tiny: empty mask, whole frame judged"


def frame_of(height: int, width: int, content: str, seed: int) -> Pixels:
    if content == "noise":
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels = np.full((height, width, 3), 255 if content == "white" else 0, np.uint8)
    if content == "half":
        pixels[: height // 2 + 1] = 240
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "ms"), [("none", 0.1), ("difference", 3.0), ("tiny", 12.0)])
def test_each_kind_keeps_to_its_class_of_speed(kind: str, ms: float, mask_net: Path) -> None:
    """The best cut of 640x480, in milliseconds; `tiny` here is the network of the tests."""
    segmenter, pixels, took_ms = build(kind, mask_net), scene(), []
    for _ in range(60):
        start_s = time.perf_counter()
        cut(segmenter, pixels)
        took_ms.append((time.perf_counter() - start_s) * 1000)
    assert min(took_ms) < ms  # other work runs beside the tests


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """As the command line passes it on."""
    with pytest.raises(UsageError, match="none, difference, tiny, rembg"):
        build_segmenter("magic")


# What a mask makes of a frame.


def disc(radius: int, size: tuple[int, int] = (160, 120)) -> Pixels:
    mask = np.zeros(size[::-1], np.uint8)
    cv2.circle(mask, (size[0] // 2, size[1] // 2), radius, 255, -1)
    return mask


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((100, 100, 200, 300), (-10, 80, 310, 320)),  # high: 1.2 x 200 px, and 4/3 of it wide
        ((100, 100, 500, 200), (60, -30, 540, 330)),  # wide: 1.2 x 400 px, and 3/4 of it high
        ((320, 240, 330, 250), (261, 197, 389, 293)),  # a cap: a fifth of 480 px
    ],
)
def test_the_window_is_the_smallest_4_to_3_with_a_margin(
    box: tuple[int, int, int, int], window: tuple[int, int, int, int]
) -> None:
    """About the middle of the box, beyond the frame where needed, never tiny."""
    assert window_of(box, (480, 640)) == window


def test_alpha_is_soft_and_pulled_in() -> None:
    """clip((m - 0.4) / 0.5, 0, 1), to a level; the item itself is the frame's own pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 256, 3), np.uint8)
    mask = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    alpha = np.clip((mask / 255 - 0.4) / 0.5, 0, 1)[..., None]
    blended = np.empty_like(pixels)
    on_grey(pixels, mask, blended)
    assert np.abs(blended - (pixels * alpha + FILL_GREY * (1 - alpha))).max() <= 1
    assert (blended[:, 230:] == pixels[:, 230:]).all()
    assert (blended[:, :102] == FILL_GREY).all()


@pytest.mark.parametrize(
    ("mask", "quality", "part"),
    [
        (disc(0) * 0, 1.0, "empty mask"),
        (disc(5), 1.0, "covers only 0."),
        (np.full((120, 160), 255, np.uint8), 1.0, "covers 100% of the frame"),
        (disc(40), 0.1, "quality 0.10 is under 0.4"),
        (disc(40), 0.9, ""),
    ],
)
def test_a_poor_mask_is_named(mask: Pixels, quality: float, part: str) -> None:
    """Under 1.5 % or over 85 % of the frame, or of too little quality."""
    found = fault_of(mask, quality=quality, least_quality=0.4)
    assert part in found and bool(part) == bool(found)


def test_specks_do_not_stretch_the_box() -> None:
    """Pieces under a tenth of the largest go; a mask without them is left as it is."""
    mask = disc(30)
    clean = mask.copy()
    mask[2:5, 2:5] = 255
    assert box_of(mask, (480, 640)) != box_of(clean, (480, 640))
    assert np.array_equal(main_pieces(mask), clean)
    assert main_pieces(clean) is clean


def test_the_triggers_box_chooses_among_items() -> None:
    """What lies beside the new item, and was decided before, is not cut out with it."""
    mask = np.zeros((120, 160), np.uint8)
    mask[20:60, 20:60] = mask[70:100, 100:140] = 255
    near = cells_of((400, 280, 560, 400), (480, 640), mask.shape)
    assert box_of(main_pieces(mask, near), (480, 640)) == (400, 280, 560, 400)
    nowhere = cells_of((600, 0, 640, 20), (480, 640), mask.shape)
    assert np.array_equal(main_pieces(mask, nowhere), mask)


def test_a_cut_out_beyond_the_frame_is_grey_there() -> None:
    """An item in the corner is in the middle of its window all the same."""
    mask = np.zeros((120, 160), np.uint8)
    mask[:40, :40] = 255
    pixels = np.full((480, 640, 3), 200, np.uint8)
    found = cut_out(pixels, mask)
    assert found is not None and found.box_xyxy == (0, 0, 160, 160)
    assert (found.pixels[:10] == FILL_GREY).all() and (found.pixels[:, :40] == FILL_GREY).all()
    assert found.pixels[found.pixels.shape[0] // 2, found.pixels.shape[1] // 2, 0] == 200


def test_a_net_that_does_not_know_gives_no_quality() -> None:
    """Grey masks are worth nothing, sharp ones nearly all."""
    grey = np.where(disc(40) > 0, 150, 60).astype(np.uint8)
    assert certainty(grey) < 0.1 < 0.9 < certainty(disc(40))
    assert certainty(disc(0) * 0) == 0


# tiny


@pytest.mark.parametrize("size", [(480, 640), (960, 480), (200, 640), (64, 48)])
@pytest.mark.parametrize("takes_bytes", [False, True])
def test_frames_of_every_shape_are_masked_where_the_item_lies(
    size: tuple[int, int], takes_bytes: bool, tmp_path: Path
) -> None:
    """Upright, wide and long frames; networks that take floats and ones that take bytes."""
    net = load_mask_net(write_mask_net(tmp_path, takes_bytes=takes_bytes))
    pixels = np.full((size[1], size[0], 3), 40, np.uint8)
    x, y, radius = round(size[0] * 0.5), round(size[1] * 0.55), min(size) // 5
    cv2.circle(pixels, (x, y), radius, (230, 230, 230), -1)
    crop = cut(TinySegmenter(net), pixels)
    expected = (x - radius, y - radius, x + radius, y + radius)
    assert crop.box_xyxy == pytest.approx(expected, abs=max(4, max(size) / 28))


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"kind": "classifier"}, "kind: must be 'segmenter'"),
        ({"sha256": "0" * 64}, "damaged or swapped"),
        ({"format": 9}, "format = 9"),
        ({"input": {"width_px": 80, "height_px": 60}}, "the JSON belongs to another network"),
        ({"output": "depth"}, "one of logits, probability"),
        ({"threshold": 1.5}, "threshold"),
        ({"std": [0, 1, 1]}, "std: must be above 0"),
        ({"mean": [1, 2]}, "missing or of the wrong kind"),
    ],
)
def test_a_segmenter_that_disagrees_with_itself_is_refused(
    changed: dict[str, object], part: str, tmp_path: Path
) -> None:
    """In one sentence, which says what is wrong."""
    path = write_mask_net(tmp_path, **changed)
    with pytest.raises(BundleError, match=part):
        TinySegmenter(load_mask_net(path))


def test_the_cards_threshold_is_the_edge_of_the_item(tmp_path: Path) -> None:
    """A lower one takes what a higher one leaves."""
    pixels = scene()
    pixels[:, :120] = 126  # logits just under 0
    areas = []
    for threshold in (0.4, 0.6):
        net = load_mask_net(write_mask_net(tmp_path, threshold=threshold))
        areas.append(int((TinySegmenter(net).matte(pixels).mask >= 128).sum()))
    assert areas[0] > areas[1] * 2


# rembg's process


def test_rembg_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'smartbin\[segment\]'"):
        RembgSegmenter()


def test_while_rembg_starts_frames_are_judged_whole() -> None:
    """And cut as soon as it is there, without anyone having waited for it."""
    segmenter = stand_in(patient=False)
    first = cut(segmenter, scene())
    assert first.note == "rembg: its process is starting, whole frame judged"
    wait_for(lambda: cut(segmenter, scene()).segmenter == "rembg", what="rembg to be ready")
    segmenter.close()


@pytest.mark.parametrize(
    ("manner", "options", "part"),
    [
        ("hang", {"timeout_s": 0.3}, "no mask within 0.3 s"),
        ("die", {}, "its process died of SIGABRT"),
        ("broken", {}, "no such session"),
    ],
)
def test_rembg_that_fails_costs_one_item_its_mask(
    manner: str, options: dict[str, Any], part: str
) -> None:
    """The frame is judged whole, the note says why, and the process is gone."""
    segmenter = stand_in(manner, **options)
    pid = segmenter.pid
    crop = cut(segmenter, scene())
    assert crop.segmenter == "none" and part in crop.note
    assert pid is not None and rss_mb(pid) == 0.0
    segmenter.close()


def test_a_session_of_ones_own_network_is_refused_without_one(tmp_path: Path) -> None:
    """At once and in a sentence, not by a process that dies with every start."""
    with pytest.raises(UsageError, match=r"needs a network of your own; name its \.onnx"):
        stand_in("u2net_custom")
    absent = tmp_path / "absent.onnx"
    with pytest.raises(BundleError, match=r"absent\.onnx: no such file"):
        stand_in("u2net_custom", model=absent)


def test_a_network_of_tinys_does_not_move_the_home_of_rembgs(tmp_path: Path) -> None:
    """segmenter.model left from another kind is passed over by sessions that bring their own."""
    segmenter = stand_in("good", model=tmp_path / "absent.onnx")
    assert cut(segmenter, scene()).segmenter == "rembg"
    segmenter.close()


@needs_rembg
def test_a_network_that_cannot_be_fetched_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, with nothing in U2NET_HOME: which file is missing and where it goes."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    for exempt in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(exempt, raising=False)
    for scheme in ("http", "https"):  # nobody listens there, so no name is looked up
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    segmenter = build_segmenter("rembg", session="silueta", patient=True, memory_mb=2000)
    note = cut(segmenter, scene()).note
    segmenter.close()
    assert "its process failed: silueta.onnx cannot be opened or fetched" in note
    assert f"put it into {tmp_path}" in note


def test_a_classifier_given_as_segmenter_is_told_from_one() -> None:
    """And the other way round: the sentence says which of the two it is."""
    with pytest.raises(BundleError, match="kind: must be 'segmenter'; is this a classifier's"):
        load_mask_net(default_model())
    with pytest.raises(BundleError, match="a segmenter's card; a classifier's is asked for"):
        load_bundle(default_segmenter())


def test_rembg_that_fails_is_started_less_and_less_often() -> None:
    """After 1 s, 2 s, 4 s: a broken one does not eat the processor."""
    now = [100.0]
    segmenter = stand_in("broken", clock=lambda: now[0])
    starts = []
    for _ in range(80):
        cut(segmenter, scene())
        starts.append(segmenter.restarts)
        now[0] += 0.25
    segmenter.close()
    changes = [i / 4 for i in range(1, 80) if starts[i] > starts[i - 1]]
    assert changes == [1.0, 3.0, 7.0, 15.0]


def test_rembg_that_grows_is_started_afresh() -> None:
    """Its memory stays bounded, and masks go on coming."""
    segmenter = stand_in("grow", memory_mb=400.0)
    cuts = [cut(segmenter, scene()).segmenter for _ in range(5)]
    assert cuts[0] == "rembg" and segmenter.restarts == 0
    wait_for(
        lambda: cut(segmenter, scene()).segmenter == "rembg" and segmenter.restarts >= 1,
        what="a fresh process",
    )
    assert segmenter.pid is None or rss_mb(segmenter.pid) < 500
    segmenter.close()


def test_no_process_of_rembgs_outlives_its_daemon() -> None:
    """Closed, it is gone soon."""
    segmenter = stand_in()
    cut(segmenter, scene())
    pid = segmenter.pid
    start_s = time.monotonic()
    segmenter.close()
    assert time.monotonic() - start_s < 30
    assert pid is not None and not Path(f"/proc/{pid}").exists()


@needs_rembg
@pytest.mark.parametrize("takes_bytes", [False, True])
def test_our_own_network_runs_in_rembgs_custom_session(
    takes_bytes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fed as its card says, not at 320x320; the mask is the one of `tiny`."""
    monkeypatch.delenv("U2NET_HOME", raising=False)
    path = write_mask_net(tmp_path, takes_bytes=takes_bytes)
    theirs = build_segmenter(
        "rembg", session="u2net_custom", model=path, patient=True, timeout_s=60, memory_mb=2000
    )
    crop = cut(theirs, scene())
    theirs.close()
    ours = cut(TinySegmenter(load_mask_net(path)), scene())
    assert (crop.segmenter, crop.note) == ("rembg", "")
    assert crop.box_xyxy == pytest.approx(ours.box_xyxy, abs=10)


def test_the_suite_covers_every_kind() -> None:
    """A kind that is added is tested by the contract."""
    named = {str(p if isinstance(p, str) else p.values[0]) for p in ALL}
    assert set(KINDS) <= named


@pytest.mark.mosquitto
def test_the_daemon_says_in_the_decision_what_was_cut(
    mosquitto: Any, listen: Any, write_config: Any, run_daemon: Any, tmp_path: Path
) -> None:
    """By the segmenter's name where it was; by the reason where the whole frame was judged."""
    folder = tmp_path / "items"
    folder.mkdir()
    for name, pixels in (("a-item", scene()), ("b-empty", scene(item=False))):
        cv2.imwrite(str(folder / f"{name}.png"), pixels[..., ::-1])
    net = write_mask_net(tmp_path / "net")
    extra = f'[segmenter]\nkind = "tiny"\nmodel = "{net}"'
    listener = listen(mosquitto.port)
    source = f"folder:{folder}"
    run_daemon(write_config(mosquitto.port, source=source, fps=2, repeat=False, extra=extra))
    wait_for(lambda: len(listener.of("decision")) == 2, what="both decisions")
    first, second = (row["payload"] for row in listener.of("decision"))
    assert (first["picture"], first["segmenter"]) == ("a-item.png", "tiny")
    assert (second["picture"], second["segmenter"]) == ("b-empty.png", "none")
    assert second["reason"].endswith("; tiny: empty mask, whole frame judged")
    assert "; tiny: cut-out " in first["reason"] and ", whole frame " in first["reason"]
    assert "judged" not in first["reason"]
