"""The frozen values of the actuator: what is asked of a device, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.errors import SmartbinError

Result = Literal["done", "jammed", "refused", "late"]
Verb = Literal["move", "clear"]


@dataclass(frozen=True, slots=True)
class Order:
    """One movement that was asked for and may be made; times are of the monotonic clock."""

    id: str  # the decision's; at most one movement is ever made for it
    route: str  # for `clear`: empty is every device
    received_s: float
    expires_s: float  # nothing may start later
    fire_s: float | None = None  # on a belt: when to start, neither before nor much later
    verb: Verb = "move"
    reply_topic: str = ""  # MQTT 5: where else the answer goes
    correlation: bytes | None = None

    @property
    def due_s(self) -> float:
        return self.received_s if self.fire_s is None else self.fire_s


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of an order."""

    id: str
    result: Result
    ms: float  # from receipt to the end of the movement, home again
    reason: str = ""  # one sentence for a person; empty where it is done
    device: str = ""


class ActuatorError(SmartbinError):
    """A device that cannot be had: its pins, their library, or the right to use them."""


class JammedError(SmartbinError):
    """A device that did not get where it was sent; it is left in its safe state."""


class BrokenOffError(SmartbinError):
    """A movement that was ended on its way, because the bin must go home."""
