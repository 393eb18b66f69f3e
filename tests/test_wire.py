"""What goes over the wire is what docs/asyncapi.yaml publishes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from edge.commands import REMEMBERED, VERBS, Command, Gate, Refusal, answer_to, read_command
from edge.decide import Routes, abstain
from edge.health import WorkFigures, host_figures
from edge.values import Decision, Incoming, Message
from edge.wire import (
    FireAt,
    Origin,
    Stamp,
    Topics,
    birth_message,
    decision_message,
    decision_payload,
    event_message,
    health_message,
    state_event_message,
    state_message,
)
from tests.harness import ROOT

DOCUMENT = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
ORIGIN = Origin(Topics("s", "b"), boot="0123456789ab", model="m@1", software="0.1.0")
STAMP = Stamp(
    seq=7,
    cause="presence",
    trigger_ts=100.0,
    frame_ts=100.5,
    decided_ts=100.51,
    latency_ms=10.0,
    expires_ms=1990,
    segmenter="none",
    clock_synced=True,
)
SORTED = Decision("sorted", "glass", "g", 0.91, (("glass", 0.91), ("metal", 0.05)), "sure")


def check(schema: str, message: Message) -> dict[str, Any]:
    """Validate a message's payload against the published schema; returns the payload."""
    payload: dict[str, Any] = json.loads(message.payload)
    check_payload(schema, payload)
    return payload


def check_payload(schema: str, payload: Any) -> None:
    """Fail with what the published schema has against a payload."""
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{schema}", **DOCUMENT})
    errors = [error.message for error in validator.iter_errors(payload)]
    assert not errors, errors


def test_decision_is_perishable() -> None:
    """Not retained, QoS 1, and an expiry of whole seconds that is not under the deadline."""
    message = decision_message(ORIGIN.topics, decision_payload(ORIGIN, SORTED, STAMP), left_s=1.99)
    assert (message.topic, message.qos, message.retain) == ("bins/v1/s/b/decision", 1, False)
    assert message.expires_s == 2
    payload = check("decision", message)
    assert payload["id"] == "0123456789ab-7"


@pytest.mark.parametrize("pulse", [None, 12_345])
def test_decision_of_a_belt_says_when_to_fire(pulse: int | None) -> None:
    """To a tenth of a millisecond, and by the encoder where there is one."""
    stamp = dataclasses.replace(STAMP, fire_at=FireAt(101.123456, pulse))
    payload = decision_payload(ORIGIN, SORTED, stamp)
    check_payload("decision", payload)
    expected = {"ts": 101.1235} if pulse is None else {"ts": 101.1235, "pulse": pulse}
    assert payload["fire_at"] == expected
    assert "fire_at" not in decision_payload(ORIGIN, SORTED, STAMP)


@pytest.mark.parametrize("outcome", ["empty", "late", "fault"])
def test_abstentions_fit_the_schema(outcome: Any) -> None:
    """A decision without a class has label null."""
    decision = abstain(outcome, routes=Routes("rest", {}), reason="r")
    payload = decision_payload(ORIGIN, decision, STAMP)
    assert check("decision", decision_message(ORIGIN.topics, payload, left_s=1.0))["label"] is None


def test_event_is_the_same_decision_without_expiry() -> None:
    """The record carries the same id and never goes stale."""
    payload = decision_payload(ORIGIN, SORTED, STAMP)
    message = event_message(ORIGIN.topics, payload)
    assert message.expires_s is None and message.qos == 1
    event = check("event", message)
    assert event.pop("type") == "decision"
    assert event == payload


def test_state_event_is_numbered_among_the_events() -> None:
    """The record tells from when to when a bin was not well."""
    message = state_event_message(
        ORIGIN, "degraded", seq=3, reason="camera", ts=1.0, clock_synced=False
    )
    assert check("event", message)["id"] == "0123456789ab-3"


def test_state_and_birth_are_retained_and_health_is_not() -> None:
    """Who comes later learns what the bin is and how it is."""
    state = state_message(ORIGIN, "ready", reason="deciding", ts=1.0)
    birth = birth_message(
        ORIGIN, labels=("a", "b"), routes={"a": "x"}, safe="rest", capabilities=("ping",), ts=1.0
    )
    health = health_message(ORIGIN, health_figures(WorkFigures()), ts=1.0)
    for name, message in (("state", state), ("birth", birth), ("health", health)):
        check(name, message)
    assert state.retain and birth.retain and not health.retain
    assert (state.qos, birth.qos, health.qos) == (1, 1, 0)


