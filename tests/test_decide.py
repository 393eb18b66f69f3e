"""Votes become a decision, or an honest abstention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide import Routes, Rules, abstain, decide
from edge.values import Prediction

RULES = Rules(
    labels=("glass", "metal", "paper"),
    thresholds=(0.6, 0.6, 0.9),
    min_margin=0.2,
    min_agreement=0.6,
)
ROUTES = Routes(safe="rest", by_label={"glass": "g", "metal": "m"})


def votes(*rows: tuple[float, float, float]) -> list[Prediction]:
    return [Prediction(np.array(row, np.float32)) for row in rows]


def test_sure_item_is_sorted_to_its_route() -> None:
    """Three frames that agree move the flap."""
    decision = decide(votes(*[(0.9, 0.05, 0.05)] * 3), rules=RULES, routes=ROUTES)
    assert (decision.outcome, decision.label, decision.route) == ("sorted", "glass", "g")
    assert decision.confidence == pytest.approx(0.9)
    assert [label for label, _ in decision.top] == ["glass", "metal", "paper"]


def test_class_without_a_route_goes_the_safe_way() -> None:
    """Sorted, but to the safe route."""
    decision = decide(votes((0.02, 0.03, 0.95)), rules=RULES, routes=ROUTES)
    assert (decision.outcome, decision.route) == ("sorted", "rest")


def test_item_under_the_threshold_of_its_class_is_unknown() -> None:
    """Paper needs 0.9 here; 0.7 is not enough, though it would do for glass."""
    decision = decide(votes((0.2, 0.1, 0.7)), rules=RULES, routes=ROUTES)
    assert (decision.outcome, decision.label, decision.route) == ("unknown", "paper", "rest")
    assert "threshold 90%" in decision.reason


def test_two_likely_classes_are_ambiguous() -> None:
    """Glass or metal, surely, but which?"""
    decision = decide(votes((0.5, 0.45, 0.05)), rules=RULES, routes=ROUTES)
    assert (decision.outcome, decision.route) == ("ambiguous", "rest")


def test_frames_that_disagree_are_ambiguous() -> None:
    """One confident frame does not outvote two others."""
    rows = votes((0.99, 0.01, 0.0), (0.45, 0.55, 0.0), (0.45, 0.55, 0.0))
    decision = decide(rows, rules=RULES, routes=ROUTES)
    assert decision.outcome == "ambiguous"
    assert "1 of 3 frames" in decision.reason


def test_no_votes_is_a_bug_of_the_caller() -> None:
    """decide never invents an answer."""
    with pytest.raises(ValueError, match="at least one"):
        decide([], rules=RULES, routes=ROUTES)


@pytest.mark.parametrize("outcome", ["empty", "late", "fault"])
def test_abstentions_have_no_class_and_the_safe_route(outcome: str) -> None:
    """Nothing moves for them."""
    decision = abstain(outcome, routes=ROUTES, reason="x")  # type: ignore[arg-type]
    assert (decision.label, decision.route, decision.top) == (None, "rest", ())


@given(st.lists(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3), min_size=1, max_size=7))
def test_a_movement_has_evidence_behind_it(
    rows: list[list[float]],
) -> None:
    """Whatever the votes are: threshold and agreement hold, and only `sorted` has a route."""
    predictions = [Prediction(np.array(row, np.float32) / np.float32(sum(row))) for row in rows]
    decision = decide(predictions, rules=RULES, routes=ROUTES)
    if decision.route != "rest":
        assert decision.outcome == "sorted"
    if decision.outcome == "sorted":
        best = RULES.labels.index(str(decision.label))
        assert decision.confidence >= RULES.thresholds[best]
        agree = sum(int(p.probs.argmax()) == best for p in predictions)
        assert agree / len(predictions) >= RULES.min_agreement


def test_a_network_that_gives_no_numbers_moves_nothing() -> None:
    """NaN compares as false with everything; it must not slip through as sorted."""
    decision = decide(votes((float("nan"),) * 3), rules=RULES, routes=ROUTES)
    assert (decision.outcome, decision.route, decision.confidence) == ("fault", "rest", 0.0)
