"""Figures of merit, temperature and thresholds against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edge.classifier import softmax
from edge.decide import Routes, Rules, decide
from edge.values import Prediction
from trainer.calibrate import LEAST_ACCURACY, accepted, calibrate, fit_temperature
from trainer.scoring import calibration_error, report, share_text, wilson

KEYS = {"n", "accuracy", "wilson_95", "macro_f1", "per_class", "confusion", "labels"}


def made_up(n: int = 3000, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is honest, times `scale`: overconfident where above 1."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 4, (n, 3)).astype(np.float32)
    probs = softmax(honest)
    truth = np.array([rng.choice(3, p=p / p.sum()) for p in probs.astype(float)])
    return honest * np.float32(scale), truth


def test_wilson_interval() -> None:
    """The interval of 95 of 100 is 88.8 to 97.8 %; of nothing it says nothing."""
    low, high = wilson(95, 100)
    assert (low, high) == (pytest.approx(0.8882, abs=1e-4), pytest.approx(0.9785, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_report_tells_how_sure_its_accuracy_is() -> None:
    """308 of 328 right is 93.9 %, and the interval in the JSON is that of these counts."""
    truth = np.array([0] * 308 + [1] * 20)
    found = report(truth, np.zeros(328, np.int64), ("a", "b")).as_dict()
    assert set(found) == KEYS
    assert found["wilson_95"] == pytest.approx([0.9077, 0.9602], abs=1e-4)
    assert share_text(found["accuracy"], found["n"]) == "93.90% of 328 (90.8 to 96.0)"


def test_report_counts_by_truth_and_answer() -> None:
    """Rows of the confusion are the truth; a class without a picture does not pull the mean F1."""
    found = report(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b", "c"))
    assert found.confusion == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert found.accuracy == 0.75
    assert found.per_class["b"] == {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "n": 2}
    assert found.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)


def test_temperature_undoes_overconfidence() -> None:
    """Logits three times too large get a temperature near three, and the error falls."""
    logits, truth = made_up(scale=3.0)
    assert fit_temperature(logits, truth) == pytest.approx(3.0, rel=0.15)
    made = calibrate(logits, truth)
    assert made.ece_after < made.ece_before / 2


def test_calibration_error_of_the_honest_is_small() -> None:
    """Nine in ten right at 90 % confidence is no error; at 100 % it is ten points."""
    truth = np.array([0] * 9 + [1])
    nine = np.tile(np.array([0.9, 0.1], np.float32), (10, 1))
    sure = np.tile(np.array([1.0, 0.0], np.float32), (10, 1))
    assert calibration_error(nine, truth) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(sure, truth) == pytest.approx(0.1, abs=1e-6)


def test_thresholds_reach_the_accuracy_they_promise() -> None:
    """What is sorted on validation is 95 % right, and thresholds stay in 0.40..0.90."""
    made = calibrate(*made_up())
    assert made.selective_accuracy >= LEAST_ACCURACY
    assert 0.2 < made.coverage < 1
    assert all(0.4 <= t <= 0.9 for t in made.thresholds)


def test_accepted_is_what_the_bin_would_sort() -> None:
    """The rule that chooses thresholds agrees with edge.decide, picture by picture."""
    logits, _ = made_up(n=200, scale=1.0)
    probs, thresholds, margin = softmax(logits), (0.5, 0.6, 0.7), 0.2
    rules = Rules(("a", "b", "c"), thresholds, margin, min_agreement=0.0)
    routes = Routes(safe="rest", by_label={})
    outcomes = [decide([Prediction(row)], rules=rules, routes=routes).outcome for row in probs]
    expected = [outcome == "sorted" for outcome in outcomes]
    assert accepted(probs, thresholds, margin).tolist() == expected
