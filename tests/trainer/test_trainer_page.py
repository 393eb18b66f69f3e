"""The demo page: what it says of a picture, and that it is served here and nowhere else."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import importlib.util
import itertools
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.errors import MissingExtraError, SmartbinError, UsageError
from edge.segmenters.drawing import ITEM
from edge.values import Pixels
from tests.harness import ROOT, free_port
from tests.masknets import write_mask_net
from trainer import page
from trainer import page_words as words
from trainer.page_eye import ENOUGH_S, PICTURE_PX, TIMES, Eye, Span, timed
from trainer.seer import seer_of

with_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None,
    reason="gradio is not installed; like torch it is of the trainer's environment",
)
RED = np.full((48, 64, 3), (220, 30, 30), np.uint8)


def bright_item() -> Pixels:
    """A pale red thing on dark ground; the tiny bundle calls both of it red, or nearly."""
    pixels = np.full((240, 320, 3), (60, 20, 20), np.uint8)
    pixels[60:140, 100:200] = (250, 190, 190)
    return pixels


@pytest.fixture
def open_eye(write_bundle: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[[str], Eye]]:
    """The tiny bundle behind a segmenter, whose network takes what is bright for the item."""
    with contextlib.ExitStack() as closing:

        def open_one(segmenter: str) -> Eye:
            bundle = load_bundle(write_bundle())
            net = write_mask_net(tmp_path / "net")
            return Eye(bundle, closing.enter_context(seer_of(bundle, segmenter, model=net)))

        yield open_one


@pytest.fixture
def eye(open_eye: Callable[[str], Eye]) -> Eye:
    return open_eye("tiny")


@pytest.fixture
def address(eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page, served."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "dropped"))
    blocks = page.build(eye)
    yield page.launch(blocks, free_port())
    blocks.close(verbose=False)


def test_a_look_has_verdict_time_and_map(eye: Eye) -> None:
    """A red picture: sorted as red, the map as wide as the page wants it."""
    look = eye.look(RED)
    assert look.decision.outcome == "sorted"
    assert look.decision.label == "red"
    assert look.cutting.ms > 0 and look.judging.ms > 0
    assert look.map_rgb is not None
    assert look.map_rgb.shape == (PICTURE_PX * 3 // 4, PICTURE_PX, 3)
    assert words.map_title(look) == "#### Evidence for red, in the whole frame"
    assert words.verdict_text(look.decision).startswith("### sorted\nred ")


def test_an_unsure_look_says_where_it_goes(eye: Eye) -> None:
    """Grey is every colour alike: the reason, and the safe way."""
    look = eye.look(np.full((48, 64, 3), 127, np.uint8))
    assert look.decision.outcome == "ambiguous"
    assert "goes the safe way" in words.verdict_text(look.decision)


def test_the_segmentation_is_drawn_where_the_item_lies(eye: Eye) -> None:
    """Bright inside its outline as photographed, dark outside; the box round it."""
    pixels = bright_item()
    look = eye.look(pixels)
    assert look.crop.segmenter == "tiny"
    assert look.item_rgb.shape == (PICTURE_PX * 3 // 4, PICTURE_PX, 3)
    scale = PICTURE_PX / pixels.shape[1]
    x, y = round(150 * scale), round(100 * scale)  # the item's middle
    assert (look.item_rgb[y, x] == pixels[100, 150]).all()
    assert look.item_rgb[5, 5].astype(int).sum() < 200  # of 3 x 90
    x0, y0, x1, y1 = (round(side * scale) for side in look.crop.box_xyxy)
    for row, column in ((y0, (x0 + x1) // 2), ((y0 + y1) // 2, x0)):
        assert (look.item_rgb[row, column] == ITEM).all()
    drawn = np.zeros(pixels.shape[:2], bool)
    drawn[60:140, 100:200] = True
    assert look.covered == pytest.approx(drawn.mean(), abs=0.01)


def test_a_cut_out_is_told_in_words(eye: Eye) -> None:
    """Mask, box, what each look said and how much it counts; cutting and judging timed apart."""
    look = eye.look(bright_item())
    assert words.item_title(look) == "#### Segmentation by tiny"
    assert words.item_text(look).startswith("**Cut out.** The mask is clear (quality ")
    assert f"covers {look.covered:.0%} of the frame" in words.item_text(look)
    rows = words.looks_text(look).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "whole frame", "cut-out", "**together**",
    ]  # fmt: skip
    cut, whole = look.glance.prediction.parts
    assert f"{whole.probs.max():.1%} | {1 - look.crop.share:.0%} |" in rows[2]
    assert f"{cut.probs.max():.1%} | {look.crop.share:.0%} |" in rows[3]
    assert f"{look.decision.label} {look.decision.confidence:.1%}" in rows[4]
    spent = words.time_text(look).splitlines()
    assert "ms** to cut out (" in spent[0] and "ms** to judge both looks (" in spent[1]


def test_a_poor_mask_says_why_and_what_was_judged(eye: Eye) -> None:
    """The frame undimmed, the reason, one look that counts all; the time of cutting stays."""
    look = eye.look(RED)  # nothing bright
    assert look.crop.mask is None and look.covered == 0
    assert (look.item_rgb == RED[0, 0]).all()
    assert words.item_title(look) == "#### Segmentation: none good enough"
    assert words.item_text(look) == "**Not cut out.** tiny: empty mask, whole frame judged."
    assert words.looks_text(look).splitlines()[2:] == [
        f"| whole frame | red {look.decision.confidence:.1%} | 100% |"
    ]
    assert "ms** to judge the whole frame (" in words.time_text(look)


def test_without_a_segmenter_the_page_says_so(open_eye: Callable[[str], Eye]) -> None:
    """No time of cutting, and no word of a mask that nobody asked for."""
    look = open_eye("none").look(bright_item())
    assert look.crop.mask is None
    assert "--segment none" in words.item_text(look)
    assert "cut out" not in words.time_text(look)


@pytest.mark.parametrize(
    ("quality", "word"), [(0.4, "just good enough"), (0.6, "fair"), (0.8, "clear"), (1.0, "clear")]
)
def test_a_quality_has_a_word(quality: float, word: str) -> None:
    """From the least that is cut at all to the best."""
    assert words.quality_word(quality) == word


def test_a_class_with_a_bar_in_its_name_stays_in_its_column(eye: Eye) -> None:
    """Classes are folders, and a folder may have any name."""
    look = dataclasses.replace(eye.look(RED), labels=("a|b", "green", "blue"))
    assert "| a\\|b " in words.looks_text(look)


def test_a_slow_step_is_not_repeated_for_its_time() -> None:
    """The first call counts not; one more is timed, and no further where it took long."""
    now = [0.0]

    def taking(*seconds: float) -> tuple[int, Span]:
        spent = iter(seconds)
        calls = itertools.count(1)

        def step() -> int:
            now[0] += next(spent)
            return next(calls)

        return timed(step, clock=lambda: now[0])

    assert taking(9.0, ENOUGH_S + 0.25) == (1, Span(1000 * (ENOUGH_S + 0.25), 1))
    assert taking(9.0, *[0.0625] * TIMES)[1] == Span(62.5, TIMES)
    # An even count has no middle one: a slow second call is followed by a third.
    assert taking(0.0, 0.25, 0.5, 0.125)[1] == Span(250.0, 3)


def test_a_mask_is_not_lost_by_being_timed(open_eye: Callable[[str], Eye]) -> None:
    """Asked again for its time alone, a segmenter that has no more answers changes no verdict."""
    eye = open_eye("tiny")
    seer, asked = eye._seer, itertools.count()
    cut = seer.cut
    whole = cut(np.full((48, 64, 3), 127, np.uint8))
    seer.cut = lambda pixels: cut(pixels) if next(asked) == 0 else whole  # type: ignore[method-assign]
    look = eye.look(bright_item())
    assert look.crop.mask is not None and look.covered > 0


def test_a_strip_is_drawn_within_bounds(open_eye: Callable[[str], Eye]) -> None:
    """A picture of 10 x 20,000 would be a million lines high at the page's width."""
    look = open_eye("tiny").look(np.full((20_000, 10, 3), 127, np.uint8))
    height, width = look.item_rgb.shape[:2]
    assert max(height, width) <= PICTURE_PX and min(height, width) >= 1


