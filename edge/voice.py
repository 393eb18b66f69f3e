"""What the bin says and hears: connection, outbox, commands and announcements, from first to last.

The daemon's loop uses all of it; the network thread calls the switchboard, which only hands over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge.brokers import Broker
from edge.closing import close_all
from edge.desk import CommandDesk
from edge.herald import Herald
from edge.movements import Movements
from edge.mqtt import Link
from edge.outbox import Outbox
from edge.postman import Postman
from edge.reporter import Reporter
from edge.resend import Ring
from edge.switchboard import Switchboard
from edge.uncertain.collector import PictureCollector
from edge.update.keeper import ModelKeeper
from edge.values import Message
from edge.wire import Origin, state_message

FLUSH_S = 1.5  # at the end, for the last events to leave
STALL_S = 0.5  # of these, without an acknowledgement: the broker is half-open
FAREWELL_S = 0.8  # with a hung camera closed twice, 3 s, all stay under the five that are promised


class Voice:
    """Its parts are for the daemon to use; here they are put together, begun and ended."""

    def __init__(
        self,
        *,
        origin: Origin,
        broker: Broker,
        outbox: Outbox,
        replay_per_s: float,
        deadline_s: float,
        keeper: ModelKeeper | None,
        hears_acks: bool,
        home_prefix: str,
        births: Callable[[], Sequence[Message]],
    ) -> None:
        self.desk = CommandDesk()
        self.outbox = outbox
        self.ring = Ring()
        self.postman = Postman(outbox, per_s=replay_per_s, on_delivered=self.ring.keep)
        self._switchboard = Switchboard(
            topics=origin.topics,
            desk=self.desk,
            postman=self.postman,
            keeper=keeper,
            hears_acks=hears_acks,
            home_prefix=home_prefix,
        )
        self.link = self._new_link(broker, origin)
        self.reporter = Reporter(
            origin=origin,
            link=self.link,
            outbox=outbox,
            postman=self.postman,
            deadline_s=deadline_s,
        )
        self.herald = Herald(origin=origin, link=self.link, reporter=self.reporter, births=births)
        self._switchboard.herald = self.herald

    def attach(self, movements: Movements | None, pictures: PictureCollector) -> None:
        """Have these hear what is for them; they need the link to be built."""
        self._switchboard.movements = movements
        self._switchboard.pictures = pictures

    def follow(self, origin: Origin, *, deadline_s: float) -> None:
        """Another model or configuration is in force: speak by it, and greet the broker anew."""
        self.reporter.origin = self.herald.origin = origin
        self.reporter.deadline_s = deadline_s
        self.herald.greet()  # the retained birth names model and routes

    def start(self, *, wait_s: float, stopping: Callable[[], bool]) -> None:
        """Begin to connect, and wait for the broker at most so long."""
        self.link.start()
        until_s = time.monotonic() + wait_s
        while not self.link.connected and time.monotonic() < until_s and not stopping():
            time.sleep(0.01)

    def end(self, why: str) -> None:
        """Record the end, let the last events leave, take leave of the broker; in bounds."""
        farewell = self.herald.state_message("stopped", why)
        fault = close_all(
            (
                lambda: self.reporter.report_state("stopped", why),
                self._flush,
                lambda: self.link.stop(farewell, timeout_s=FAREWELL_S),
                self.outbox.close,
            )
        )
        if fault:
            raise fault

    def _flush(self) -> None:
        """Let the last events leave, in bounds; the rest waits on the disk."""
        depth, until_s = self.outbox.depth, time.monotonic() + FLUSH_S
        stalled_s = time.monotonic() + STALL_S
        while depth and self.link.connected and time.monotonic() < min(until_s, stalled_s):
            self.postman.pump(self.link)
            time.sleep(0.005)
            if self.outbox.depth < depth:
                depth, stalled_s = self.outbox.depth, time.monotonic() + STALL_S

    def _new_link(self, broker: Broker, origin: Origin) -> Link:
        why = "the connection broke without a farewell"
        return Link(
            broker=broker,
            client_id=f"smartbin/{origin.topics.site}/{origin.topics.bin}",
            will=state_message(origin, "lost", reason=why, ts=time.time()),
            subscriptions=self._switchboard.subscriptions,
            on_connect=self._switchboard.connected,
            on_message=self._switchboard.take,
            on_ack=self._switchboard.acknowledged,
        )
