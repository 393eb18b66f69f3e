"""Topics and payloads, as docs/asyncapi.yaml publishes them: pure, values in, messages out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge.values import Decision, Message

SCHEMA = 1  # the "v" of every payload; a consumer ignores versions it does not know
State = Literal["init", "ready", "degraded", "stopped", "lost"]


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one bin."""

    site: str
    bin: str

    @property
    def root(self) -> str:
        return f"bins/v1/{self.site}/{self.bin}"

    def of(self, name: str) -> str:
        """Topic of state, birth, decision, order, event, health or ack."""
        return f"{self.root}/{name}"

    @property
    def commands(self) -> str:
        """What to subscribe to for cmd/<verb>."""
        return f"{self.root}/cmd/+"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run of which bin speaks."""

    topics: Topics
    boot: str  # one random id for each start of the daemon
    model: str  # name@version of the bundle
    software: str  # version of smartbin
    host: str = ""  # whose clock its times are of; empty where that is unknown


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a decision came about; ts are seconds since the epoch, UTC."""

    seq: int  # 1, 2, 3 ... within a boot, no gaps
    cause: str  # what triggered it
    trigger_ts: float
    frame_ts: float  # exposure of the newest frame that voted
    decided_ts: float
    latency_ms: float  # from that frame to the decision, by the monotonic clock
    expires_ms: int  # after decided_ts; nothing may move later than that
    segmenter: str
    clock_synced: bool
    picture: str = ""  # file name where the camera is a folder
    fire_at: FireAt | None = None  # on a belt: when the item is at its diverter


@dataclass(frozen=True, slots=True)
class FireAt:
    """When to act on the order, so that the full movement meets the item."""

    ts: float  # seconds since the epoch, UTC
    pulse: int | None = None  # count of the belt's encoder, where it has one


def event_id(origin: Origin, seq: int) -> str:
    """The same event has the same id wherever and however often it is told."""
    return f"{origin.boot}-{seq}"


def decision_payload(origin: Origin, decision: Decision, stamp: Stamp) -> dict[str, Any]:
    """What `decision` and `event` both say of one item."""
    payload: dict[str, Any] = {
        "v": SCHEMA,
        "id": event_id(origin, stamp.seq),
        "site": origin.topics.site,
        "bin": origin.topics.bin,
        "boot": origin.boot,
        "seq": stamp.seq,
        "cause": stamp.cause,
        "outcome": decision.outcome,
        "label": decision.label,
        "confidence": round(decision.confidence, 4),
        "top": [[label, round(share, 4)] for label, share in decision.top],
        "route": decision.route,
        "reason": decision.reason,
        "trigger_ts": round(stamp.trigger_ts, 3),
        "frame_ts": round(stamp.frame_ts, 3),
        "decided_ts": round(stamp.decided_ts, 3),
        "latency_ms": round(stamp.latency_ms, 2),
        "expires_ms": stamp.expires_ms,
        "model": origin.model,
        "segmenter": stamp.segmenter,
        "clock": _clock(stamp.clock_synced),
    }
    if origin.host:
        payload["host"] = origin.host
    if stamp.picture:
        payload["picture"] = stamp.picture
    if stamp.fire_at:
        payload["fire_at"] = _fire_at(stamp.fire_at)
    return payload


def _fire_at(fire_at: FireAt) -> dict[str, Any]:
    when: dict[str, Any] = {"ts": round(fire_at.ts, 4)}  # 0.1 ms: 0.3 mm at 3 m/s
    return when if fire_at.pulse is None else {**when, "pulse": fire_at.pulse}


def decision_message(topics: Topics, payload: Mapping[str, Any], *, left_s: float) -> Message:
    """For actuators: never retained, and gone from the broker `left_s` from now, rounded up."""
    expires_s = max(1, math.ceil(left_s))
    return Message(
        topics.of("decision"),
        encode(payload),
        qos=1,
        expires_s=expires_s,
        correlation=str(payload["id"]).encode(),
        response_topic=topics.of("ack"),
    )


def event_message(topics: Topics, payload: Mapping[str, Any]) -> Message:
    """For the record: the same decision, by way of the outbox, whenever the broker is there."""
    return Message(topics.of("event"), encode({**payload, "type": "decision"}), qos=1)