def test_without_gradio_one_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback: what to install."""
    usual = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "gradio":
            raise ImportError(name)
        return usual(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="pip install 'gradio"):
        page.gradio()


def test_onnxruntime_is_told_to_be_quiet_before_it_is_loaded() -> None:
    """In a process of its own: the switch is set when the first import of onnxruntime begins."""
    code = (
        "import builtins, os; usual = builtins.__import__; seen = []\n"
        "def spy(name, *rest, **options):\n"
        "    if name == 'onnxruntime': seen.append(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "    return usual(name, *rest, **options)\n"
        "builtins.__import__ = spy; import trainer.cli, trainer.page; print(seen[0])"
    )
    bare = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bare,
        timeout=200,
    )
    assert done.stdout.strip() == "1", done.stderr


def test_a_strange_port_is_refused(write_bundle: Callable[..., Path]) -> None:
    """Before anything is loaded."""
    from trainer.cli_report import demo

    with pytest.raises(UsageError, match="--port 70000: must be 1 to 65535"):
        demo(write_bundle(), 70000)


@pytest.mark.parametrize("kind", ["unheard-of", "", "difference"])
def test_a_segmenter_that_cannot_be_had_is_one_sentence(
    kind: str, write_bundle: Callable[..., Path]
) -> None:
    """Before anything is loaded: what was said and what is allowed."""
    from trainer.cli_report import demo

    with pytest.raises(UsageError, match=r"--segment .*allowed are tiny, none, rembg"):
        demo(write_bundle(), segment=kind)


def test_a_missing_rembg_is_one_sentence(
    write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said at the start, with the command that brings it, not at the first picture."""
    usual = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "rembg" else usual(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'smartbin\[segment\]', or choose"):
        page.serve(write_bundle(), free_port(), print, segmenter="rembg")


def test_what_is_no_picture_is_said_by_its_name(
    eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's sentence without the folder it lies in; a page emptied is as it began."""
    monkeypatch.setenv(page.UPLOADS, str(tmp_path))
    path = tmp_path / "letter.jpg"
    path.write_text("no picture")
    refused = page.answer(eye, {"path": str(path)})
    assert refused[0].startswith("### not a picture that can be judged\nletter.jpg: ")
    assert refused[1:] == page.answer(eye, None)[1:]
    assert page.answer(eye, None)[0] == ""


@pytest.mark.parametrize("named", ["own.png", "missing.png", "dropped/../own.png", "dropped/link"])
def test_no_file_but_a_dropped_one_is_read(
    eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A request may name any path: what lies elsewhere, or not at all, gets one same answer."""
    dropped = tmp_path / "dropped"
    dropped.mkdir()
    assert cv2.imwrite(str(tmp_path / "own.png"), RED)
    (dropped / "link").symlink_to(tmp_path / "own.png")
    assert cv2.imwrite(str(dropped / "good.png"), RED)
    monkeypatch.setenv(page.UPLOADS, str(dropped))
    refused = page.answer(eye, {"path": str(tmp_path / named)})
    assert refused[0] == "### not a picture that was dropped here\nDrop one on this page."
    assert refused[1:] == page.answer(eye, None)[1:]
    assert page.answer(eye, {"path": str(dropped / "good.png")})[1]
    monkeypatch.delenv(page.UPLOADS)
    assert not page.was_dropped(dropped / "good.png")


@with_gradio
@pytest.mark.trainer
def test_the_page_builds_without_analytics(eye: Eye) -> None:
    """Gradio's own switch is off, in the page and in the environment."""
    blocks = page.build(eye)
    assert blocks.analytics_enabled is False
    texts = str(blocks.get_config_file())
    assert "tiny@3" in texts
    assert "Segmentation:** tiny" in texts


@with_gradio
@pytest.mark.trainer
def test_the_page_answers_on_loopback_under_its_policy(address: str) -> None:
    """127.0.0.1 alone; nothing from elsewhere may load; another host's name is refused."""
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=200) as answer:
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    strange = urllib.request.Request(address, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(strange, timeout=200)


@with_gradio
@pytest.mark.trainer
def test_a_taken_port_is_one_sentence(eye: Eye, address: str) -> None:
    """Two pages on one port: the second says what to do."""
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(SmartbinError, match=f"--port {port}: cannot be listened on"):
        page.launch(page.build(eye), port)
