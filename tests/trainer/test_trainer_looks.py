"""The two tools that show what a segmenter does: the table of swaps and the ten hard cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.values import Crop, Decision, Prediction
from tests.trainer.synthetic import write_photos
from tests.trainer.test_trainer_evaluate import train_cli
from tools import hard_cases, segmenter_swap
from trainer.background_views import SWAPS
from trainer.rendered import Picture
from trainer.seer import Glance

Write = Callable[..., Path]
LABELS = ("metal", "paper")


def prediction(metal: float) -> Prediction:
    return Prediction(np.array([metal, 1 - metal], np.float32))


def case(item: str, surface: str, whole: float, cut: float) -> hard_cases.Case:
    """A picture whose frame alone and cut-out alone give `metal` these probabilities."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    parts = (prediction(cut), prediction(whole))
    both = Prediction(prediction((whole + cut) / 2).probs, parts=parts)
    crop = Crop(pixels, (40, 30, 120, 90), np.ones((120, 160), np.bool_), "tiny", quality=0.9)
    decision = Decision("sorted", "metal", "", 0.5, (), "")
    picture = Picture(Path(f"{item}.jpg"), item, surface=surface, label="metal")
    return hard_cases.Case(picture, pixels, Glance(crop, both, decision), LABELS)


def test_hard_is_where_the_two_looks_differ_most() -> None:
    """Whichever is right; of one item two at most, so the third of the can is passed over."""
    cases = [case("can", f"s{n}", 0.9, 0.1 + n / 100) for n in range(3)]
    cases += [case("foil", "wood", 0.2, 0.7), case("tin", "wood", 0.6, 0.6)]
    chosen = hard_cases.hardest(cases)
    assert [(c.picture.item, c.picture.surface) for c in chosen] == [
        ("can", "s0"),
        ("can", "s1"),
        ("foil", "wood"),
        ("tin", "wood"),
    ]


def test_the_sheet_shows_each_answer_in_the_colour_of_being_right() -> None:
    """A frame that is wrong and a cut-out that is right leave both colours on the sheet."""
    sheet = hard_cases.draw([case("can", "wood", 0.1, 0.9)], "tiny@1", "tiny").pixels
    for colour in (hard_cases.RIGHT, hard_cases.WRONG):
        assert (sheet == colour).all(axis=2).sum() > 20


def test_the_table_counts_and_takes_parts() -> None:
    """Three of four right is 75.0; of the two that are kept, one is 50.0; the gap by the worst."""
    hits = {kind: np.array([True, True, True, False]) for kind in SWAPS}
    hits["brown"] = np.array([True, False, True, False])
    line = segmenter_swap.Line("tiny", "both", (3, 5, 7, 9), hits, {"ms_p50": 7.0, "peak_mb": 99})
    whole = line.as_dict()
    assert (whole["n"], whole["original"], whole["brown"], whole["gap"]) == (4, 75.0, 50.0, 25.0)
    part = segmenter_swap._part_of(line, (3, 9)).as_dict()
    assert (part["n"], part["original"], part["gap"]) == (2, 50.0, 0.0)
    table = segmenter_swap.as_text([{**whole, "judged": "whole frame"}, part])
    rows = table.splitlines()
    assert len(rows) == 5 and "needs the empty tray" in rows[3]
    assert len({row.count("|") for row in rows}) == 1


def test_a_frame_without_parts_is_each_ways_answer() -> None:
    """What was not cut is judged whole, however cut-outs are judged."""
    alone = prediction(0.8)
    assert all(pick(alone) is alone for pick in segmenter_swap.WAYS.values())
    joined = Prediction(alone.probs, parts=(prediction(0.1), prediction(0.9)))
    picked = [float(pick(joined).probs[0]) for pick in segmenter_swap.WAYS.values()]
    assert np.allclose(picked, [0.9, 0.1, 0.8])


def test_the_challenge_takes_both_ways_of_judging(tmp_path: Path, write_bundle: Write) -> None:
    """`--judge` reaches the segmenter: another way than the two is refused in a sentence."""
    photos = write_photos(tmp_path, per_class=2)
    command = ("background", "--bundle", write_bundle(), "--data", photos)
    masks = ("--masks", photos.parent / "masks", "--segmenter", "difference", "--json")
    done = train_cli(*command, *masks, "--judge", "cutout")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segmenter"] == "difference"
    wrong = train_cli(*command, *masks, "--judge", "all")
    assert wrong.returncode == 2 and "allowed are both, cutout" in wrong.stderr