def state_event_message(
    origin: Origin, state: State, *, seq: int, reason: str, ts: float, clock_synced: bool
) -> Message:
    """A change of state for the record: what `state` said, numbered among the events."""
    payload = {
        "v": SCHEMA,
        "type": "state",
        "id": event_id(origin, seq),
        "site": origin.topics.site,
        "bin": origin.topics.bin,
        "boot": origin.boot,
        "seq": seq,
        "state": state,
        "reason": reason,
        "model": origin.model,
        "version": origin.software,
        "ts": round(ts, 3),
        "clock": _clock(clock_synced),
    }
    return Message(origin.topics.of("event"), encode(payload), qos=1)


def _clock(synced: bool) -> str:
    return "synced" if synced else "unsynced"


def state_message(origin: Origin, state: State, *, reason: str, ts: float) -> Message:
    """Retained, so that whoever comes later knows how the bin is."""
    payload = {
        "v": SCHEMA,
        "state": state,
        "reason": reason,
        "boot": origin.boot,
        "model": origin.model,
        "version": origin.software,
        "ts": round(ts, 3),
    }
    return Message(origin.topics.of("state"), encode(payload), qos=1, retain=True)


def birth_message(
    origin: Origin,
    *,
    labels: tuple[str, ...],
    routes: Mapping[str, str],
    safe: str,
    capabilities: tuple[str, ...],
    ts: float,
) -> Message:
    """What this bin is; retained, sent at every connection."""
    payload = {
        "v": SCHEMA,
        "site": origin.topics.site,
        "bin": origin.topics.bin,
        "boot": origin.boot,
        "labels": list(labels),
        "routes": dict(routes),
        "safe": safe,
        "capabilities": list(capabilities),
        "model": origin.model,
        "version": origin.software,
        "ts": round(ts, 3),
    }
    return Message(origin.topics.of("birth"), encode(payload), qos=1, retain=True)


def ack_payload(
    id: str, result: str, ms: float, *, reason: str = "", device: str = ""
) -> dict[str, Any]:
    """What an actuator answers; `ms` from the receipt to the end of the movement."""
    payload: dict[str, Any] = {"v": SCHEMA, "id": id, "result": result, "ms": ms}
    if reason:
        payload["reason"] = reason
    if device:
        payload["device"] = device
    return payload


def order_message(
    origin: Origin, verb: str, *, id: str, route: str, ts: float, expires_ms: int, synced: bool
) -> Message:
    """For the bin's own actuator, by an operator's command: `move` to a route, or `clear`."""
    payload: dict[str, Any] = {
        "v": SCHEMA,
        "id": id,
        "site": origin.topics.site,
        "bin": origin.topics.bin,
        "verb": verb,
        "route": route,
        "decided_ts": round(ts, 3),
        "expires_ms": expires_ms,
        "clock": _clock(synced),
    }
    if origin.host:
        payload["host"] = origin.host
    return Message(
        origin.topics.of("order"),
        encode(payload),
        qos=1,
        expires_s=max(1, math.ceil(expires_ms / 1000)),
        correlation=id.encode(),
        response_topic=origin.topics.of("ack"),
    )


def record_message(
    origin: Origin,
    kind: str,
    details: Mapping[str, Any],
    *,
    seq: int,
    ts: float,
    clock_synced: bool,
) -> Message:
    """An event of another type, numbered among the others: `movement` or `command`."""
    payload = {
        "v": SCHEMA,
        "type": kind,
        "id": event_id(origin, seq),
        "site": origin.topics.site,
        "bin": origin.topics.bin,
        "boot": origin.boot,
        "seq": seq,
        **details,
        "ts": round(ts, 3),
        "clock": _clock(clock_synced),
    }
    return Message(origin.topics.of("event"), encode(payload), qos=1)


def health_message(origin: Origin, figures: Mapping[str, Any], *, ts: float) -> Message:
    """How the bin feels; lost ones do not matter, so QoS 0."""
    payload = {"v": SCHEMA, "boot": origin.boot, "ts": round(ts, 3), **figures}
    return Message(origin.topics.of("health"), encode(payload))


def answer_message(topic: str, correlation: bytes | None, answer: Mapping[str, Any]) -> Message:
    """The answer to a command, on the topic that the command named."""
    payload = encode({"v": SCHEMA, **answer})
    return Message(topic, payload, qos=1, expires_s=60, correlation=correlation)


def encode(payload: Mapping[str, Any]) -> bytes:
    """Compact JSON; refuses NaN, which no consumer can read."""
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
