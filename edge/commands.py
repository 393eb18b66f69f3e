"""What may be asked of a bin over MQTT, and how it answers; time is a value."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from edge.values import Incoming, Message
from edge.wire import answer_message

VERBS = (
    "trigger",
    "reload",
    "pause",
    "resume",
    "model",
    "ping",
    "clear",
    "move",
    "resend",
    "pictures",
)
MAX_COMMAND_BYTES = 4096
MAX_RESPONSE_TOPIC = 256
STALE_S = 60.0  # a command that names its time is refused when older, or this far in the future
REMEMBERED = 1000  # ids of past commands
MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was understood."""

    verb: str
    body: dict[str, Any]
    received_s: float = 0.0  # monotonic clock


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that will not be carried out, and why."""

    verb: str
    sentence: str


def read_command(incoming: Incoming) -> Command | Refusal:
    """Validate a message on cmd/<verb>; a retained one is old and refused."""
    verb = incoming.topic.rsplit("/", 1)[-1]
    if verb not in VERBS:
        return Refusal(verb[:64], f"unknown command; known are {', '.join(VERBS)}")
    if incoming.retained:
        return Refusal(verb, "a retained command is refused; publish it without retain")
    if len(incoming.payload) > MAX_COMMAND_BYTES:
        return Refusal(verb, f"payload over {MAX_COMMAND_BYTES} bytes")
    try:
        body = json.loads(incoming.payload) if incoming.payload.strip() else {}
    except (ValueError, RecursionError):
        return Refusal(verb, "payload is not JSON; send an object or nothing")
    if not isinstance(body, dict):
        return Refusal(verb, "payload must be a JSON object or empty")
    return Command(verb, body, incoming.received_s)


class Gate:
    """Lets each command through once: what is stale or was heard before is refused.

    A command may carry `id` (text) and `ts` (seconds since the epoch). Without them there is
    nothing to judge by; an ACL and the broker's message expiry are the guards then.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def admit(self, command: Command, *, now_ts: float) -> Command | Refusal:
        """The command, or why it is refused; an id is remembered from here on."""
        stamp, name = command.body.get("ts"), command.body.get("id")
        if stamp is not None and not _is_fresh(stamp, now_ts):
            limits = f"within {STALE_S:g} s of this bin's clock, in seconds since the epoch"
            return Refusal(command.verb, f"expired: ts must lie {limits}")
        if name is None:
            return command
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
            return Refusal(command.verb, f"id must be text of 1 to {MAX_ID} characters")
        if name in self._seen:
            return Refusal(command.verb, "replayed: a command with this id was heard before")
        self._seen[name] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return command


def _is_fresh(stamp: Any, now_ts: float) -> bool:
    is_number = isinstance(stamp, int | float) and not isinstance(stamp, bool)
    return is_number and abs(now_ts - stamp) <= STALE_S


def answer_to(incoming: Incoming, answer: dict[str, Any]) -> Message | None:
    """The answer, where the command named a topic that can be published to."""
    topic = incoming.response_topic
    publishable = 0 < len(topic) <= MAX_RESPONSE_TOPIC and not set(topic) & set("+#\0")
    root = incoming.topic.partition("/cmd/")[0]
    # Below our own topics only answer/: an answer must not pass for a state or another command.
    forged = topic.startswith(f"{root}/") and not topic.startswith(f"{root}/answer/")
    if not publishable or forged:
        return None
    return answer_message(topic, incoming.correlation, answer)
