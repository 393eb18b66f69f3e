"""Rejection is chosen by measurement, on things that the choice has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, decide
from edge.preprocess import network_input
from edge.shipped import default_model
from tests.harness import COLOURS, write_picture
from tests.trainer.synthetic import write_photos
from tests.trainer.test_trainer_evaluate import train_cli
from trainer import reject
from trainer.reject_data import Evidence
from trainer.reject_fit import evidence_of, fit, usable
from trainer.reject_scores import Demand, auroc, best_point, floor_for
from trainer.report_scores import rules_of
from trainer.views import KNOWN, known_views, strange_views
from trainer.witness import Answers, with_features

Write = Callable[..., Path]


def test_auroc_by_hand() -> None:
    """Of the six pairs of (1, 2, 3) and (0, 2) four are in order and one is equal."""
    assert auroc(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx(4.5 / 6)
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert auroc(np.ones(5), np.ones(7)) == 0.5


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_floor_keeps_the_share_asked_and_could_not_be_higher(
    values: list[int], share: float
) -> None:
    """Ties included: the next higher value would refuse too many."""
    known = np.array(values, float)
    floor = floor_for(known, share)
    assert (known >= floor).mean() >= share
    higher = known[known > floor]
    if len(higher):
        assert (known >= higher.min()).mean() < share


def made_up(rng: np.random.Generator, count: int, logit: float, feature: float) -> Answers:
    """Pictures whose best class is one of three by `logit`, with features around `feature`."""
    logits = rng.normal(0, 0.3, (count, 3)).astype(np.float32)
    logits[np.arange(count), rng.integers(0, 3, count)] += logit
    return Answers(logits, rng.normal(feature, 1, (count, 4)).astype(np.float32))


def evidence(write_bundle: Write, *, logit: float, feature: float) -> Evidence:
    """Items with a clear class, and strange things with these instead."""
    rng = np.random.default_rng(4)
    known = made_up(rng, 300, logit=6.0, feature=0.0)
    strange = {name: made_up(rng, 60, logit, feature) for name in ("mug", "shoe", "bare brown")}
    test = {"hand": made_up(rng, 60, logit, feature)}
    truth = known.logits.argmax(1)
    bundle = load_bundle(write_bundle(min_margin=0))
    views = (KNOWN[0],) * 300
    return Evidence(bundle, known, views, np.arange(300), truth, strange, test)


def test_a_measure_of_the_logits_is_taken_where_it_serves(write_bundle: Write) -> None:
    """Where the logits tell, no second output is worth its carrying."""
    seen = evidence(write_bundle, logit=0.5, feature=9.0)
    chosen = reject.chosen_of(reject.study(seen, share=0.95))
    figures = reject.figures_of(seen, chosen)
    assert not figures["features"]
    assert figures["auroc_test"] > 0.99 and figures["refused_test"] > 0.95


def test_features_are_taken_where_the_logits_are_deceived(write_bundle: Write) -> None:
    """Strange things as sure as items, but elsewhere in feature space."""
    seen = evidence(write_bundle, logit=6.0, feature=3.0)
    found = reject.study(seen, share=0.95)
    chosen = reject.chosen_of(found)
    figures = reject.figures_of(seen, chosen)
    assert figures["features"] and figures["refused_test"] > 0.9
    energy = next(m for m in found if m.kind == "energy")
    assert reject.figures_of(seen, energy)["refused_test"] < 0.3


def test_the_share_of_items_asked_is_sorted_at_the_point(write_bundle: Write) -> None:
    """Floor and least confidence together, not each for itself."""
    seen = evidence(write_bundle, logit=2.0, feature=1.0)
    for measured in reject.study(seen, share=0.9):
        line = reject.operating(seen, measured)["items"]["all"]
        assert line["n"] == 300 and line["sorted"] >= 0.9 - 1e-9
        assert line["sorted"] == pytest.approx(measured.point.known_sorted, abs=1e-4)


def test_more_items_sorted_means_more_strange_things_sorted() -> None:
    """The two aims pull against each other, and the search does not hide it."""
    rng = np.random.default_rng(2)
    probs = np.full((200, 3), 1 / 3, np.float32)
    known = (probs, rng.normal(1, 1, 200))
    unknown = {"mug": (probs, rng.normal(0, 1, 200))}
    everything = np.ones(200, np.bool_)
    loose, strict = (
        best_point(known, unknown, demands=[Demand(everything, share)], min_margin=0.0)
        for share in (0.99, 0.7)
    )
    assert strict.unknown_sorted < loose.unknown_sorted
    assert strict.known_sorted >= 0.7 and loose.known_sorted >= 0.99


def test_items_that_are_few_and_harder_are_sorted_as_often_where_that_is_asked() -> None:
    """One in ten has less evidence: of these next to none is sorted, until it is asked."""
    rng = np.random.default_rng(6)
    probs = np.full((400, 3), 1 / 3, np.float32)
    hard = np.arange(400) % 10 == 0
    evidence = rng.normal(3, 0.5, 400) - 3 * hard
    unknown = {"mug": (probs, rng.normal(0, 1, 400))}
    asked = [Demand(np.ones(400, np.bool_), 0.9)]
    loose = best_point((probs, evidence), unknown, demands=asked, min_margin=0.0)
    asked.append(Demand(hard, 0.8))
    both = best_point((probs, evidence), unknown, demands=asked, min_margin=0.0)
    assert (evidence[hard] >= loose.floor).mean() < 0.2
    assert (evidence[hard] >= both.floor).mean() >= 0.8 and (evidence >= both.floor).mean() >= 0.9
    assert both.unknown_sorted > loose.unknown_sorted  # and it has its price


def test_what_is_learned_is_judged_out_of_fold(write_bundle: Write) -> None:
    """With nothing to learn, a measure with numbers of its own shows no skill on its own photos."""
    rng = np.random.default_rng(8)
    known = Answers(np.zeros((60, 3), np.float32), rng.normal(0, 1, (60, 50)).astype(np.float32))
    strange = Answers(np.zeros((60, 3), np.float32), rng.normal(0, 1, (60, 50)).astype(np.float32))
    rule = fit("learned", known, np.zeros(60, np.int64), {"mug": strange})
    assert auroc(evidence_of(rule, known), evidence_of(rule, strange)) > 0.75  # learned by heart
    seen = Evidence(
        load_bundle(write_bundle()),
        known,
        (KNOWN[0],) * 60,
        np.arange(60),
        np.zeros(60, np.int64),
        {"mug": strange.rows(np.arange(30)), "shoe": strange.rows(np.arange(30, 60))},
        {},
    )
    honest = next(m for m in reject.study(seen, share=0.9) if m.kind == "learned")
    both = np.concatenate(list(honest.tune.values()))
    assert auroc(honest.known, both) < 0.65


def test_without_features_only_the_logits_are_measured() -> None:
    """A network that does not end in one linear layer is judged by what it gives."""
    answers = Answers(np.zeros((2, 3), np.float32), None)
    assert set(usable(answers)) == {
        "confidence",
        "energy",
        "max_logit",
        "margin",
        "certainty",
        "profile",
    }


def test_views_are_drawn_again_alike_and_show_no_item_where_there_is_none(tmp_path: Path) -> None:
    """Seeded by names; strange outlines keep no colour of the item that lent its outline."""
    from trainer.data import scan

    photos, masks = scan(write_photos(tmp_path, per_class=2)), tmp_path / "masks"
    first, second = (list(known_views(photos, masks)) for _ in range(2))
    assert [v.kind for v in first] == list(KNOWN) * 6
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    kinds = {view.kind for view in strange_views(photos, masks)}
    assert {"bare brown", "bare random"} < kinds and any("strange" in kind for kind in kinds)


def test_the_shipped_network_gains_features_and_changes_no_answer() -> None:
    """Some hundred bytes for the second output; every logit is the same bit for bit."""
    bundle = load_bundle(default_model())
    longer = with_features(bundle.onnx)
    assert len(longer) - len(bundle.onnx) < 300 and len(longer) < 1_000_000
    assert with_features(longer) == longer
    plain, shown = (
        ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (bundle.onnx, longer)
    )
    takes_bytes = plain.get_inputs()[0].type == "tensor(uint8)"
    rng = np.random.default_rng(0)
    for _ in range(3):
        pixels = rng.integers(0, 255, (96, 128, 3), np.uint8)
        batch = network_input(pixels, bundle.preprocessing, takes_bytes=takes_bytes)
        (before,) = plain.run(["logits"], {plain.get_inputs()[0].name: batch})
        after, features = shown.run(None, {shown.get_inputs()[0].name: batch})
        assert np.array_equal(before, after)
        assert features.shape[0] == 1 and features.shape[1] > 8


def test_the_command_writes_a_rule_that_a_bin_applies(tmp_path: Path, write_bundle: Write) -> None:
    """From pictures to `unknown`: grey things to tune by, grey things measured, the card, a bin."""
    root = write_photos(tmp_path, per_class=6)
    for split, kinds in (("tune", ("mug", "shoe")), ("test", ("hand",))):
        for number, kind in enumerate(kinds):
            for i in range(4):
                grey = 60 + 40 * i + 5 * number
                write_picture(tmp_path / "unknown" / split / kind / f"{i}.png", (grey,) * 3)
    bundle = write_bundle(thresholds=dict.fromkeys(COLOURS, 0.0), min_margin=0)
    command = ["reject", "--bundle", bundle, "--data", root, "--masks", tmp_path / "masks"]
    done = train_cli(*command, "--unknown", tmp_path / "unknown", "--write", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["written"] == "tiny@4"
    point = found["at_the_point"]
    assert point["items"]["all"]["sorted"] >= 0.95
    assert point["refused"]["test"]["hand"]["refused"] == 1.0
    assert found["before"]["refused"]["hand"] == 0.0
    loaded = load_bundle(bundle)
    assert loaded.rejection is not None and loaded.rejection.kind == found["chosen"]
    assert loaded.card["reject"]["measured"]["items"] == point["items"]
    grey = np.full((48, 64, 3), 110, np.uint8)
    decision = decide(
        [Classifier(loaded).classify(grey)], rules=rules_of(loaded), routes=Routes("rest", {})
    )
    assert decision.outcome in ("unknown", "ambiguous")


def test_rejection_and_costs_are_one_command(tmp_path: Path, write_bundle: Write) -> None:
    """What the rule just chosen lets through gets its thresholds from the table, in one card."""
    root, table = write_photos(tmp_path, per_class=6), tmp_path / "costs.toml"
    rows = [
        f"[wrong.{one}]\n" + "".join(f"{other} = 3\n" for other in COLOURS if other != one)
        for one in COLOURS
    ]
    table.write_text("[safe]\n" + "".join(f"{one} = 1\n" for one in COLOURS) + "".join(rows))
    for i in range(4):
        write_picture(tmp_path / "unknown" / "tune" / "mug" / f"{i}.png", (60 + 40 * i,) * 3)
    bundle = write_bundle(thresholds=dict.fromkeys(COLOURS, 0.0), min_margin=0)
    command = ["reject", "--bundle", bundle, "--data", root, "--unknown", tmp_path / "unknown"]
    done = train_cli(*command, "--table", table, "--sorted-first", "--write", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    loaded = load_bundle(bundle)
    assert loaded.model_id == found["written"] == "tiny@5"  # the rule, then the thresholds
    assert loaded.rejection is not None and loaded.rejection.kind == found["chosen"]
    assert dict(zip(loaded.labels, loaded.thresholds, strict=True)) == found["costs"]["thresholds"]
    assert loaded.card["costs"]["table"]["safe"] == dict.fromkeys(COLOURS, 1.0)
    assert loaded.card["costs"]["first"] == "sorts"
    kept = loaded.card["costs"]["after_out_of_fold"]["sorted"]
    assert kept >= found["costs"]["sorts"] - 1e-3  # 98 % of what the rule lets through


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--sorts", "1.5"), "--sorts 1.5: must be 0.5 to 0.999"),
        (("--rendered", "0.2"), "--rendered 0.2: must be 0.5 to 0.999"),
        (("--kind", "hunch"), "--kind hunch: must be one of"),
        (("--unknown", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_bad_usage_is_one_sentence(
    tmp_path: Path, write_bundle: Write, arguments: tuple[str, ...], sentence: str
) -> None:
    """Exit 2, no traceback."""
    root = write_photos(tmp_path, per_class=2)
    command = ["reject", "--bundle", write_bundle(), "--data", root]
    done = train_cli(*command, "--masks", tmp_path / "masks", *arguments)
    assert done.returncode == 2 and sentence in done.stderr
    assert "Traceback" not in done.stderr
