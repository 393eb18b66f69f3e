"""What the arm64 test calls a difference."""

from __future__ import annotations

from typing import Any

import pytest

from tools.arm64.compare import MAX_GAP, Check, compare_demos, compare_stills, verdict


def still(label: str = "glass", first: float = 0.9, outcome: str = "sorted") -> dict[str, Any]:
    probs = [first, 1 - first]
    return {
        "outcome": outcome,
        "label": label,
        "confidence": first,
        "probs": probs,
        "pixels": "aa",
        "input": "bb",
    }


def shown(picture: str, label: str = "glass", route: str = "left") -> dict[str, Any]:
    return {
        "picture": picture,
        "outcome": "sorted",
        "label": label,
        "route": route,
        "confidence": 0.9,
        "latency_ms": 9.0,
    }


def test_equal_labels_are_good_and_the_largest_difference_is_told() -> None:
    """Two stills, one of which differs by a hundredth."""
    x86 = {"a.jpg": still(), "b.jpg": still()}
    check = compare_stills("stills", x86, {"a.jpg": still(), "b.jpg": still(first=0.89)})
    assert check.good
    assert "of 2 stills 2 decoded, 2 resized, 2 labelled alike" in check.finding
    assert "by at most 0.0100" in check.finding


@pytest.mark.parametrize(
    "arm",
    [
        {"a.jpg": still(label="metal")},
        {"a.jpg": still(outcome="unknown")},
        {"a.jpg": still(first=0.9 - 2 * MAX_GAP)},
        {},
        {"a.jpg": still(), "b.jpg": still()},
    ],
    ids=["label", "outcome", "probabilities", "missing", "too many"],
)
def test_another_answer_is_bad(arm: dict[str, Any]) -> None:
    """A picture that is judged otherwise, not at all, or on one side alone is named."""
    check = compare_stills("stills", {"a.jpg": still()}, arm)
    assert not check.good
    assert ".jpg" in check.finding or "any class by 0.0400" in check.finding


def test_nothing_judged_is_bad() -> None:
    """Two empty answers agree on nothing."""
    assert not compare_stills("stills", {}, {}).good
    assert not compare_demos("demo", [], []).good


def test_demo_decisions_are_held_together_by_picture() -> None:
    """The order may differ, the routes may not."""
    x86 = [shown("a.jpg"), shown("b.jpg")]
    assert compare_demos("demo", x86, list(reversed(x86))).good
    other = compare_demos("demo", x86, [shown("a.jpg"), shown("b.jpg", route="rest")])
    assert not other.good and "b.jpg" in other.finding
    assert not compare_demos("demo", x86, [*x86, shown("c.jpg")]).good


def test_late_decisions_are_told_and_only_so_many_are_taken() -> None:
    """Emulation may miss the deadline, but an empty demo proves nothing."""
    x86 = [shown(f"{number}.jpg") for number in range(4)]
    some = compare_demos("demo", x86, x86[:3])
    assert some.good and "3 of 4" in some.finding and "1 later" in some.finding
    assert not compare_demos("demo", x86, x86[:1]).good


def test_verdict_names_what_is_bad() -> None:
    """The last line is for who reads no more."""
    good, bad = Check("stills", True, ""), Check("demo", False, "")
    assert verdict([good], took_s=3.2) == "arm64: good, 1 checks (3 s)"
    assert verdict([good, bad], took_s=3.2) == "arm64: DIFFERS: demo (3 s)"
