"""Tells how the bin is: state and birth to the broker, state to the record and to systemd."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from edge.mqtt import Link
from edge.notify import Notifier
from edge.reporter import Reporter
from edge.values import Message
from edge.wire import Origin, State, state_message

log = logging.getLogger(__name__)

WAITING = "waiting for the first frame"


class Herald:
    """Used by the loop alone, but for `greet`."""

    def __init__(
        self,
        *,
        origin: Origin,
        link: Link,
        reporter: Reporter,
        births: Callable[[], Sequence[Message]],
    ) -> None:
        self.origin = origin
        self._link = link
        self._reporter = reporter
        self._births = births
        self._notifier = Notifier()
        self._state: tuple[State, str] = ("init", WAITING)
        self._told_ready = False
        self._greet_wanted = False

    def greet(self) -> None:
        """Ask for birth and state to be published; called in the network thread, which connects.

        A plain attribute: the loop tells both, so that an older state never overtakes a newer.
        """
        self._greet_wanted = True

    def tell(self, state: State, reason: str, *, works: bool) -> None:
        """Say the present state where it is new; `works` once a first frame has been there."""
        if self._greet_wanted and self._link.connected:
            self._greet_wanted = False
            for message in self._births():
                self._link.publish(message)
            self._link.publish(self.state_message(*self._state))
        if works and not self._told_ready:  # degraded or not: systemd must not end what works
            self._told_ready = True
            self._notifier.ready(f"{state}: {reason}")
        if (state, reason) == self._state:
            return
        self._state = (state, reason)
        log.info("state: %s (%s)", state, reason)
        self._reporter.report_state(state, reason)
        self._link.publish(self.state_message(state, reason))
        self._notifier.status(f"{state}: {reason}")

    def progress(self) -> None:
        """Work went forward: feed systemd's watchdog."""
        self._notifier.progress()

    def stopping(self) -> None:
        """The end has begun."""
        self._notifier.stopping()

    def state_message(self, state: State, reason: str) -> Message:
        """A state as it is retained at the broker."""
        return state_message(self.origin, state, reason=reason, ts=time.time())
