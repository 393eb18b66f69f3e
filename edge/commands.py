"""What may be asked of a bin over MQTT, and how it answers: pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edge.values import Incoming, Message
from edge.wire import answer_message

VERBS = ("trigger", "reload", "pause", "resume", "model", "ping")
MAX_COMMAND_BYTES = 4096
MAX_RESPONSE_TOPIC = 256


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was understood."""

    verb: str
    body: dict[str, Any]


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
    return Command(verb, body)


def answer_to(incoming: Incoming, answer: dict[str, Any]) -> Message | None:
    """The answer, where the command named a topic that can be published to."""
    topic = incoming.response_topic
    publishable = 0 < len(topic) <= MAX_RESPONSE_TOPIC and not set(topic) & set("+#\0")
    if not publishable:
        return None
    return answer_message(topic, incoming.correlation, answer)
