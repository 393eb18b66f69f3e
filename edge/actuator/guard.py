"""Which messages may move something: pure, a message and the clocks in, an order or a no out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from edge.actuator.ledger import ID
from edge.actuator.values import Order, Result
from edge.values import Incoming
from edge.wire import SCHEMA, Topics

MAX_BYTES = 16_384
MAX_LIFE_MS = 600_000  # of an order; the longest deadline and a slow belt, many times over
MAX_NUMBER = 1e15
AHEAD_S = 0.5  # by which two disciplined clocks may differ


@dataclass(frozen=True, slots=True)
class Clocks:
    """This host's clocks at one moment."""

    now_s: float  # monotonic
    now_ts: float  # since the epoch
    synced: bool
    host: str  # which kernel's clock that is, as decisions name theirs


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing is moved, and whoever asked is told why."""

    id: str
    result: Result
    reason: str


def read_order(
    incoming: Incoming, *, topics: Topics, clocks: Clocks, idle: str = ""
) -> Order | Refusal | None:
    """The order in a message on `decision` or `order`, or why it is none.

    None where there is nothing to do or nobody to answer: an outcome other than `sorted`, the
    route `idle`, which is the safe one where no device serves it, or no message of ours at all.

    How old a decision is: by its own time of day where both clocks are the same (one host) or
    both disciplined. Else by what can be known here: from its receipt, the shorter of its life
    and of what is left of the message's own expiry. The broker counts that down, delivers nothing
    that has expired, and keeps nothing for an actuator that was away.
    """
    body = _body(incoming.payload)
    if body is None or not ID.fullmatch(str(body.get("id", ""))):
        return None
    is_decision = incoming.topic == topics.of("decision")
    if is_decision and body.get("v") == SCHEMA and body.get("outcome") != "sorted":
        return None
    if is_decision and idle and body.get("route") == idle:
        return None
    id, faults = str(body["id"]), _faults(body, incoming, topics, is_decision)
    if faults:
        return Refusal(id, "refused", faults)
    left_s = _left_s(body, incoming, clocks)
    if isinstance(left_s, str):
        return Refusal(id, "refused", left_s)
    if left_s <= 0:
        return Refusal(id, "late", f"it expired {abs(left_s) * 1000:.0f} ms before it came")
    fire_s = _fire_s(body, incoming, clocks)
    if isinstance(fire_s, str):
        return Refusal(id, "refused", fire_s)
    return Order(
        id=id,
        route=str(body.get("route", "")),
        received_s=incoming.received_s,
        expires_s=incoming.received_s + left_s,
        fire_s=fire_s,
        verb="move" if is_decision else body["verb"],
        reply_topic=incoming.response_topic,
        correlation=incoming.correlation,
    )


def _body(payload: bytes) -> dict[str, Any] | None:
    if len(payload) > MAX_BYTES:
        return None
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _faults(body: Mapping[str, Any], incoming: Incoming, topics: Topics, is_decision: bool) -> str:
    """What forbids to look further, in words; empty where nothing does."""
    if body.get("v") != SCHEMA:
        return f"schema version {body.get('v')!r} is not known; this actuator knows {SCHEMA}"
    if incoming.retained:
        return "a retained order is old; publish it without retain"
    if (body.get("site"), body.get("bin")) != (topics.site, topics.bin):
        return f"it is for another bin than {topics.site}/{topics.bin}"
    route, verb = body.get("route", ""), "move" if is_decision else body.get("verb")
    if verb not in ("move", "clear"):
        return f"unknown verb {verb!r}; known are move and clear"
    if not isinstance(route, str) or (verb == "move" and not route):
        return "it names no route"
    return ""


def _left_s(body: Mapping[str, Any], incoming: Incoming, clocks: Clocks) -> float | str:
    """Seconds from receipt until it expires, or why that cannot be known."""
    decided_ts, life_ms = body.get("decided_ts"), body.get("expires_ms")
    if not (_is_number(decided_ts) and _is_number(life_ms) and 0 <= life_ms <= MAX_LIFE_MS):
        return f"it needs decided_ts, and expires_ms of 0..{MAX_LIFE_MS}"
    life_s = life_ms / 1000
    if not same_clock(body, clocks):
        return life_s if incoming.expires_s is None else min(life_s, incoming.expires_s)
    received_ts = clocks.now_ts - (clocks.now_s - incoming.received_s)
    age_s = received_ts - decided_ts
    if age_s < -AHEAD_S:
        return f"decided {-age_s:.1f} s from now; set the clocks"
    return float(life_s - max(0.0, age_s))  # a clock that is behind lengthens no life


def _fire_s(body: Mapping[str, Any], incoming: Incoming, clocks: Clocks) -> float | str | None:
    """When to start, on the monotonic clock; None at once; a sentence where it is no use."""
    fire_at = body.get("fire_at")
    if fire_at is None:
        return None
    ts = fire_at.get("ts") if isinstance(fire_at, dict) else None
    if not _is_number(ts):
        return "fire_at needs ts, seconds since the epoch"
    if not same_clock(body, clocks):
        return "fire_at means nothing here: the clocks of bin and actuator are not both synced"
    return clocks.now_s + (ts - clocks.now_ts)


def same_clock(body: Mapping[str, Any], clocks: Clocks) -> bool:
    """Whether a time of day in a message can be held against this host's."""
    host = body.get("host")
    if isinstance(host, str) and host and host == clocks.host:
        return True
    return bool(clocks.synced and body.get("clock") == "synced")


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < MAX_NUMBER  # neither infinite nor NaN, nor beyond a float
