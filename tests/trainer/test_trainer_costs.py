"""Thresholds follow what mistakes cost, and are judged on photos they were not set by."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.decide import Routes, Rules, decide
from edge.errors import UsageError
from edge.shipped import default_model
from edge.values import Prediction
from tests.trainer.synthetic import write_photos
from tests.trainer.test_trainer_evaluate import train_cli
from trainer import costs
from trainer.calibrate import margins
from trainer.cost_table import SHIPPED, CostTable, read_table

Write = Callable[..., Path]
LABELS = ("red", "green", "blue")
FLAT = CostTable(np.ones(3), 3 * (1 - np.eye(3)))


def items(count: int = 900, seed: int = 3) -> costs.Items:
    """Three classes, calibrated by making: a view is right as often as its confidence says."""
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 3, count)
    confidence = rng.uniform(0.4, 1.0, count)
    right = rng.random(count) < confidence
    truth = np.where(right, said, (said + rng.integers(1, 3, count)) % 3)
    probs = np.repeat(((1 - confidence) / 2)[:, None], 3, axis=1)
    probs[np.arange(count), said] = confidence
    return costs.Items(
        probs.astype(np.float32), truth, np.arange(count) // 3, np.ones(count, np.bool_)
    )


def choose(
    table: CostTable, write_bundle: Write, *, sorts: float = 0.0, least_accuracy: float = 0.0
) -> costs.Choice:
    bundle = load_bundle(write_bundle(thresholds=dict.fromkeys(LABELS, 0.6)))
    return costs.choose(items(), table, bundle, sorts=sorts, least_accuracy=least_accuracy)


def test_the_cheapest_threshold_is_the_one_that_theory_gives(write_bundle: Write) -> None:
    """Wrong costs 3, safe 1, right 0: sorting pays from a confidence of 2/3 (Chow 1970)."""
    found = choose(FLAT, write_bundle)
    assert found.thresholds == pytest.approx((2 / 3,) * 3, abs=0.06)
    for threshold, (low, high) in zip(found.thresholds, found.intervals, strict=True):
        assert low <= threshold <= high


def test_a_dear_mistake_raises_the_threshold_of_the_class_it_is_called(write_bundle: Write) -> None:
    """Red put where green goes costs 60: green is said less readily, blue as before."""
    wrong = FLAT.wrong.copy()
    wrong[0, 1] = 60
    dear, flat = choose(replace(FLAT, wrong=wrong), write_bundle), choose(FLAT, write_bundle)
    assert dear.thresholds[1] > flat.thresholds[1] + 0.15
    assert dear.thresholds[2] == pytest.approx(flat.thresholds[2], abs=0.02)


def test_a_table_that_pays_saves_out_of_fold(write_bundle: Write) -> None:
    """Against one threshold for all of 0.6, with one column dear, and the interval says so."""
    wrong = FLAT.wrong.copy()
    wrong[:, 1] *= 20
    found = choose(replace(FLAT, wrong=wrong), write_bundle)
    assert found.held_out.cost < found.before.cost
    assert found.saved_95[0] > 0


def test_the_floor_on_accuracy_holds_on_photos_it_was_not_set_by(write_bundle: Write) -> None:
    """Without it 82 of 100 are right; with it 95, and fewer are sorted."""
    free = choose(FLAT, write_bundle)
    strict = choose(FLAT, write_bundle, least_accuracy=0.93)
    assert free.held_out.right < 0.9
    assert strict.held_out.right >= 0.93 and strict.held_out.sorted_ < free.held_out.sorted_


def test_more_items_are_sorted_where_that_is_asked(write_bundle: Write) -> None:
    """And the accuracy floor wins where both cannot be had, or the share where that is asked."""
    both = choose(FLAT, write_bundle, sorts=0.9, least_accuracy=0.5)
    assert both.reached and both.accurate and both.held_out.sorted_ >= 0.9
    torn = choose(FLAT, write_bundle, sorts=0.9, least_accuracy=0.93)
    assert not torn.reached and torn.accurate and torn.held_out.right >= 0.93
    bundle = load_bundle(write_bundle(thresholds=dict.fromkeys(LABELS, 0.6)))
    other = costs.choose(items(), FLAT, bundle, sorts=0.9, least_accuracy=0.93, sorted_first=True)
    assert other.reached and not other.accurate and other.held_out.sorted_ >= 0.9


def test_done_is_what_the_bin_decides() -> None:
    """For every view: sorted here is sorted by edge.decide, margin included."""
    some, thresholds = items(200), (0.5, 0.7, 0.9)
    able = margins(some.probs) >= 0.3
    rules = Rules(LABELS, thresholds, min_margin=0.3, min_agreement=0.0)
    found = costs.done(replace(some, able=able), thresholds)
    told = [
        decide([Prediction(row)], rules=rules, routes=Routes("", {})).outcome == "sorted"
        for row in some.probs
    ]
    assert found.tolist() == told and 0 < sum(told) < 200


def test_views_of_a_photo_are_drawn_together() -> None:
    """Nine views of one photo are no nine photos: their interval is wider, not narrower."""
    values = np.repeat(np.array([0.0, 1.0, 2.0, 3.0]), 9)
    together = costs._bootstrap(values, np.arange(36) // 9)
    apart = costs._bootstrap(values, np.arange(36))
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def test_the_shipped_table_knows_the_shipped_classes() -> None:
    """Glass among paper is dearer than paper among trash, and a right decision is free."""
    labels = load_bundle(default_model()).labels
    table = read_table(SHIPPED, labels)
    of = labels.index
    assert table.wrong[of("glass"), of("paper")] > 5 * table.wrong[of("paper"), of("trash")]
    assert not table.wrong.diagonal().any()
    assert table.as_dict(labels)["wrong"]["glass"]["paper"] == table.wrong[of("glass"), of("paper")]


def test_every_fault_of_a_table_is_told_at_once(tmp_path: Path) -> None:
    """Each with its key and what is allowed."""
    path = tmp_path / "costs.toml"
    path.write_text(
        """
    [safe]
    red = 1
    green = "much"
    blue = 1
    [wrong.red]
    green = -1
    blue = 2
    [wrong.green]
    red = 1
    [wrong.purple]
    red = 1
    [price]
    x = 1
    """
    )
    with pytest.raises(UsageError) as caught:
        read_table(path, LABELS)
    faults = str(caught.value).splitlines()
    assert all(str(path) in fault for fault in faults)
    for part in (
        "safe.green = 'much': must be a number from 0 to 1000",
        "wrong.red.green = -1: must be",
        "wrong.green.blue: missing",
        "wrong.blue: missing; it needs red, green",
        "wrong.purple: not a label of the bundle",
        "price: no such section",
    ):
        assert sum(part in fault for fault in faults) == 1, part
    assert len(faults) == 6


@pytest.mark.parametrize(("text", "part"), [("[safe", "not TOML"), (None, "cannot be read")])
def test_a_table_that_is_none_is_one_sentence(tmp_path: Path, text: str | None, part: str) -> None:
    """The file is named."""
    path = tmp_path / "costs.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=part):
        read_table(path, LABELS)


def test_the_command_writes_thresholds_with_their_table(
    tmp_path: Path, write_bundle: Write
) -> None:
    """One version up, and a bin reads them as it reads any bundle's."""
    root, table = write_photos(tmp_path, per_class=4), tmp_path / "costs.toml"
    rows = "\n".join(
        f"[wrong.{one}]\n" + "\n".join(f"{other} = 2" for other in LABELS if other != one)
        for one in LABELS
    )
    table.write_text("[safe]\nred = 1\ngreen = 1\nblue = 1\n" + rows)
    bundle = write_bundle()
    command = ["costs", "--bundle", bundle, "--data", root]
    done = train_cli(*command, "--table", table, "--json", "--write")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    loaded = load_bundle(bundle)
    assert loaded.model_id == found["written"] == "tiny@4"
    assert dict(zip(loaded.labels, loaded.thresholds, strict=True)) == found["thresholds"]
    card = loaded.card["costs"]
    assert card["table"]["wrong"]["red"] == {"green": 2.0, "blue": 2.0}
    assert card["after"]["cost_per_item"] == 0.0
    assert card["sorts_reached"] is True and card["least_accuracy_reached"] is True
    assert loaded.card["calibration"]["coverage"] == 1.0
