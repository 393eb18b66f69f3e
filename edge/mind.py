"""What the bin knows and wants at present: model, configuration, trigger, rules, all replaceable.

A reload of the configuration or a model from the air takes over between two items, never in one.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections import deque
from pathlib import Path

from edge import __version__
from edge.belt.belt import Belt
from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.config import SECTIONS, Config, check_merged, check_routes, load_config
from edge.discovery import discovery_message
from edge.health import clock_host
from edge.judge import Judge
from edge.parts import model_of, routes_of, rules_of, segmenter_of, tray_of, trigger_of
from edge.segmenters import Segmenter
from edge.tray import TrayMemory
from edge.triggers import Trigger
from edge.triggers.moving import MovingTrigger
from edge.update.keeper import ModelKeeper
from edge.values import Item, Message
from edge.wire import Origin, Topics, birth_message

RELOADABLE = ("trigger", "decision", "routes", "health", "pictures")


class Mind:
    """Used by the loop alone; `trigger` and `judge` always belong to `config` and `classifier`."""

    def __init__(
        self,
        config: Config,
        *,
        bundle: Bundle,
        classifier: Classifier,
        origin: Origin,
        tray: TrayMemory,
        segmenter: Segmenter,
        belt: Belt | None,
    ) -> None:
        """Raises ConfigError where a route is for a class that the model does not know."""
        self._bundle = bundle
        self._tray = tray
        self._segmenter = segmenter
        self._belt = belt
        self.config = config
        self.classifier = classifier
        self.origin = origin
        check_routes(config, classifier.labels)
        self.trigger: Trigger = trigger_of(config, tray, belt)
        self.judge = self._new_judge()
        self._dropped: deque[Item] = deque()
        self._resting = False

    @property
    def deadline_s(self) -> float:
        return self.config.decision.deadline_ms / 1000

    def reload(self) -> tuple[str, ...]:
        """Read the file again and take over what can be changed in flight.

        Returns the changed sections that need a restart; raises ConfigError, and changes nothing.
        """
        config = load_config(Path(self.config.file))
        fixed = [
            name
            for name in SECTIONS
            if name not in RELOADABLE and getattr(config, name) != getattr(self.config, name)
        ]
        running = {name: getattr(self.config, name) for name in fixed}
        merged = dataclasses.replace(config, **running)
        if fixed:
            check_merged(merged, fixed)
        self._adopt(merged)
        return tuple(fixed)

    def let_go(self, why: str) -> None:
        """Judge none of the open items: `next_dropped` gives them, barred by `why`.

        What has come while the mind rests is nobody's, and is not told.
        """
        if self._resting:
            self.trigger.reset()
            return
        self._dropped.extend(self.trigger.give_up(why))

    def rest(self, why: str) -> None:
        """Let go of what is open, and take no notice of what comes until `wake`."""
        self.let_go(why)
        self._resting = True

    def wake(self) -> None:
        """Begin anew with what comes from now on."""
        self.trigger.reset()
        self._resting = False

    def next_dropped(self) -> Item | None:
        """An item that was let go of and is still to be told; each is given once."""
        return self._dropped.popleft() if self._dropped else None

    @property
    def untold(self) -> int:
        """Items that have begun, and of which nothing was told."""
        return self.trigger.open_items + len(self._dropped)

    def take_over(self, bundle: Bundle, classifier: Classifier) -> None:
        """Decide by another model from now on."""
        check_routes(self.config, classifier.labels)
        self._bundle, self.classifier = bundle, classifier
        self.origin = dataclasses.replace(self.origin, model=bundle.model_id)
        self.judge = self._new_judge()

    def births(self, verbs: tuple[str, ...]) -> list[Message]:
        """What is said at every connection, and when Home Assistant starts anew.

        `verbs` are the commands that this bin obeys.
        """
        labels, routes, home = self.classifier.labels, self.config.routes, self.config.homeassistant
        birth = birth_message(
            self.origin,
            labels=labels,
            routes=routes.by_class,
            safe=routes.safe,
            capabilities=verbs,
            ts=time.time(),
        )
        if not home.enabled:
            return [birth]
        return [birth, discovery_message(self.origin, prefix=home.prefix, labels=labels)]

    def close(self) -> None:
        """End what the segmenter has begun."""
        self._segmenter.close()

    def _adopt(self, config: Config) -> None:
        check_routes(config, self.classifier.labels)
        if _trigger_changed(config, self.config):
            self._change_trigger(config)
        self._tray.min_area_frac = config.trigger.min_area_frac
        self.config = config
        self.judge = self._new_judge()

    def _change_trigger(self, config: Config) -> None:
        """Items on a belt stay on it where its trigger only gets other rules."""
        same_kind = config.trigger.kind == self.config.trigger.kind
        if same_kind and isinstance(self.trigger, MovingTrigger):
            self.trigger.follow(votes=config.decision.votes, absorb_s=config.trigger.absorb_s)
            return
        fresh = trigger_of(config, self._tray, self._belt)  # learns the tray anew
        self.let_go("the configuration was read again: another trigger looks from now on")
        self.trigger = fresh
        if isinstance(fresh, MovingTrigger):
            fresh.reset()  # by its own sensor: the end of what covers the old one it never hears

    def _new_judge(self) -> Judge:
        return Judge(
            segmenter=self._segmenter,
            classifier=self.classifier,
            rules=rules_of(self._bundle, self.config),
            routes=routes_of(self.config),
            deadline_s=self.deadline_s,
            tray=self._tray,
            timetable=self._belt.timetable if self._belt else None,
        )


def mind_of(config: Config, keeper: ModelKeeper | None, belt: Belt | None) -> Mind:
    """The mind to start with; raises BundleError, TrayError, ConfigError, MissingExtraError."""
    bundle, engine = model_of(config, keeper)
    classifier = Classifier(bundle, engine=engine)
    tray = tray_of(config)
    origin = Origin(
        topics=Topics(config.site.site, config.site.bin),
        boot=secrets.token_hex(6),
        model=bundle.model_id,
        software=__version__,
        host=clock_host(),
    )
    return Mind(
        config,
        bundle=bundle,
        classifier=classifier,
        origin=origin,
        tray=tray,
        segmenter=segmenter_of(config, tray),
        belt=belt,
    )


def _trigger_changed(new: Config, old: Config) -> bool:
    return (new.trigger, new.decision.votes) != (old.trigger, old.decision.votes)
