"""The long-running daemon: knows all the parts, and nothing of what they do inside.

Threads: this one loops over frames, commands and the outbox. `edge.mqtt` has its own two, which
only hand over. The camera is a process of its own.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import __version__
from edge.belt.pins import Sensors
from edge.capture import Capture
from edge.classifier import Classifier
from edge.commands import Command
from edge.config import SECTIONS, Config, check_routes, load_config
from edge.desk import CommandDesk
from edge.discovery import ONLINE, discovery_message, status_topic
from edge.errors import ConfigError, SmartbinError
from edge.health import WorkFigures, clock_host, host_figures
from edge.herald import WAITING, Herald
from edge.judge import Judge
from edge.limits import MemoryGuard
from edge.movements import Movements
from edge.mqtt import Link
from edge.options import name_fault
from edge.parts import (
    belt_of,
    broker_of,
    camera_spec,
    hold_outbox,
    keeper_of,
    model_of,
    movements_of,
    outbox_of,
    picture_rules,
    pictures_of,
    routes_of,
    rules_of,
    segmenter_of,
    tray_of,
    trigger_of,
)
from edge.postman import Postman
from edge.reporter import Reporter
from edge.resend import Ring
from edge.triggers import Trigger
from edge.uncertain.collector import PictureCollector
from edge.update.keeper import ModelKeeper
from edge.update.updater import note_body
from edge.values import Decision, Incoming, Item, Message
from edge.watch import CameraWatch
from edge.wire import Origin, State, Topics, birth_message, health_message, state_message

log = logging.getLogger(__name__)

TICK_S = 0.05  # longest wait for a frame: bounds the delay of commands, outbox and SIGTERM
BELT_TICK_S = 0.01  # the same on a belt, where an item becomes ready between two frames
FLUSH_S = 1.5  # at the end, for the last events to leave
STALL_S = 0.5  # of these, without an acknowledgement: the broker is half-open
FAREWELL_S = 0.8  # with a hung camera closed twice, 3 s, all stay under the five that are promised
COMMANDS = ("trigger", "pause", "resume", "reload", "ping", "resend")
MODEL_COMMANDS = ("model",)
MOVING_COMMANDS = ("clear", "move")
RELOADABLE = ("trigger", "decision", "routes", "health", "pictures")


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
        self._config = config
        self._stop = stop or threading.Event()
        # Plain attributes: a signal may interrupt a handler, and Event.set() would wait for itself.
        self._stop_asked = self._reload_asked = False
        self._started_s = time.monotonic()
        self._lock = hold_outbox(config)
        self._keeper = keeper_of(config)
        self._bundle, engine = model_of(config, self._keeper)
        self._classifier = Classifier(self._bundle, engine=engine)
        self._tray = tray_of(config)
        self._segmenter = segmenter_of(config, self._tray)
        self._origin = Origin(
            topics=Topics(config.site.site, config.site.bin),
            boot=secrets.token_hex(6),
            model=self._bundle.model_id,
            software=__version__,
            host=clock_host(),
        )
        self._desk = CommandDesk()
        self._figures = WorkFigures()
        self._capture = (
            Capture(spec=camera_spec(config), opener=rig.opener)
            if rig
            else Capture(spec=camera_spec(config))
        )
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
        self._outbox = outbox_of(config)
        self._ring = Ring()
        self._postman = Postman(
            self._outbox, per_s=config.outbox.replay_per_s, on_delivered=self._ring.keep
        )
        self._movements: Movements | None = None
        self._pictures: PictureCollector | None = None
        self._link = self._build_link()
        self._reporter = Reporter(
            origin=self._origin,
            link=self._link,
            outbox=self._outbox,
            postman=self._postman,
            deadline_s=config.decision.deadline_ms / 1000,
        )
        self._herald = Herald(
            origin=self._origin, link=self._link, reporter=self._reporter, births=self._births
        )
        self._movements = movements_of(config, self._origin, self._link, self._reporter)
        self._pictures = pictures_of(config, self._origin, self._link)
        if self._pictures and self._movements:
            self._movements.told = self._pictures.object
        self._adopted = False
        self._adopt(config)
        self._paused = False
        self._seen_frame = False
        self._health_due_s = 0.0

    def run(self, *, broker_wait_s: float = 0.0) -> None:
        """Work until stopped; raises CameraError where the camera stays away.

        `broker_wait_s` holds the first frame back until the broker is there, at most so long: for
        a source that is played once, whose decisions would be lost.
        """
        origin = self._origin
        root, boot = origin.topics.root, origin.boot
        log.info("smartbin %s, %s, %s, boot %s", __version__, origin.model, root, boot)
        self._link.start()
        why = "a fault of the program"
        try:
            self._await_broker(broker_wait_s)
            self._watch.start()
            if self._keeper:
                self._keeper.start(self._classifier)
            if self._pictures:
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
            self._end(why)

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
            self._herald.progress()
        if frame is not None:
            if self._belt and not self._seen_frame:
                self._check_stamps()
            self._seen_frame = True
            item = None if self._paused else self._trigger.see(frame)
            if item is not None:
                self._handle(item)
        while not self._paused and (item := self._trigger.due(time.monotonic())):
            self._handle(item)
        excess = self._guard.excess()
        if excess:
            self._watch.restart(excess)
        self._desk.serve(self._obey, publish=self._link.publish)
        if self._reload_asked:
            self._reload_asked = False
            answer = self._reload_config()
            log.log(logging.INFO if answer["ok"] else logging.WARNING, "%s", answer["detail"])
        if self._movements:
            self._movements.serve()
        if self._keeper:
            self._follow_model(self._keeper)
        self._postman.pump(self._link)
        self._herald.tell(*self._present_state(), works=self._seen_frame)
        self._tell_health()

    def _check_stamps(self) -> None:
        """Without the sensor's time, only belt.exposure_ms keeps frames of before apart."""
        if not self._capture.stamped and not self._config.belt.exposure_ms:
            log.warning(
                "belt: this camera does not say when a frame was exposed; set belt.exposure_ms to "
                "the delay of its pictures, or items may be judged by frames from before them"
            )

    def _await_broker(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._link.connected and time.monotonic() < until_s:
            if self._stopping():
                return
            time.sleep(0.01)

    def _handle(self, item: Item) -> None:
        verdict = self._judge.judge(item, fault=self._watch.trouble)
        if self._movements:
            verdict = self._movements.reroute(verdict)
        self._figures.count(verdict.decision, verdict.latency_ms)
        obey = self._movements.obey if self._movements else _nothing_moves
        told = self._reporter.report(item, verdict, obey=obey)
        if self._movements:
            self._movements.decided(told, verdict)
        if self._keeper:
            self._keeper.see(verdict)
        if self._pictures and verdict.crops:
            self._pictures.see(item.frames[-1].pixels, verdict.decision, told.payload)

    def _end(self, why: str) -> None:
        """The mirror of the start; each part has a deadline, all together under five seconds."""
        self._herald.stopping()
        if self._trigger.open_items:
            why += f"; {self._trigger.open_items} still looked at and not decided"
        self._capture.close()
        if self._belt:
            self._belt.close()
        self._segmenter.close()
        if self._keeper:
            self._keeper.close()
        if self._pictures:
            self._pictures.close()
        if self._movements:
            self._movements.end()
        self._reporter.report_state("stopped", why)
        self._flush()
        self._link.stop(self._herald.state_message("stopped", why), timeout_s=FAREWELL_S)
        self._outbox.close()
        if self._lock:
            self._lock.close()

    def _flush(self) -> None:
        """Let the last events leave, in bounds; the rest waits on the disk."""
        depth, until_s = self._outbox.depth, time.monotonic() + FLUSH_S
        stalled_s = time.monotonic() + STALL_S
        while depth and self._link.connected and time.monotonic() < min(until_s, stalled_s):
            self._postman.pump(self._link)
            time.sleep(0.005)
            if self._outbox.depth < depth:
                depth, stalled_s = self._outbox.depth, time.monotonic() + STALL_S

    def _present_state(self) -> tuple[State, str]:
        if self._watch.trouble:
            return "degraded", f"camera: {self._watch.trouble}"
        if not self._seen_frame:
            return "init", WAITING
        if self._outbox.trouble:
            return "degraded", self._outbox.trouble
        if self._trigger.trouble:
            return "degraded", self._trigger.trouble
        if self._movements and self._movements.trouble:
            return "degraded", self._movements.trouble
        return "ready", "paused by a command" if self._paused else "deciding"

    def _tell_health(self) -> None:
        now_s = time.monotonic()
        if now_s < self._health_due_s or not self._link.connected:
            return
        self._health_due_s = now_s + self._config.health.interval_s
        figures = {
            **host_figures(uptime_s=now_s - self._started_s),
            **self._figures.summary(),
            "outbox": {
                "depth": self._outbox.depth,
                "bytes": self._outbox.bytes,
                "in_memory": self._outbox.in_memory,
                "overflowed": self._outbox.overflowed,
                "expired": self._outbox.expired,
                "refused": self._postman.refused,
            },
            "drops": {"frames": self._capture.dropped, "decisions": self._reporter.undelivered},
            "camera_restarts": self._watch.restarts,
            "seq": self._reporter.seq,
        }
        if self._movements:
            figures["movements"] = self._movements.counts
        self._link.publish(health_message(self._origin, figures, ts=time.time()))

    def _birth(self) -> Message:
        return birth_message(
            self._origin,
            labels=self._classifier.labels,
            routes=self._config.routes.by_class,
            safe=self._config.routes.safe,
            capabilities=COMMANDS
            + (MOVING_COMMANDS if self._movements else ())
            + (MODEL_COMMANDS if self._keeper else ()),
            ts=time.time(),
        )

    def _births(self) -> list[Message]:
        """What is said at every connection, and when Home Assistant starts anew."""
        births = [self._birth()]
        if self._config.homeassistant.enabled:
            prefix, labels = self._config.homeassistant.prefix, self._classifier.labels
            births.append(discovery_message(self._origin, prefix=prefix, labels=labels))
        return births

    def _build_link(self) -> Link:
        why = "the connection broke without a farewell"
        lost = state_message(self._origin, "lost", reason=why, ts=time.time())
        return Link(
            broker=broker_of(self._config),
            client_id=f"smartbin/{self._config.site.site}/{self._config.site.bin}",
            will=lost,
            subscriptions=self._subscriptions(),
            on_connect=lambda: self._herald.greet(),
            on_message=self._take,
            on_ack=self._acknowledged,
        )

    def _acknowledged(self, connection: int, mid: int, accepted: bool) -> None:
        """Called in the network thread: only hands over; each knows its own messages."""
        self._postman.acknowledge(connection, mid, accepted)
        if self._pictures:
            self._pictures.acknowledge(mid, accepted)

    def _subscriptions(self) -> tuple[str, ...]:
        topics = self._origin.topics
        acks = (topics.of("ack"),) if self._config.actuator.mode == "broker" else ()
        wishes = (self._keeper.topic,) if self._keeper else ()
        home = self._config.homeassistant
        status = (status_topic(home.prefix),) if home.enabled else ()
        return (topics.commands, *acks, *wishes, *status)

    def _take(self, incoming: Incoming) -> None:
        """Called in the network thread: only hands over."""
        if self._keeper and incoming.topic == self._keeper.topic:
            self._keeper.hear(incoming)
        elif incoming.topic == status_topic(self._config.homeassistant.prefix):
            if incoming.payload == ONLINE:
                self._herald.greet()
        elif incoming.topic != self._origin.topics.of("ack"):
            self._desk.take(incoming)
        elif self._movements:
            self._movements.take(incoming)

    def _obey(self, command: Command) -> dict[str, Any]:
        match command.verb:
            case "ping":
                return {"ok": True, "detail": "pong"}
            case "trigger":
                return self._fire(command.received_s)
            case "pause" | "resume":
                self._paused = command.verb == "pause"
                self._trigger.reset()
                return {"ok": True, "detail": f"{command.verb}d"}
            case "reload":
                return self._reload_config()
            case "resend":
                return self._ring.obey(command.body, send=self._outbox.add)
            case "clear" | "move":
                if self._movements:
                    return self._movements.order(command)
                return {"ok": False, "detail": "no actuator is set up; see actuator.mode"}
            case "pictures":
                return self._delete_pictures(command.body.get("delete"))
            case "model" if self._keeper:
                return self._keeper.command(command.body)
            case _:
                return {"ok": False, "detail": "no updates are set up; see update.url"}

    def _delete_pictures(self, name: object) -> dict[str, Any]:
        if self._pictures is None:
            return {"ok": False, "detail": "no pictures are kept here; see pictures.keep"}
        if not isinstance(name, str) or name_fault(name):
            return {"ok": False, "detail": 'send {"delete": ID} or {"delete": "all"}'}
        return self._pictures.delete(name)

    def _follow_model(self, keeper: ModelKeeper) -> None:
        """Record what the updates tell, and take over a model between two items."""
        if self._seen_frame:
            keeper.ready()
        swap = keeper.swap()
        if swap is not None:
            self._bundle, self._classifier = swap.bundle, swap.classifier
            self._origin = dataclasses.replace(self._origin, model=swap.bundle.model_id)
            self._reporter.origin = self._herald.origin = self._origin
            self._adopt(self._config)
            self._herald.greet()
        for note in keeper.notes():
            self._reporter.report_record("model", note_body(note))

    def _fire(self, received_s: float) -> dict[str, Any]:
        if self._paused:
            return {"ok": False, "detail": "paused; resume first"}
        if self._trigger.fire(received_s):
            return {"ok": True, "detail": "the next frames will be judged"}
        return {"ok": False, "detail": "too many items wait for frames; is the camera well?"}

    def _adopt(self, config: Config) -> None:
        """Build what a reload may change: trigger, rules, routes, deadline."""
        check_routes(config, self._classifier.labels)
        deadline_s = config.decision.deadline_ms / 1000
        if not self._adopted or _trigger_changed(config, self._config):
            self._trigger: Trigger = trigger_of(
                config, self._tray, self._belt
            )  # learns the tray anew
        self._adopted = True
        self._tray.min_area_frac = config.trigger.min_area_frac
        self._judge = Judge(
            segmenter=self._segmenter,
            classifier=self._classifier,
            rules=rules_of(self._bundle, config),
            routes=routes_of(config),
            deadline_s=deadline_s,
            tray=self._tray,
            timetable=self._belt.timetable if self._belt else None,
        )
        self._reporter.deadline_s = deadline_s
        if self._movements:
            self._movements.safe = config.routes.safe
        if self._pictures:
            self._pictures.rules = picture_rules(config)
        self._config = config

    def _reload_config(self) -> dict[str, Any]:
        """Take over what can be changed in flight; a faulty file changes nothing."""
        try:
            config = load_config(Path(self._config.file))
            fixed = [
                name
                for name in SECTIONS
                if name not in RELOADABLE and getattr(config, name) != getattr(self._config, name)
            ]
            running = {name: getattr(self._config, name) for name in fixed}
            self._adopt(dataclasses.replace(config, **running))
            self._herald.greet()  # the routes in the retained birth may be others now
        except ConfigError as error:
            return {"ok": False, "detail": f"the old configuration is kept: {error}"}
        rest = f"; a restart is needed for {', '.join(fixed)}" if fixed else ""
        return {"ok": True, "detail": f"configuration read again{rest}"}


def _nothing_moves(_decision: Decision, _message: Message) -> None:
    """No device is on this board."""


def _trigger_changed(new: Config, old: Config) -> bool:
    return (new.trigger, new.decision.votes) != (old.trigger, old.decision.votes)
