"""Judging both: the cut-out and its whole frame, one contract for every segmenter that cuts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.classifier import Classifier
from edge.classify import PictureClassifier, as_row
from edge.decide import Routes, Rules
from edge.errors import UsageError
from edge.fusion import fused
from edge.judge import Judge
from edge.segmenters import JUDGE, Segmenter, WholeFrame, build_segmenter
from edge.segmenters.both import SHARE, BothLooks
from edge.values import Prediction
from tests.masknets import write_mask_net
from tests.test_segmenters import cut, scene, shown, stand_in
from tests.trays import known_tray


def prediction(*probs: float, evidence: float | None = None) -> Prediction:
    return Prediction(np.array(probs, np.float32), evidence)


@pytest.fixture(scope="module")
def mask_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mask_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(params=["difference", "tiny", "rembg, stand-in"], scope="module")
def pair(request: pytest.FixtureRequest, mask_net: Path) -> Iterator[tuple[Segmenter, Segmenter]]:
    """The same segmenter, judging both and judging the cut-out alone."""
    if request.param == "rembg, stand-in":
        alone: Segmenter = stand_in()
        both: Segmenter = BothLooks(alone)
    else:
        both, alone = (
            build_segmenter(
                request.param,
                judge=judge,
                model=mask_net if request.param == "tiny" else None,
                tray=known_tray(scene(item=False, seed=n) for n in range(1, 9)),
            )
            for judge in JUDGE
        )
    yield both, alone
    both.close()
    alone.close()


def test_both_adds_the_frame_and_changes_nothing_else(pair: tuple[Segmenter, Segmenter]) -> None:
    """The cut-out, its box, mask, quality and name are those of the cut-out alone."""
    both, alone = pair
    pixels = scene()
    two, one = cut(both, pixels), cut(alone, pixels)
    assert two.beside is pixels and one.beside is None
    assert two.share == SHARE
    assert np.array_equal(two.pixels, one.pixels) and np.array_equal(two.mask, one.mask)
    assert (two.box_xyxy, two.quality, two.segmenter) == (one.box_xyxy, one.quality, one.segmenter)


def test_a_whole_frame_is_judged_once(pair: tuple[Segmenter, Segmenter]) -> None:
    """What could not be cut has nothing beside it, and says why as ever."""
    pixels = scene(item=False)
    found = cut(pair[0], pixels)
    assert found.pixels is pixels and found.beside is None
    assert found.note.endswith("whole frame judged")


def test_none_cuts_nothing_and_so_judges_once() -> None:
    """And anything but the known ways is refused with them."""
    assert isinstance(build_segmenter("none"), WholeFrame)
    with pytest.raises(UsageError, match="judge 'all': allowed are both, cutout"):
        build_segmenter("none", judge="all")


# How two predictions become one.


def test_the_mean_is_of_the_logarithms() -> None:
    """By hand: sqrt(0.8 * 0.2) of each of two classes, and 0 of the third, is a half each."""
    found = fused(cut=prediction(0.8, 0.2, 0.0), whole=prediction(0.2, 0.8, 0.0), share=0.5)
    assert found.probs == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)
    assert [part.probs[0] for part in found.parts] == pytest.approx([0.8, 0.2])


def test_a_class_that_one_look_rules_out_does_not_win() -> None:
    """A mean of the probabilities would have taken the first."""
    found = fused(cut=prediction(0.9, 0.1, 0.0), whole=prediction(0.001, 0.5, 0.499), share=0.5)
    assert int(found.probs.argmax()) == 1


def test_evidence_is_the_weighted_mean_where_there_is_any() -> None:
    """Of being an item at all; a bundle without such a rule has none."""
    cut_, whole = prediction(1, 0, 0, evidence=4.0), prediction(1, 0, 0, evidence=-1.0)
    assert fused(cut=cut_, whole=whole, share=0.6).evidence == pytest.approx(2.0)
    assert fused(cut=prediction(1, 0, 0), whole=whole, share=0.6).evidence is None


PROBS = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3).filter(lambda p: sum(p) > 0.1)


@settings(max_examples=100, deadline=None)
@given(one=PROBS, other=PROBS, share=st.floats(0, 1))
def test_any_two_give_probabilities(one: list[float], other: list[float], share: float) -> None:
    """They sum to 1, and all of the share is the cut-out's own answer."""
    a, b = (np.array(p, np.float32) / np.float32(sum(p)) for p in (one, other))
    found = fused(cut=Prediction(a), whole=Prediction(b), share=share)
    assert found.probs.sum() == pytest.approx(1, abs=1e-5) and (found.probs >= 0).all()
    alone = fused(cut=Prediction(a), whole=Prediction(b), share=1.0)
    assert alone.probs == pytest.approx(a, abs=1e-5)


def test_a_network_that_gives_no_numbers_is_still_found_out() -> None:
    """No number in one look is none in the fused one, which `decide` calls a fault."""
    broken = prediction(float("nan"), float("nan"), float("nan"))
    assert np.isnan(fused(cut=prediction(1, 0, 0), whole=broken, share=0.6).probs).all()


# What becomes of it in a decision.


def red_on_green(tmp_path: Path) -> Path:
    """A bright pale-red disc on dark green: the cut-out says red, the whole frame green."""
    pixels = np.full((480, 640, 3), (0, 90, 0), np.uint8)
    cv2.circle(pixels, (320, 240), 80, (255, 170, 170), -1)
    path = tmp_path / "disc.png"
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def test_the_reason_tells_what_each_look_said(
    write_bundle: Any, mask_net: Path, tmp_path: Path
) -> None:
    """In `classify` with the share beside it; by cut-out alone there is one look, and no word."""
    path, model = red_on_green(tmp_path), write_bundle()
    both = PictureClassifier(model, segmenter=build_segmenter("tiny", model=mask_net)).look(path)
    assert "; tiny: cut-out red " in both.decision.reason
    assert f" counts {SHARE:.0%}, whole frame green " in both.decision.reason
    assert as_row(both)["share"] == SHARE
    alone = PictureClassifier(
        model, segmenter=build_segmenter("tiny", judge="cutout", model=mask_net)
    ).look(path)
    assert alone.decision.label == "red" and "whole frame" not in alone.decision.reason
    assert "share" not in as_row(alone)


def test_the_bin_judges_as_classify_does(write_bundle: Any, mask_net: Path, tmp_path: Path) -> None:
    """One definition: the same frame gives the same decision in both places."""
    from edge.bundle import load_bundle
    from edge.pictures import read_picture

    path, bundle = red_on_green(tmp_path), load_bundle(write_bundle())
    segmenter = build_segmenter("tiny", model=mask_net)
    judge = Judge(
        segmenter=segmenter,
        classifier=Classifier(bundle),
        rules=Rules(
            bundle.labels, bundle.thresholds, bundle.min_margin, 0, rejection=bundle.rejection
        ),
        routes=Routes("", {}),
        deadline_s=1e9,
    )
    decision = judge.judge(shown(read_picture(path))[1]).decision
    classified = PictureClassifier(write_bundle(), segmenter=segmenter).look(path).decision
    assert (decision.outcome, decision.top) == (classified.outcome, classified.top)
    assert decision.reason == classified.reason
