"""Where commands wait between the network thread, which brings them, and the loop, which obeys."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from typing import Any

from edge.commands import Command, Gate, answer_to, read_command
from edge.values import Incoming, Message

log = logging.getLogger(__name__)

MAX_COMMANDS = 100  # a flood of commands is cut here, not in memory


class CommandDesk:
    """`take` may be called from any thread; `serve` belongs to the loop."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Incoming] = queue.Queue(MAX_COMMANDS)
        self._gate = Gate()
        self._dropped = 0  # since the desk was last empty; a count may miss one between threads

    def take(self, incoming: Incoming) -> None:
        """Keep a command for the loop, or drop it where too many wait."""
        try:
            self._waiting.put_nowait(incoming)
        except queue.Full:
            if not self._dropped:
                log.warning("command on %s dropped: %d wait already", incoming.topic, MAX_COMMANDS)
            self._dropped += 1

    def serve(
        self,
        obey: Callable[[Command], dict[str, Any]],
        *,
        publish: Callable[[Message], int | None],
    ) -> None:
        """Have what waits obeyed, or refused, and answered where the sender named a topic."""
        for _ in range(MAX_COMMANDS):  # then a frame: commands may come faster than they are obeyed
            try:
                incoming = self._waiting.get_nowait()
            except queue.Empty:
                if self._dropped:
                    log.warning("%d commands were dropped", self._dropped)
                self._dropped = 0
                return
            command = read_command(incoming)
            if isinstance(command, Command):
                command = self._gate.admit(command, now_ts=time.time())
            if isinstance(command, Command):
                answer = obey(command)
            else:
                answer = {"ok": False, "detail": command.sentence}
            log.info("command %s: %s", command.verb, answer["detail"])
            message = answer_to(incoming, {"verb": command.verb, **answer})
            if message:
                publish(message)