def health_figures(figures: WorkFigures) -> dict[str, Any]:
    counters = ("depth", "bytes", "in_memory", "overflowed", "expired", "refused")
    rest = {"outbox": dict.fromkeys(counters, 0), "camera_restarts": 0}
    drops = {"frames": 0, "decisions": 0}
    return {**host_figures(uptime_s=5.0), **figures.summary(), **rest, "drops": drops}


def test_health_tells_percentiles_of_the_work() -> None:
    """p50 of 1..100 ms is in the middle, and abstentions without a class have no confidence."""
    figures = WorkFigures()
    for ms in range(1, 101):
        figures.count(SORTED, float(ms))
    figures.count(abstain("empty", routes=Routes("r", {}), reason=""), 1.0)
    payload = check("health", health_message(ORIGIN, health_figures(figures), ts=1.0))
    assert 49 <= payload["latency_ms"]["p50"] <= 51 and payload["latency_ms"]["p99"] >= 98
    assert payload["confidence"]["n"] == 100
    assert payload["outcomes"] == {"sorted": 100, "empty": 1}


def incoming(verb: str, payload: bytes = b"", **rest: Any) -> Incoming:
    return Incoming(f"bins/v1/s/b/cmd/{verb}", payload, **{"retained": False, **rest})


@pytest.mark.parametrize("verb", VERBS)
def test_every_published_verb_is_understood(verb: str) -> None:
    """The verbs of the document are the verbs of the code."""
    assert read_command(incoming(verb)) == Command(verb, {})
    published = DOCUMENT["channels"]["command"]["parameters"]["verb"]["enum"]
    assert verb in published and len(published) == len(VERBS)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (incoming("explode"), "unknown command"),
        (incoming("trigger", retained=True), "retained"),
        (incoming("ping", b"x" * 5000), "over 4096 bytes"),
        (incoming("ping", b"{"), "not JSON"),
        (incoming("ping", b"\xff\xfe"), "not JSON"),
        (incoming("ping", b"[" * 4000), "not JSON"),
        (incoming("ping", b"[1]"), "must be a JSON object"),
    ],
)
def test_bad_commands_are_refused_in_words(message: Incoming, part: str) -> None:
    """Nothing that arrives is carried out half, and nothing raises."""
    refusal = read_command(message)
    assert isinstance(refusal, Refusal) and part in refusal.sentence


def test_replayed_and_stale_commands_are_refused() -> None:
    """An id is good once, a time for a minute; without them a command is taken as it is."""
    gate = Gate()

    def admit(**body: Any) -> str:
        result = gate.admit(Command("trigger", body), now_ts=1000.0)
        return result.sentence if isinstance(result, Refusal) else "taken"

    assert admit(id="a", ts=990.0) == "taken"
    assert "replayed" in admit(id="a", ts=990.0)
    assert admit(id="b") == admit() == admit() == "taken"
    assert "expired" in admit(id="c", ts=900.0) and "expired" in admit(ts="soon")
    assert "expired" in admit(ts=True) and "expired" in admit(ts=float("nan"))
    assert "1 to 64" in admit(id=7) and "1 to 64" in admit(id="x" * 65)


def test_memory_of_past_commands_is_bounded() -> None:
    """A flood of ids pushes the oldest out and nothing more."""
    gate = Gate()
    for number in range(5000):
        gate.admit(Command("ping", {"id": str(number)}), now_ts=0.0)
    assert len(gate._seen) == REMEMBERED
    assert isinstance(gate.admit(Command("ping", {"id": "4999"}), now_ts=0.0), Refusal)


def test_answer_goes_where_the_command_said() -> None:
    """Response topic and correlation data of MQTT 5 come back."""
    asked = incoming("ping", response_topic="me/answers", correlation=b"42")
    message = answer_to(asked, {"verb": "ping", "ok": True, "detail": "pong"})
    assert message is not None
    assert (message.topic, message.correlation) == ("me/answers", b"42")
    check("answer", message)


@pytest.mark.parametrize("topic", ["", "a/#", "a/+/b", "x" * 300])
def test_answer_to_nowhere_is_not_sent(topic: str) -> None:
    """A topic that cannot be published to is no reason to fall over."""
    assert answer_to(incoming("ping", response_topic=topic), {"ok": True}) is None
