"""What a message says, or why it is not believed: pure, bytes in, values out.

A bin may be broken, badly configured, taken over, or not ours at all. Nothing is stored of a
message that does not fit; it is counted by the reason.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from edge.options import NAME_PATTERN
from edge.wire import SCHEMA

MAX_PAYLOAD = 16_384  # the largest honest message, a birth of 100 classes, is under 8 kB
MAX_TEXT = 300
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
MAX_LABELS = 1000
MAX_SEQ = 2**53
MAX_COUNT = 2**62
MAX_PICTURE = 65_536  # a picture message, in base64
KINDS = ("event", "state", "birth", "health", "ack", "answer/fleet", "picture")
OUTCOMES = frozenset({"sorted", "unknown", "ambiguous", "empty", "late", "fault"})
STATES = frozenset({"init", "ready", "degraded", "stopped", "lost"})
ACKS = frozenset({"done", "jammed", "refused", "late"})
# Why a message is not believed, as the page explains it.
REASONS = {
    "foreign": "the topic is not a bin's; is another program using bins/v1?",
    "oversized": f"over {MAX_PAYLOAD} bytes; no bin says so much",
    "malformed": "not what docs/asyncapi.yaml describes; is it a broken or foreign client?",
    "schema": "an unknown schema version; update the monitor, or the bin",
    "spoofed": "the payload names another bin than the topic; check the broker's ACL",
    "too many": "more bins than watch.max_bins; raise it, or look who invents names",
    "twin": "a second device speaks under this name; give each bin its own site.bin",
    "clock": "the event's time is impossible; it was counted at its arrival. Mend the bin's clock",
    "storage": "the database refused this message alone; see the monitor's log",
    "overload": "health came faster than it could be stored and was left out",
}
_NAME = re.compile(NAME_PATTERN)
_BOOT = re.compile(r"[0-9a-f]{12}")
_KIND = re.compile(r"[a-z_]{1,32}")


class Disbelief(Exception):
    """A message that is not believed; `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Address:
    """Whose message it is, by its topic."""

    site: str
    bin: str
    kind: str  # one of KINDS


@dataclass(frozen=True, slots=True)
class Limits:
    """Between which times an event can have happened."""

    clock_ahead_s: float
    clock_behind_s: float


def read_topic(topic: str) -> Address:
    """bins/v1/SITE/BIN/KIND; raises Disbelief."""
    parts = topic.split("/", 4)
    if len(parts) != 5 or parts[0] != "bins" or parts[1] != "v1" or parts[4] not in KINDS:
        raise Disbelief("foreign", topic)
    if not _NAME.fullmatch(parts[2]) or not _NAME.fullmatch(parts[3]):
        raise Disbelief("foreign", topic)
    return Address(parts[2], parts[3], parts[4])


def read_payload(payload: bytes, *, limit: int = MAX_PAYLOAD) -> dict[str, Any]:
    """The object in a payload, of a version that we know; raises Disbelief."""
    if len(payload) > limit:
        raise Disbelief("oversized", f"{len(payload)} bytes")
    try:
        body = json.loads(payload.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Disbelief("malformed", f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Disbelief("malformed", "not a JSON object")
    version = body.get("v")
    if version != SCHEMA or version is True:
        raise Disbelief("schema", f"v = {str(version)[:40]}")
    if b"\\u" in payload:  # rare; the only way in for NUL and half characters
        _refuse_unstorable(body, 0)
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_unstorable(value: Any, depth: int) -> None:
    if depth > 8:
        raise Disbelief("malformed", "nested too deeply")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise Disbelief("malformed", "text holds a character that cannot be stored")
    elif isinstance(value, dict):
        for key, entry in value.items():
            _refuse_unstorable(key, depth + 1)
            _refuse_unstorable(entry, depth + 1)
    elif isinstance(value, list):
        for entry in value:
            _refuse_unstorable(entry, depth + 1)


def text(body: dict[str, Any], key: str, limit: int = MAX_TEXT) -> str:
    """A text, cut at `limit`; raises Disbelief."""
    value = body.get(key)
    if type(value) is not str:
        raise Disbelief("malformed", f"{key} must be text")
    return value if len(value) <= limit else value[: limit - 1] + "…"


def number(
    body: dict[str, Any], key: str, low: float, high: float, *, needed: bool = True
) -> float | None:
    """A finite number within bounds, or None where it may be missing; raises Disbelief."""
    value: Any = body.get(key)
    if value is None and not needed:
        return None
    if type(value) not in (int, float) or not low <= value <= high:
        raise Disbelief("malformed", f"{key} must be a number of {low:g}..{high:g}")
    return float(value)


def whole(body: dict[str, Any], key: str, low: int, high: int, *, needed: bool = True) -> Any:
    """A whole number within bounds, or None where it may be missing; raises Disbelief."""
    value = body.get(key)
    if value is None and not needed:
        return None
    if type(value) is not int or not low <= value <= high:
        raise Disbelief("malformed", f"{key} must be a whole number of {low}..{high}")
    return value


def boot_of(body: dict[str, Any]) -> str:
    """The id of a start; raises Disbelief."""
    value = body.get("boot")
    if type(value) is not str or not _BOOT.fullmatch(value):
        raise Disbelief("malformed", "boot must be 12 hexadecimal digits")
    return value


def _part(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key)
    if type(value) is not dict:
        raise Disbelief("malformed", f"{key} must be an object")
    return value


def _check_names(body: dict[str, Any], address: Address) -> None:
    if body.get("site") != address.site or body.get("bin") != address.bin:
        named = f"{body.get('site')!s:.70}/{body.get('bin')!s:.70}"
        raise Disbelief("spoofed", f"says {named}, came as {address.site}/{address.bin}")


def read_event(
    body: dict[str, Any], address: Address, *, received_ts: float, limits: Limits
) -> dict[str, Any]:
    """The row of an event, without its bin_id; raises Disbelief."""
    _check_names(body, address)
    boot, seq = boot_of(body), whole(body, "seq", 1, MAX_SEQ)
    if body.get("id") != f"{boot}-{seq}":
        raise Disbelief("malformed", "id is not boot-seq")
    kind = body.get("type")
    if type(kind) is not str or not _KIND.fullmatch(kind):
        raise Disbelief("malformed", "type must be a word")
    said_ts = number(body, "decided_ts" if kind == "decision" else "ts", -1e15, 1e15)
    assert said_ts is not None
    rest = _decision(body) if kind == "decision" else _record(body, kind)
    ahead_s = said_ts - received_ts
    good = -limits.clock_behind_s <= ahead_s <= limits.clock_ahead_s
    ts = said_ts if good else received_ts
    return {
        "boot": boot,
        "seq": seq,
        "kind": kind,
        "ts": ts,
        "hour": int(ts // 3600),
        "received_ts": received_ts,
        "flag": "" if good else "clock",
        **rest,
    }


def _decision(body: dict[str, Any]) -> dict[str, Any]:
    outcome, label = body.get("outcome"), body.get("label")
    if type(outcome) is not str or outcome not in OUTCOMES:
        raise Disbelief("malformed", "outcome is unknown")
    if label is not None and (type(label) is not str or not 0 < len(label) <= 64):
        raise Disbelief("malformed", "label must be null or a text of 1 to 64")
    picture = body.get("picture")
    return {
        "outcome": outcome,
        "label": label,
        "confidence": number(body, "confidence", 0, 1),
        "route": text(body, "route", 64),
        "latency_ms": number(body, "latency_ms", -1e9, 1e9),
        "top": _top(body.get("top")),
        "cause": text(body, "cause", 32),
        "picture": picture[:128] if type(picture) is str else None,
        "model": text(body, "model", 128),
        "reason": text(body, "reason"),
    }


def _top(value: Any) -> str:
    if type(value) is not list or len(value) > 10:
        raise Disbelief("malformed", "top must be a short list")
    for pair in value:
        named = type(pair) is list and len(pair) == 2 and type(pair[0]) is str
        if not named or type(pair[1]) not in (int, float) or not 0 <= pair[1] <= 1:
            raise Disbelief("malformed", "top must hold pairs of class and share")
    return json.dumps([[name[:64], share] for name, share in value], separators=(",", ":"))


# What of each kind of record says how it went; of kinds that are newer than this monitor, nothing.
_RESULT = {"state": "state", "movement": "result", "command": "verb", "model": "phase"}


def _record(body: dict[str, Any], kind: str) -> dict[str, Any]:
    """What is no decision: a change of state, a movement, an operator's command, a new model.

    A kind that we do not know is kept all the same, since it is numbered among the others.
    """
    if kind == "state" and body.get("state") not in STATES:
        raise Disbelief("malformed", "state is unknown")
    result = body.get(_RESULT.get(kind, ""))
    reason = body.get("reason", body.get("detail"))
    model, route = body.get("model"), body.get("route")
    empty = ("label", "confidence", "latency_ms", "top", "cause", "picture")
    return {
        "outcome": result[:32] if type(result) is str else "",
        "reason": reason[:MAX_TEXT] if type(reason) is str else "",
        "model": model[:128] if type(model) is str else "",
        "route": route[:64] if type(route) is str else None,
        **dict.fromkeys(empty),
    }


def read_state(body: dict[str, Any], *, received_ts: float, limits: Limits) -> dict[str, Any]:
    """How a bin is; raises Disbelief. A last will was written long before: its time is ours."""
    state = body.get("state")
    if type(state) is not str or state not in STATES:
        raise Disbelief("malformed", "state is unknown")
    ts = number(body, "ts", -1e15, 1e15)
    assert ts is not None
    impossible = not -limits.clock_behind_s <= ts - received_ts <= limits.clock_ahead_s
    return {
        "state": state,
        "state_reason": text(body, "reason"),
        "state_ts": received_ts if impossible or state == "lost" else ts,
        "state_boot": boot_of(body),
        "model": text(body, "model", 128),
        "version": text(body, "version", 64),
    }


def read_birth(body: dict[str, Any], address: Address, *, received_ts: float) -> dict[str, Any]:
    """What a bin is; raises Disbelief."""
    _check_names(body, address)
    labels, capabilities = body.get("labels"), body.get("capabilities")
    for name, value in (("labels", labels), ("capabilities", capabilities)):
        texts = type(value) is list and len(value) <= MAX_LABELS
        if not texts or any(type(v) is not str or len(v) > 64 for v in value):  # type: ignore[union-attr]
            raise Disbelief("malformed", f"{name} must be a list of short texts")
    routes = _part(body, "routes")
    if len(routes) > MAX_LABELS or any(type(v) is not str or len(v) > 64 for v in routes.values()):
        raise Disbelief("malformed", "routes must hold short texts")
    return {
        "birth_boot": boot_of(body),
        "birth_ts": received_ts,
        "labels": json.dumps(labels),
        "routes": json.dumps(routes),
        "safe": text(body, "safe", 64),
        "capabilities": json.dumps(capabilities),
        "model": text(body, "model", 128),
        "version": text(body, "version", 64),
    }


def read_health(body: dict[str, Any], *, received_ts: float) -> dict[str, Any]:
    """How a bin feels, with `boot`; raises Disbelief. Its time is that of its arrival."""
    latency, outbox = _part(body, "latency_ms"), _part(body, "outbox")
    lost = [
        whole(outbox, key, 0, MAX_COUNT, needed=False) or 0 for key in ("overflowed", "expired")
    ]
    return {
        "boot": boot_of(body),
        "health_ts": received_ts,
        "uptime_s": number(body, "uptime_s", 0, 1e12, needed=False),
        "temperature_c": number(body, "temperature_c", -273, 1000, needed=False),
        "throttled": whole(body, "throttled", 0, 2**31 - 1, needed=False),
        "rss_mb": number(body, "rss_mb", 0, 1e9, needed=False),
        "p50_ms": number(latency, "p50", -1e9, 1e9, needed=False),
        "p99_ms": number(latency, "p99", -1e9, 1e9, needed=False),
        "outbox_depth": whole(outbox, "depth", 0, MAX_COUNT, needed=False),
        "outbox_lost": min(sum(lost), MAX_COUNT),
        "dropped": whole(_part(body, "drops"), "decisions", 0, MAX_COUNT, needed=False),
        "confidence_mean": number(_part(body, "confidence"), "mean", 0, 1, needed=False),
        "camera_restarts": whole(body, "camera_restarts", 0, MAX_COUNT, needed=False),
        "clock": text(body, "clock", 16),
        "seq": whole(body, "seq", 0, MAX_SEQ, needed=False),
    }


def read_ack(body: dict[str, Any], *, received_ts: float) -> dict[str, Any]:
    """What became of a movement; raises Disbelief."""
    result = body.get("result")
    if type(result) is not str or result not in ACKS:
        raise Disbelief("malformed", "result is unknown")
    return {"ack_result": result, "ack_ts": received_ts}


def read_picture(
    body: dict[str, Any], address: Address, *, received_ts: float, limits: Limits
) -> dict[str, Any]:
    """The row of a picture, with its bytes as `jpeg`; raises Disbelief."""
    _check_names(body, address)
    boot, seq = boot_of(body), whole(body, "seq", 1, MAX_SEQ)
    if body.get("id") != f"{boot}-{seq}":
        raise Disbelief("malformed", "id is not boot-seq")
    label, encoded = body.get("label"), body.get("jpeg")
    if label is not None and (type(label) is not str or not 0 < len(label) <= 64):
        raise Disbelief("malformed", "label must be null or a text of 1 to 64")
    try:
        jpeg = base64.b64decode(encoded if type(encoded) is str else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Disbelief("malformed", "jpeg must be base64") from error
    if not jpeg.startswith(JPEG_START) or JPEG_END not in jpeg[-64:]:
        raise Disbelief("malformed", "jpeg is not a whole JPEG")
    if hashlib.sha256(jpeg).hexdigest() != body.get("sha256"):
        raise Disbelief("malformed", "sha256 is not that of the picture")
    said_ts = number(body, "decided_ts", -1e15, 1e15)
    assert said_ts is not None
    good = -limits.clock_behind_s <= said_ts - received_ts <= limits.clock_ahead_s
    return {
        "event_id": f"{boot}-{seq}",
        "sha256": body["sha256"],
        "bytes": len(jpeg),
        "ts": said_ts if good else received_ts,
        "model": text(body, "model", 128),
        "outcome": text(body, "outcome", 32),
        "why": text(body, "why"),
        "model_label": label,
        "confidence": number(body, "confidence", 0, 1),
        "jpeg": jpeg,
    }


@dataclass(frozen=True, slots=True)
class ResendAnswer:
    """A bin's answer to a request for events."""

    boot: str
    ok: bool


def read_answer(body: dict[str, Any], correlation: bytes | None) -> ResendAnswer | None:
    """The answer to a resend, or None for another's; raises Disbelief."""
    if body.get("verb") != "resend" or type(body.get("ok")) is not bool:
        return None
    boot = (correlation or b"").decode("ascii", "replace")
    if not _BOOT.fullmatch(boot):
        raise Disbelief("malformed", "an answer to nothing that was asked")
    return ResendAnswer(boot, body["ok"])
