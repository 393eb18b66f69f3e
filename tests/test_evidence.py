"""What is none of the classes goes the safe way, by a rule that the bundle carries."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.decide import Routes, Rules, decide
from edge.errors import BundleError
from edge.evidence import KINDS, Rejection, parse_rejection
from edge.values import Prediction
from tests.harness import COLOURS, tiny_card, tiny_network

Write = Callable[..., Path]
RED = np.full((48, 64, 3), COLOURS["red"], np.uint8)
GREY = np.full((48, 64, 3), 127, np.uint8)  # all three colours alike: of no class
ROUTES = Routes(safe="rest", by_label={"red": "left"})
NUMBERS = {
    "profile": {"weights": [1.0, -1.0, 0.0], "bias": [0.5]},
    "distance": {"means": [[3, 0], [0, 3], [9, 9]], "precision": [1.0, 2.0]},
    "cosine": {"means": [[3, 0], [0, 3], [-3, 0]], "centre": [0.0, 0.0]},
    "neighbours": {"prototypes": [[1, 0], [0.9, 0.1], [1, 0.1], [0, 1]]},
    "learned": {"weights": [0.5, -1.0], "bias": [0.25]},
}


def rule(kind: str, threshold: float = 0.0) -> Rejection:
    card = {"kind": kind, "threshold": threshold, "numbers": NUMBERS.get(kind, {})}
    found = parse_rejection(card, 3)
    assert found is not None
    return found


def test_measures_of_the_logits_are_what_their_papers_say() -> None:
    """Against values worked out by hand for the logits 2, 1, 0."""
    logits = np.array([1.0, 2.0, 0.0], np.float32)
    total = np.exp(2) + np.exp(1) + 1
    probs = np.exp([1.0, 2.0, 0.0]) / total
    assert rule("confidence").evidence(logits) == pytest.approx(probs.max(), abs=1e-6)
    assert rule("energy").evidence(logits) == pytest.approx(np.log(total), abs=1e-6)
    assert rule("max_logit").evidence(logits) == 2.0
    assert rule("margin").evidence(logits) == 1.0
    entropy = -(probs * np.log(probs)).sum()
    assert rule("certainty").evidence(logits) == pytest.approx(1 - entropy / np.log(3), abs=1e-5)
    assert rule("profile").evidence(logits) == pytest.approx(2 - 1 + 0.5)


def test_measures_of_the_features_are_what_their_papers_say() -> None:
    """Nearest mean, greatest cosine, three nearest prototypes, one linear layer: by hand."""
    logits, features = np.zeros(3, np.float32), np.array([2.0, 0.0], np.float32)
    assert rule("distance").evidence(logits, features) == pytest.approx(-0.5)
    assert rule("cosine").evidence(logits, features) == pytest.approx(1.0)
    near = (1 + 0.9 / np.hypot(0.9, 0.1) + 1 / np.hypot(1, 0.1)) / 3
    assert rule("neighbours").evidence(logits, features) == pytest.approx(near)
    assert rule("learned").evidence(logits, features) == pytest.approx(1.25)


@pytest.mark.parametrize("kind", ["confidence", "margin", "certainty"])
def test_equal_logits_are_the_least_evidence(kind: str) -> None:
    """A network that prefers no class gives less evidence than any that does."""
    none = rule(kind).evidence(np.full(3, 4.0, np.float32))
    for logits in np.random.default_rng(3).normal(0, 3, (50, 3)).astype(np.float32):
        assert rule(kind).evidence(logits) > none


def test_a_strange_thing_is_unknown_and_an_item_is_sorted(write_bundle: Write) -> None:
    """The same bundle, without the rule and with it: grey is refused, and the reason says why."""
    for reject, outcome in ((None, "sorted"), ({"kind": "margin", "threshold": 1.0}, "unknown")):
        changed = {"reject": reject} if reject else {}
        zero = dict.fromkeys(COLOURS, 0.0)
        bundle = load_bundle(write_bundle(thresholds=zero, min_margin=0, **changed))
        rules = Rules(bundle.labels, bundle.thresholds, 0.0, 0.6, rejection=bundle.rejection)
        classifier = Classifier(bundle)
        grey = decide([classifier.classify(GREY)] * 3, rules=rules, routes=ROUTES)
        assert grey.outcome == outcome
        red = decide([classifier.classify(RED)] * 3, rules=rules, routes=ROUTES)
        assert (red.outcome, red.route) == ("sorted", "left")
    assert grey.route == "rest"
    assert "looks like none of the 3 classes" in grey.reason
    assert "distance to the second class 0.00 under 1.00" in grey.reason


def test_votes_are_judged_by_their_mean_evidence() -> None:
    """One blurred frame does not refuse an item; three do."""
    rules = Rules(("a", "b"), (0.5, 0.5), 0.0, 0.6, rejection=rule("energy", 2.0))
    probs = np.array([0.9, 0.1], np.float32)

    def outcome(*evidence: float) -> str:
        votes = [Prediction(probs, value) for value in evidence]
        return decide(votes, rules=rules, routes=ROUTES).outcome

    assert outcome(3.0, 3.0, 0.5) == "sorted"
    assert outcome(3.0, 1.0, 0.5) == "unknown"
    assert outcome(float("nan"), 3.0, 3.0) == "unknown"


def test_a_rule_without_evidence_is_a_bug_of_the_caller() -> None:
    """The rule is never skipped in silence."""
    rules = Rules(("a", "b"), (0.5, 0.5), 0.0, 0.6, rejection=rule("energy", 2.0))
    with pytest.raises(ValueError, match="without evidence"):
        decide([Prediction(np.array([0.9, 0.1], np.float32))], rules=rules, routes=ROUTES)


@pytest.mark.parametrize(
    ("reject", "part"),
    [
        ([], "reject: must be an object"),
        ({"kind": "hunch", "threshold": 1}, "reject.kind = 'hunch': must be one of confidence"),
        ({"kind": [], "threshold": 1}, "reject.kind"),
        ({"kind": "energy"}, "reject.threshold = None: must be a number"),
        ({"kind": "energy", "threshold": True}, "must be a number"),
        ({"kind": "energy", "threshold": float("inf")}, "must be finite"),
        ({"kind": "profile", "threshold": 1}, "reject.numbers.weights: missing"),
        ({"kind": "profile", "threshold": 1, "numbers": 7}, "reject.numbers: must be an object"),
        (
            {"kind": "profile", "threshold": 1, "numbers": {"weights": [1, 2], "bias": [0]}},
            r"reject.numbers.weights: shape \(2,\), profile needs finite \(3,\)",
        ),
        (
            {"kind": "learned", "threshold": 1, "numbers": {"weights": [1.0], "bias": [["x"]]}},
            "reject.numbers.bias: missing or no list of numbers",
        ),
        (
            {"kind": "learned", "threshold": 1, "numbers": {"weights": [1.0, 2.0], "bias": [0]}},
            "reject takes 2 features, the network gives 0",
        ),
        (
            {
                "kind": "distance",
                "threshold": 1,
                "numbers": {"means": [[1, 2]] * 3, "precision": [1]},
            },
            r"reject.numbers.precision: shape \(1,\), distance needs finite \(2,\)",
        ),
    ],
)
def test_a_rule_that_disagrees_is_refused(write_bundle: Write, reject: object, part: str) -> None:
    """The sentence names the part, and no bin starts with half a rule."""
    with pytest.raises(BundleError, match=part):
        Classifier(load_bundle(write_bundle(reject=reject)))


def network_with_features() -> bytes:
    """The tiny network with its mean colour (1, 3) as a second output."""
    model = onnx.load_from_string(tiny_network())
    model.graph.node.append(helper.make_node("Identity", ["flat"], ["features"]))
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 3)))
    return bytes(model.SerializeToString())


def test_a_rule_of_features_reads_the_second_output(tmp_path: Path) -> None:
    """Evidence is linear in the mean colour here, so the number can be worked out by hand."""
    data = network_with_features()
    weights = {"weights": [1.0, -1.0, 0.0], "bias": [0.5]}
    reject = {"kind": "learned", "threshold": 1.0, "numbers": weights}
    path = tmp_path / "tiny.onnx"
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps({**tiny_card(data), "reject": reject}))
    found = Classifier(load_bundle(path)).classify(RED).evidence
    red, green = ((COLOURS["red"][i] - 127) / 128 for i in (0, 1))
    assert found == pytest.approx(red - green + 0.5, abs=1e-4)


def test_a_network_with_a_foreign_output_is_refused(tmp_path: Path) -> None:
    """A second output of another name belongs to something else."""
    model = onnx.load_from_string(network_with_features())
    model.graph.node[-1].output[0] = model.graph.output[1].name = "boxes"
    data = bytes(model.SerializeToString())
    path = tmp_path / "tiny.onnx"
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(tiny_card(data)))
    with pytest.raises(BundleError, match="no other output than 'features' is allowed"):
        Classifier(load_bundle(path))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_less_time_than_a_frame_takes_to_arrive(kind: str) -> None:
    """Microseconds beside the milliseconds of the network: a hundredth of a 100 ms frame, amply."""
    logits, features = np.ones(3, np.float32), np.ones(2, np.float32)
    found = rule(kind)
    spent_s = min(timeit.repeat(lambda: found.evidence(logits, features), number=20, repeat=20))
    assert spent_s / 20 < 1e-3
