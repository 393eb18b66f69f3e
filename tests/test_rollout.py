"""A worse model meets a fleet: canaries stop it, and nobody else ever runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.update.controller import Counter
from edge.update.rollout import Counts
from edge.values import Incoming
from edge.wire import encode


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


@pytest.mark.slow
@pytest.mark.trainer
@pytest.mark.mosquitto
@pytest.mark.timeout(400)
def test_a_model_of_shuffled_labels_never_leaves_the_canaries(tmp_path: Path) -> None:
    """Refused in their shadow, so the rollout stops; the repaired one reaches every bin."""
    from tools.rollout import story

    assert story(tmp_path, bins=10, share=0.3, shadow=40, items=100)
