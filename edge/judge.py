"""Item in, decision out: segment, classify each vote, decide; late is said, not hidden."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.classifier import Classifier
from edge.decide import Routes, Rules, abstain, decide
from edge.values import Crop, Decision, Frame, Item


class Segmenter(Protocol):
    """Cuts an item out of its frame."""

    def cut(self, frame: Frame, item: Item) -> Crop: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with the times that belong to it, on the monotonic clock."""

    decision: Decision
    trigger_s: float
    frame_s: float  # of the newest frame that voted
    decided_s: float
    segmenter: str

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self._rules = rules
        self._routes = routes
        self._deadline_s = deadline_s
        self._clock = clock

    def judge(self, item: Item, *, fault: str = "") -> Verdict:
        """Decide one item; a deadline missed turns any outcome into `late`.

        `fault` is what is wrong with the frames, in words: then nothing is judged by them.
        """
        judged = item.present and not fault
        crops = [self._segmenter.cut(frame, item) for frame in item.frames] if judged else []
        decision = self._decide(crops, fault)
        decided_s, frame_s = self._clock(), item.frames[-1].captured_s
        if decided_s - frame_s > self._deadline_s:
            reason = (
                f"decided {decided_s - frame_s:.2f} s after the last frame, "
                f"the deadline is {self._deadline_s:.2f} s"
            )
            decision = abstain("late", routes=self._routes, reason=reason)
        return Verdict(
            decision=decision,
            trigger_s=item.trigger_s,
            frame_s=frame_s,
            decided_s=decided_s,
            segmenter=crops[0].segmenter if crops else "none",
        )

    def _decide(self, crops: list[Crop], fault: str) -> Decision:
        if fault:
            return abstain("fault", routes=self._routes, reason=fault)
        if not crops:
            return abstain("empty", routes=self._routes, reason="the scene is the empty tray")
        predictions = [self._classifier.classify(crop.pixels) for crop in crops]
        return decide(predictions, rules=self._rules, routes=self._routes)
