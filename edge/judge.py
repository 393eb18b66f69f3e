"""Item in, decision out: segment, classify each vote, decide; late is said, not hidden."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from edge.classifier import Classifier
from edge.decide import Routes, Rules, abstain, decide
from edge.values import Appointment, Crop, Decision, Frame, Item, Prediction


class Segmenter(Protocol):
    """Cuts an item out of its frame."""

    def cut(self, frame: Frame, item: Item) -> Crop: ...


class EmptyTray(Protocol):
    """What is known of the tray without anything on it."""

    def is_empty(self, frame: Frame) -> bool:
        """Whether there is evidence that nothing lies there."""


class Timetable(Protocol):
    """When an item on a belt meets the diverter of its route."""

    def appointment(self, item: Item, route: str) -> Appointment | None:
        """None where the item leaves the belt without anything moving."""

    def missed(self, appointment: Appointment, now_s: float) -> str:
        """Why it can no longer be kept, in words; empty where it can."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with the times that belong to it, on the monotonic clock."""

    decision: Decision
    trigger_s: float
    frame_s: float  # of the newest frame that voted
    decided_s: float
    segmenter: str
    appointment: Appointment | None = None  # on a belt, for what a diverter is to move
    crops: tuple[Crop, ...] = ()  # what the network saw

    @property
    def latency_ms(self) -> float:
        return (self.decided_s - self.frame_s) * 1000


class Judge:
    """Holds the steps; one public method."""

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        classifier: Classifier,
        rules: Rules,
        routes: Routes,
        deadline_s: float,
        tray: EmptyTray | None = None,
        timetable: Timetable | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self._rules = rules
        self._routes = routes
        self._deadline_s = deadline_s
        self._tray = tray
        self._timetable = timetable
        self._clock = clock

    def judge(self, item: Item, *, fault: str = "") -> Verdict:
        """Decide one item; a deadline missed turns any outcome into `late`.

        `fault` is what is wrong with the frames, in words: then nothing is judged by them.
        """
        judged = item.present and not fault and not item.barred and not self._is_empty(item)
        crops = [self._segmenter.cut(frame, item) for frame in item.frames] if judged else []
        decision = self._decide(item, crops, fault)
        appointment = self._appointment(item, decision)
        decided_s = self._clock()
        frame_s = item.frames[-1].captured_s if item.frames else item.trigger_s
        reason = self._too_late(decided_s, frame_s, appointment)
        # What was kept back for a reason of its own keeps that reason: nothing moves for it anyway.
        if reason and not item.barred:
            decision, appointment = abstain("late", routes=self._routes, reason=reason), None
        return Verdict(
            decision=decision,
            trigger_s=item.trigger_s,
            frame_s=frame_s,
            decided_s=decided_s,
            segmenter=_segmenter_of(crops),
            appointment=appointment,
            crops=tuple(crops),
        )

    def _is_empty(self, item: Item) -> bool:
        return self._tray is not None and self._tray.is_empty(item.frames[-1])

    def _appointment(self, item: Item, decision: Decision) -> Appointment | None:
        if self._timetable is None or decision.outcome != "sorted":
            return None
        return self._timetable.appointment(item, decision.route)

    def _too_late(self, decided_s: float, frame_s: float, appointment: Appointment | None) -> str:
        """Why a decision comes too late, in words; empty where it does not."""
        if self._timetable and appointment:
            missed = self._timetable.missed(appointment, decided_s)
            if missed:
                return missed
        if decided_s - frame_s <= self._deadline_s:
            return ""
        return (
            f"decided {decided_s - frame_s:.2f} s after the last frame, "
            f"the deadline is {self._deadline_s:.2f} s"
        )

    def _decide(self, item: Item, crops: list[Crop], fault: str) -> Decision:
        if item.barred:
            outcome, reason = item.barred
            return abstain(outcome, routes=self._routes, reason=reason)
        if fault:
            return abstain("fault", routes=self._routes, reason=fault)
        if not crops:
            return abstain("empty", routes=self._routes, reason="the scene is the empty tray")
        predictions = [self._classifier.look(crop) for crop in crops]
        decision = decide(predictions, rules=self._rules, routes=self._routes)
        return with_note(decision, crops, predictions, labels=self._rules.labels)


def with_note(
    decision: Decision,
    crops: Sequence[Crop],
    predictions: Sequence[Prediction],
    *,
    labels: Sequence[str],
) -> Decision:
    """The decision, its reason ending in what the segmenter has to say."""
    notes = [looks_of(crops, predictions, labels), note_of(crops)]
    return replace(decision, reason="; ".join([decision.reason, *filter(None, notes)]))


def looks_of(
    crops: Sequence[Crop], predictions: Sequence[Prediction], labels: Sequence[str]
) -> str:
    """What the two looks at the newest frame that was cut said; empty where none was looked at so.

    Say `tiny: cut-out metal 80% counts 20%, whole frame cardboard 71%`.
    """
    for crop, prediction in zip(reversed(crops), reversed(predictions), strict=True):
        if prediction.parts:
            cut, whole = (_best_of(part, labels) for part in prediction.parts)
            return f"{crop.segmenter}: cut-out {cut} counts {crop.share:.0%}, whole frame {whole}"
    return ""


def _best_of(prediction: Prediction, labels: Sequence[str]) -> str:
    best = int(prediction.probs.argmax())
    return f"{labels[best]} {prediction.probs[best]:.0%}"


def note_of(crops: Sequence[Crop]) -> str:
    """Why frames were judged whole although they were to be cut, in words; empty where none was."""
    notes = [crop.note for crop in crops if crop.note]
    if not notes or len(notes) == len(crops):
        return notes[0] if notes else ""
    return f"{notes[0]} ({len(notes)} of {len(crops)} frames)"


def _segmenter_of(crops: Sequence[Crop]) -> str:
    """What cut the frames; none where each was judged whole."""
    return next((crop.segmenter for crop in crops if crop.segmenter != "none"), "none")
