"""From the votes of one item to a decision: pure, with no clock, socket or file inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.evidence import Rejection
from edge.values import Decision, Outcome, Prediction

TOP = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """When a vote is good enough to move something; thresholds and margin come of the bundle."""

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]  # least mean confidence, per label
    min_margin: float  # least distance between the best two classes
    min_agreement: float  # least share of the frames whose best class is the item's
    rejection: Rejection | None = None  # what is none of the classes; None: only thresholds say


@dataclass(frozen=True, slots=True)
class Routes:
    """Which bin a class goes to; whatever is not listed, or not sure, goes the safe way."""

    safe: str
    by_label: Mapping[str, str]

    def of(self, outcome: Outcome, label: str | None) -> str:
        """The route of an outcome: only `sorted` has another than the safe one."""
        if outcome != "sorted" or label is None:
            return self.safe
        return self.by_label.get(label, self.safe)


def decide(predictions: Sequence[Prediction], *, rules: Rules, routes: Routes) -> Decision:
    """Average the votes, then sort or honestly abstain.

    `ambiguous`: two classes are both likely, or the frames disagree. `unknown`: it looks like no
    class at all, or no class reaches its threshold. Raises ValueError where there is no prediction.
    """
    if not predictions:
        raise ValueError("decide needs at least one prediction")
    probs = np.mean([p.probs for p in predictions], axis=0)  # (n,)
    if not np.isfinite(probs).all():
        return abstain("fault", routes=routes, reason="the network gave no numbers")
    order = np.argsort(-probs, kind="stable")
    best, second = int(order[0]), int(order[1])
    votes = sum(int(p.probs.argmax()) == best for p in predictions)
    outcome, reason = _judge(rules, probs[best], best, probs[second], second, votes, predictions)
    label = rules.labels[best]
    return Decision(
        outcome=outcome,
        label=label,
        route=routes.of(outcome, label),
        confidence=float(probs[best]),
        top=tuple((rules.labels[i], float(probs[i])) for i in order[:TOP]),
        reason=reason,
    )


def _judge(
    rules: Rules,
    confidence: float,
    best: int,
    runner_up: float,
    second: int,
    votes: int,
    predictions: Sequence[Prediction],
) -> tuple[Outcome, str]:
    label, other = rules.labels[best], rules.labels[second]
    strange = _strange(rules, predictions)
    if strange:
        return "unknown", strange
    agreement = votes / len(predictions)
    if agreement < rules.min_agreement:
        return "ambiguous", f"only {votes} of {len(predictions)} frames say {label}"
    threshold = rules.thresholds[best]
    both_likely = confidence + runner_up >= threshold
    if confidence - runner_up < rules.min_margin and both_likely:
        return "ambiguous", f"{label} {confidence:.0%} and {other} {runner_up:.0%} are too close"
    if confidence < threshold:
        return "unknown", f"{label} {confidence:.0%} is under its threshold {threshold:.0%}"
    return "sorted", f"{label} {confidence:.0%}, {votes} of {len(predictions)} frames agree"


def _strange(rules: Rules, predictions: Sequence[Prediction]) -> str:
    """Why the item is none of the classes, by its mean evidence; empty where it may be one."""
    if rules.rejection is None:
        return ""
    found = [p.evidence for p in predictions if p.evidence is not None]
    if len(found) < len(predictions):
        raise ValueError("decide has a rule of rejection and a prediction without evidence")
    evidence = sum(found) / len(found)
    # Not `<`: evidence that is no number must not pass.
    if evidence >= rules.rejection.threshold:
        return ""
    return rules.rejection.reason(evidence, len(rules.labels))


def abstain(outcome: Outcome, *, routes: Routes, reason: str) -> Decision:
    """A decision without a class: `empty`, `late` or `fault`, to the safe route."""
    return Decision(
        outcome=outcome,
        label=None,
        route=routes.of(outcome, None),
        confidence=0.0,
        top=(),
        reason=reason,
    )
