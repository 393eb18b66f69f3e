"""Leads a rollout: canaries first, all bins when they do no worse, back when they do.

Counts what the fleet itself records (events by way of each bin's outbox), so it needs no database,
and a controller that dies loses nothing but time: the wish is retained, and it starts counting
anew.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from edge.brokers import Broker
from edge.mqtt import Link
from edge.update.rollout import Counts, Ruling, Wish, chosen, rule
from edge.values import Incoming

log = logging.getLogger(__name__)

EVENTS = "bins/v1/+/+/event"
REMEMBERED = 200_000  # ids of events, against redelivery, and models of decisions, for their acks
ABSTAINED = frozenset({"unknown", "ambiguous"})
FAILED = frozenset({"jammed", "refused", "late", "missing"})
GONE_BACK = frozenset({"refused", "rolled_back"})


@dataclass(frozen=True, slots=True)
class Stage:
    """How a rollout is led."""

    group: str
    version: int
    canary_share: float  # of the bins, 0..1
    least_items: int  # of the canaries, before all bins follow
    salt: str


class Counter:
    """Sums up the fleet's events for one version against all others; used by one thread."""

    def __init__(self, version: int) -> None:
        self._suffix, self._version = f"@{version}", version
        self.canaries, self.others, self.gone_back = Counts(), Counts(), set[str]()
        self.topics: set[str] = set()  # of the bins that were heard
        self._seen: OrderedDict[str, bool] = OrderedDict()  # event id: by the new version

    def hear(self, incoming: Incoming) -> None:
        """One message of any bin; what is none of ours is passed over."""
        try:
            event = json.loads(incoming.payload)
            kind, name = event["type"], str(event["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if name in self._seen:
            return
        self.topics.add(incoming.topic)
        match kind:
            case "decision":
                self._decision(name, event)
            case "movement":
                self._movement(name, event)
            case "model":
                self._model(name, incoming.topic, event)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _decision(self, name: str, event: dict[str, Any]) -> None:
        mine = str(event.get("model", "")).endswith(self._suffix)
        self._seen[name] = mine
        abstained = int(event.get("outcome") in ABSTAINED)
        self._add(mine, Counts(items=1, abstained=abstained))

    def _movement(self, name: str, event: dict[str, Any]) -> None:
        mine = self._seen.get(str(event.get("decision", "")))
        self._seen[name] = False
        if mine is not None:
            self._add(mine, Counts(moved=1, failed=int(event.get("result") in FAILED)))

    def _model(self, name: str, topic: str, event: dict[str, Any]) -> None:
        self._seen[name] = False
        if event.get("version") == self._version and event.get("phase") in GONE_BACK:
            self.gone_back.add(topic)

    def _add(self, mine: bool, more: Counts) -> None:
        if mine:
            self.canaries = _sum(self.canaries, more)
        else:
            self.others = _sum(self.others, more)


def _names(topic: str) -> tuple[str, str]:
    """Site and bin of bins/v1/SITE/BIN/event."""
    _, _, site, name, _ = topic.split("/")
    return site, name


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.items + other.items,
        one.abstained + other.abstained,
        one.moved + other.moved,
        one.failed + other.failed,
    )


class Rollout:
    """One rollout, from the canaries to all bins or back."""

    def __init__(
        self, *, broker: Broker, stage: Stage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage, self._clock = stage, clock
        self._counter = Counter(stage.version)
        self._wish = Wish(stage.version, stage.canary_share, stage.salt)
        self._told = False
        self._link = Link(
            broker=broker,
            client_id=f"smartbin-rollout/{stage.group}/{stage.salt}",
            subscriptions=(EVENTS,),
            on_connect=self._greet,
            on_message=self._counter.hear,
        )

    def run(self, *, timeout_s: float, poll_s: float = 1.0) -> Iterator[Ruling]:
        """Yields each new ruling; the last is `go` or `stop`, or `wait` when the time is up."""
        until_s = self._clock() + timeout_s
        said = None
        self._link.start()
        try:
            while True:
                ruling = self.ruling()
                if ruling != said:
                    said = ruling
                    yield ruling
                if ruling.action != "wait" or self._clock() > until_s:
                    self._end(ruling)
                    return
                time.sleep(poll_s)
        finally:
            self._link.stop(None, timeout_s=2.0)

    def ruling(self) -> Ruling:
        """What the counts say now."""
        counter = self._counter
        return rule(
            counter.canaries,
            counter.others,
            len(counter.gone_back),
            least_items=self._stage.least_items,
            bins=sum(chosen(self._wish, *_names(topic)) for topic in tuple(counter.topics)),
        )

    def _greet(self) -> None:
        self._link.publish(self._wish.message(self._stage.group))

    def _end(self, ruling: Ruling) -> None:
        if ruling.action == "go":
            self._wish = replace(self._wish, share=1.0)
        elif ruling.action == "stop":
            self._wish = replace(self._wish, share=0.0, withdrawn=(self._stage.version,))
        else:
            return  # the time is up: the canaries keep it, nobody follows
        until_s = self._clock() + 30.0
        while self._link.publish(self._wish.message(self._stage.group)) is None:
            if self._clock() > until_s:
                log.warning("the broker is away: the last wish could not be published")
                return
            time.sleep(0.2)
        time.sleep(0.5)  # for the acknowledgement
