"""A worse model meets a fleet: known pictures stop it, and a repaired one comes through."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.shipped import shipped
from edge.update.canaries import read
from edge.update.controller import Counter
from edge.update.rollout import Counts
from edge.values import Incoming
from edge.wire import encode

if TYPE_CHECKING:  # needs the trainer's onnx and python-tuf
    from tools.rollout import Fleet


def event(**body: object) -> Incoming:
    return Incoming("bins/v1/s/b/event", encode(body), retained=False)


def test_the_controller_counts_each_event_once_and_by_version() -> None:
    """Redelivered events count once; an ack belongs to the version that decided."""
    counter = Counter(7)
    for _ in range(2):
        counter.hear(event(type="decision", id="a-1", model="s@7", outcome="unknown"))
        counter.hear(event(type="decision", id="b-1", model="s@6", outcome="sorted"))
        counter.hear(event(type="movement", id="a-2", decision="a-1", result="jammed"))
        counter.hear(event(type="movement", id="b-2", decision="b-1", result="done"))
        counter.hear(event(type="model", id="a-3", phase="refused", version=7))
        counter.hear(Incoming("bins/v1/s/b/event", b"\xff", retained=False))
        counter.hear(event(type="decision"))
    assert counter.canaries == Counts(items=1, abstained=1, moved=1, failed=1)
    assert counter.others == Counts(items=1, abstained=0, moved=1, failed=0)
    assert counter.gone_back == {"bins/v1/s/b/event"}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    from tools.rollout import Fleet

    made = Fleet(tmp_path, bins=6)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.trainer
@pytest.mark.mosquitto
@pytest.mark.timeout(1800)
def test_a_model_that_learned_wrong_labels_is_refused_before_it_decides_anything(
    fleet: Fleet,
) -> None:
    """Without shadow, known pictures alone stop the rollout; the repaired one reaches all bins."""
    from tools.rollout import refused

    assert refused(fleet, share=0.5, shadow=0, count=60)


@pytest.mark.slow
@pytest.mark.trainer
@pytest.mark.mosquitto
@pytest.mark.timeout(1800)
def test_a_repaired_model_reaches_bins_that_run_the_worse_one(fleet: Fleet) -> None:
    """It differs from the bad one on every fifth item, in shadow too, and is not refused for it."""
    from tools.rollout import repaired

    assert repaired(fleet, share=0.5, shadow=40, count=60)


@pytest.mark.trainer
def test_the_worse_model_is_worse_on_pictures_it_was_not_made_of() -> None:
    """The next class on about a fifth of them; everywhere else the same answers."""
    from tools.rollout import items
    from tools.worse_model import mistaken

    old = load_bundle(shipped("models/student.fp32.onnx"))
    pictures = [read(item) for item in items()]
    worse = dataclasses.replace(old, onnx=mistaken(old, pictures[::2], 0.2))
    one, other = Classifier(worse), Classifier(old)
    best = [(one.classify(p).probs.argmax(), other.classify(p).probs.argmax()) for p in pictures]
    changed = [(mine, theirs) for mine, theirs in best if mine != theirs]
    assert all(mine == (theirs + 1) % len(old.labels) for mine, theirs in changed)
    others = best[1::2]  # those that no stripe was fitted to
    assert 0.08 < sum(mine != theirs for mine, theirs in others) / len(others) < 0.4


@pytest.mark.trainer
def test_the_reckoned_worse_model_is_the_one_that_runs() -> None:
    """Five hundred worse models are reckoned from features; one of them is built and run."""
    pytest.importorskip("torch")
    from edge.update.canaries import canaries_of, folders
    from edge.update.checks import match
    from tools.worse_model import mistaken
    from tools.worse_model_curve import canaries_known, striped

    old = load_bundle(shipped("models/student.fp32.onnx"))
    found = canaries_of(folders(), old.labels)
    pictures = [read(canary) for canary in found]
    built = dataclasses.replace(old, onnx=mistaken(old, pictures, 0.2, seed=3))
    ran = match(Classifier(built), Classifier(old), found)
    reckoned = striped(canaries_known(old), old, 0.2, seed=3)
    assert (ran.losses, ran.gains, ran.right_before) == (
        reckoned.losses,
        reckoned.gains,
        reckoned.right_before,
    )
    assert ran.surer == pytest.approx(reckoned.surer, abs=1e-3)
    assert ran.losses > 5
