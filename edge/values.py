"""The frozen values that flow from camera to broker; names carry units, arrays carry shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Outcome = Literal["sorted", "unknown", "ambiguous", "empty", "late", "fault"]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in px, x1 and y1 exclusive


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the camera."""

    pixels: Pixels
    captured_s: float  # monotonic clock; exposure where the driver tells it, else arrival
    seq: int  # 1, 2, 3 ... for the life of the daemon; a gap is a dropped frame
    source: str = ""  # file name where the camera is a folder, else empty


@dataclass(frozen=True, slots=True)
class Item:
    """What a trigger found worth a decision: the frames to vote on."""

    frames: tuple[Frame, ...]  # oldest first; none only where `barred` says why
    trigger_s: float  # monotonic clock
    cause: str  # presence, interval, frame, command, gate, encoder or line
    box_xyxy: Box | None = None  # where the item lies, if the trigger knows
    present: bool = True  # False: the trigger has evidence that the tray is empty
    barred: tuple[Outcome, str] | None = None  # not to be judged by its frames, and why
    place_mm: float | None = None  # on a belt: its middle, on the scale that runs with the belt


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a frame that the classifier sees."""

    pixels: Pixels
    box_xyxy: Box
    mask: npt.NDArray[np.bool_] | None = None  # (h, w) of the crop, True on the item
    segmenter: str = "none"  # what made it; "none" is the whole frame
    quality: float = 0.0  # of the mask, 0..1
    note: str = ""  # why the whole frame is judged although a segmenter was asked
    beside: Pixels | None = None  # the whole frame, where it is judged beside the cut-out
    share: float = 1.0  # of `pixels` in the judgement, 0..1; `beside` has the rest


@dataclass(frozen=True, slots=True)
class Prediction:
    """Calibrated class probabilities of one crop, in the order of the bundle's labels."""

    probs: npt.NDArray[np.float32]  # (n,), sums to 1
    evidence: float | None = None  # of being an item at all; None where the bundle has no rule
    parts: tuple[Prediction, ...] = ()  # of the cut-out and of the whole frame, where both speak


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with an item, and why."""

    outcome: Outcome
    label: str | None  # the best class, None where no class was judged
    route: str  # where the item goes; the safe route unless outcome is sorted
    confidence: float  # mean calibrated probability of `label`, 0..1
    top: tuple[tuple[str, float], ...]  # best three classes, best first
    reason: str  # one sentence for a person


@dataclass(frozen=True, slots=True)
class Appointment:
    """When an item on a belt meets its diverter, on the monotonic clock."""

    act_s: float  # the order to move; the actuator's own delay is taken off already
    until_s: float  # later, the movement would meet nothing, or the next item
    pulse: int | None = None  # `act_s` as a count of the belt's encoder


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT publication."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expires_s: int | None = None  # MQTT 5 message expiry, whole seconds
    correlation: bytes | None = None
    response_topic: str = ""  # MQTT 5: where an answer is awaited


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of the broker's, with what MQTT 5 says beside the payload."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str = ""
    correlation: bytes | None = None
    received_s: float = 0.0  # monotonic clock
    expires_s: int | None = None  # MQTT 5: what the broker has left of the message's expiry
