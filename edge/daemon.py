"""The long-running daemon: builds the parts, then loops over frames, commands and the outbox.

Threads: this one loops. Beside it, `edge.mqtt` has one that only hands over, and devices, kept
pictures and updates have theirs. The camera is a process of its own.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge import __version__
from edge.belt.pins import Sensors
from edge.capture import Capture
from edge.closing import close_all
from edge.config import Config
from edge.errors import SmartbinError
from edge.herald import WAITING
from edge.limits import MemoryGuard
from edge.mind import mind_of
from edge.orders import Orders
from edge.parts import (
    belt_of,
    broker_of,
    camera_spec,
    hold_outbox,
    keeper_of,
    movements_of,
    outbox_of,
    picture_rules,
    pictures_of,
)
from edge.update.keeper import ModelKeeper
from edge.update.steps import note_body
from edge.values import Decision, Frame, Item, Message
from edge.vitals import Vitals
from edge.voice import Voice
from edge.watch import CameraWatch
from edge.wire import State

log = logging.getLogger(__name__)

TICK_S = 0.05  # longest wait for a frame: bounds the delay of commands, outbox and SIGTERM
LAST_ITEMS_S = 0.3  # at the end, to record those that are still looked at
BELT_TICK_S = 0.01  # the same on a belt, where an item becomes ready between two frames


@dataclass(frozen=True, slots=True)
class Rig:
    """What a simulation puts in the place of hardware."""

    opener: str  # MODULE:FUNCTION that opens the camera, in the capture process
    sensors: Callable[[], Sensors]


class Daemon:
    """Built from a checked configuration; `run` returns when stopped or the source has ended."""

    def __init__(
        self, config: Config, *, stop: threading.Event | None = None, rig: Rig | None = None
    ) -> None:
        self._stop = stop or threading.Event()
        # Plain attributes: a signal may interrupt a handler, and Event.set() would wait for itself.
        self._stop_asked = self._reload_asked = False
        self._seen_frame = False
        self._lock = hold_outbox(config)
        self._keeper = keeper_of(config)
        self._build_senses(config, rig)
        self._mind = mind_of(config, self._keeper, self._belt)
        self._voice = self._new_voice(config)
        origin, link, reporter = self._mind.origin, self._voice.link, self._voice.reporter
        self._pictures = pictures_of(config, origin, link)
        self._movements = movements_of(config, origin, link, reporter)
        if self._movements:
            self._movements.told = self._pictures.object
        self._voice.attach(self._movements, self._pictures)
        self._orders = Orders(
            mind=self._mind,
            outbox=self._voice.outbox,
            ring=self._voice.ring,
            movements=self._movements,
            pictures=self._pictures,
            keeper=self._keeper,
            on_reload=self._follow_mind,
        )
        self._vitals = Vitals(
            link=link,
            outbox=self._voice.outbox,
            postman=self._voice.postman,
            reporter=reporter,
            frames_dropped=lambda: self._capture.dropped,
            watch=self._watch,
            movements=self._movements,
        )

    def _build_senses(self, config: Config, rig: Rig | None) -> None:
        """Camera, belt, and what watches over them."""
        spec = camera_spec(config)
        self._capture = Capture(spec=spec, opener=rig.opener) if rig else Capture(spec=spec)
        self._belt = belt_of(config, rig.sensors if rig else None)
        self._tick_s = BELT_TICK_S if self._belt else TICK_S
        self._watch = CameraWatch(
            self._capture,
            timeout_s=config.camera.timeout_s,
            give_up_s=config.camera.give_up_s,
        )
        self._guard = MemoryGuard(
            daemon_mb=config.limits.daemon_mb,
            capture_mb=config.limits.capture_mb,
            capture_pid=lambda: self._capture.pid,
        )

    def _new_voice(self, config: Config) -> Voice:
        home = config.homeassistant
        return Voice(
            origin=self._mind.origin,
            broker=broker_of(config),
            outbox=outbox_of(config),
            replay_per_s=config.outbox.replay_per_s,
            deadline_s=self._mind.deadline_s,
            keeper=self._keeper,
            hears_acks=config.actuator.mode == "broker",
            home_prefix=home.prefix if home.enabled else "",
            births=lambda: self._mind.births(self._orders.verbs),
        )

    def run(self, *, broker_wait_s: float = 0.0) -> None:
        """Work until stopped; raises CameraError where the camera stays away.

        `broker_wait_s` holds the first frame back until the broker is there, at most so long: for
        a source that is played once, whose decisions would be lost.
        """
        origin = self._mind.origin
        root, boot = origin.topics.root, origin.boot
        log.info("smartbin %s, %s, %s, boot %s", __version__, origin.model, root, boot)
        why = "a fault of the program"
        try:
            self._voice.start(wait_s=broker_wait_s, stopping=self._stopping)
            self._watch.start()
            if self._keeper:
                self._keeper.start(self._mind.classifier)
            self._pictures.start()
            if self._belt:
                self._belt.start()
            while not self._stopping() and not self._capture.ended:
                self._step()
            why = "the source has ended" if self._capture.ended else "asked to stop"
        except SmartbinError as error:
            why = str(error)
            raise
        finally:
            fault = self._end(why)
        if fault:  # else what ended the loop is told, and this stands in the log
            raise fault

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler."""
        self._stop_asked = True

    def reload(self) -> None:
        """Ask for the configuration to be read again; may be called from a signal handler."""
        self._reload_asked = True

    def _stopping(self) -> bool:
        return self._stop_asked or self._stop.is_set()

    def _step(self) -> None:
        restarts = self._watch.restarts
        frame = self._watch.next(self._tick_s)
        if frame is not None or self._watch.restarts > restarts:
            self._voice.herald.progress()
        if frame is not None:
            self._look_at(frame)
        while not self._orders.paused and (item := self._mind.trigger.due(time.monotonic())):
            self._handle(item)
        excess = self._guard.excess()
        if excess:
            self._watch.restart(excess)
        self._obey()
        self._tell_dropped()
        if self._movements:
            self._movements.serve()
        if self._keeper:
            self._follow_model(self._keeper)
        self._voice.postman.pump(self._voice.link)
        self._voice.herald.tell(*self._present_state(), works=self._seen_frame)
        self._vitals.tell(self._mind.origin, every_s=self._mind.config.health.interval_s)

    def _look_at(self, frame: Frame) -> None:
        if self._belt and not self._seen_frame:
            self._check_stamps()
        self._seen_frame = True
        item = None if self._orders.paused else self._mind.trigger.see(frame)
        if item is not None:
            self._handle(item)

    def _obey(self) -> None:
        """Commands of the broker's, and the signal that asks for a reload."""
        self._voice.desk.serve(self._orders.obey, publish=self._voice.link.publish)
        if self._reload_asked:
            self._reload_asked = False
            answer = self._orders.reload()
            log.log(logging.INFO if answer["ok"] else logging.WARNING, "%s", answer["detail"])

    def _tell_dropped(self, until_s: float = math.inf) -> None:
        """Record the items that were let go of; nothing moves for them."""
        while time.monotonic() < until_s and (item := self._mind.next_dropped()):
            self._handle(item)

    def _check_stamps(self) -> None:
        """Without the sensor's time, only belt.exposure_ms keeps frames of before apart."""
        if not self._capture.stamped and not self._mind.config.belt.exposure_ms:
            log.warning(
                "belt: this camera does not say when a frame was exposed; set belt.exposure_ms to "
                "the delay of its pictures, or items may be judged by frames from before them"
            )

    def _handle(self, item: Item) -> None:
        verdict = self._mind.judge.judge(item, fault=self._watch.trouble)
        if self._movements:
            verdict = self._movements.reroute(verdict)
        self._vitals.work.count(verdict.decision, verdict.latency_ms)
        obey = self._movements.obey if self._movements else _nothing_moves
        told = self._voice.reporter.report(item, verdict, obey=obey)
        if self._movements:
            self._movements.decided(told, verdict)
        if self._keeper:
            self._keeper.see(verdict)
        if verdict.crops:
            self._pictures.see(item.frames[-1].pixels, verdict.decision, told.payload)

    def _end(self, why: str) -> Exception | None:
        """The mirror of the start; each part has a deadline, all together under five seconds.

        Every part is closed, whatever becomes of the others; returns the first fault.
        """
        return close_all(
            (
                self._voice.herald.stopping,
                lambda: self._tell_open(why),
                self._capture.close,
                *([self._belt.close] if self._belt else []),
                self._mind.close,
                *([self._keeper.close] if self._keeper else []),
                self._pictures.close,
                *([self._movements.end] if self._movements else []),
                lambda: self._voice.end(self._farewell(why)),
                *([self._lock.close] if self._lock else []),
            )
        )

    def _tell_open(self, why: str) -> None:
        """Record what is still looked at, as far as the disk lets us in the time of the end."""
        self._mind.let_go(f"the daemon ends: {why}")
        self._tell_dropped(until_s=time.monotonic() + LAST_ITEMS_S)

    def _farewell(self, why: str) -> str:
        untold = self._mind.untold
        return f"{why}; {untold} still looked at and not decided" if untold else why

    def _present_state(self) -> tuple[State, str]:
        if self._watch.trouble:
            return "degraded", f"camera: {self._watch.trouble}"
        if not self._seen_frame:
            return "init", WAITING
        if self._voice.outbox.trouble:
            return "degraded", self._voice.outbox.trouble
        if self._mind.trigger.trouble:
            return "degraded", self._mind.trigger.trouble
        if self._movements and self._movements.trouble:
            return "degraded", self._movements.trouble
        return "ready", "paused by a command" if self._orders.paused else "deciding"

    def _follow_model(self, keeper: ModelKeeper) -> None:
        """Record what the updates tell, and take over a model between two items."""
        if self._seen_frame:
            keeper.ready()
        swap = keeper.swap()
        if swap is not None:
            self._mind.take_over(swap.bundle, swap.classifier)
            self._follow_mind()
        for note in keeper.notes():
            self._voice.reporter.report_record("model", note_body(note))

    def _follow_mind(self) -> None:
        """Another configuration or model is in force: tell the parts."""
        mind = self._mind
        self._voice.follow(mind.origin, deadline_s=mind.deadline_s)
        if self._movements:
            self._movements.follow_safe(mind.config.routes.safe)
        self._pictures.rules = picture_rules(mind.config)


def _nothing_moves(_decision: Decision, _message: Message) -> None:
    """No device is on this board."""
