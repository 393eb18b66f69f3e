"""One simulated bin: numbers its events, keeps them until the broker has them, obeys commands.

The rules are the daemon's: an outbox that outlives a restart, ten events in flight, a paced replay,
decisions that perish, a ring of delivered events for cmd/resend. The outbox is in memory here.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge import __version__
from edge.commands import Command, Gate, answer_to, read_command
from edge.resend import Ring
from edge.simulate.characters import LABELS, ROUTES, SAFE, Character, Feeling, draw, health
from edge.simulate.connection import Connection
from edge.values import Incoming, Message
from edge.wire import (
    Origin,
    Stamp,
    State,
    Topics,
    birth_message,
    decision_message,
    decision_payload,
    event_message,
    health_message,
    state_event_message,
    state_message,
)

IN_FLIGHT = 10  # events, as in the daemon
EXPIRES_MS = 2000
CAPABILITIES = ("ping", "resend")


@dataclass(slots=True)
class Tally:
    """What all bins of a process did together."""

    made: int = 0  # events, each with a number of its own
    delivered: int = 0  # of those, acknowledged by the broker
    again: int = 0  # sent again after a break
    resent: int = 0  # sent again because a monitor asked
    decisions: int = 0
    perished: int = 0  # decisions that nobody could be told in time
    healths: int = 0
    connections: int = 0
    breaks: int = 0  # connections that ended against our will
    boots: int = 0
    commands: int = 0
    refused: int = 0  # events that the broker would not have
    trouble: str = ""  # the last one


@dataclass(slots=True)
class Start:
    """One start of a bin, for the account afterwards: its numbers 1..last all exist."""

    boot: str
    last: int = 0
    waited: list[list[int]] = field(default_factory=list)  # [from, to] that were not sent at once

    def wait(self, seq: int) -> None:
        """Note that an event did not go out when it was made."""
        if self.waited and self.waited[-1][1] == seq - 1:
            self.waited[-1][1] = seq
        elif not any(low <= seq <= high for low, high in self.waited):
            self.waited.append([seq, seq])


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the outbox."""

    seq: int  # 0: a monitor asked for it again
    start: Start
    message: Message


class SimulatedBin:
    """Used in the event loop alone; `connection` is set by whoever connects it."""

    def __init__(
        self,
        topics: Topics,
        *,
        model: str,
        character: Character,
        tally: Tally,
        seed: int,
        replay_per_s: float,
        ring_bytes: int,
        tell_decisions: bool,
        on_gone: Callable[[SimulatedBin, str], None],
    ) -> None:
        self.topics = topics
        self.character = character
        self._model = model
        self._tally = tally
        self._random = random.Random(seed)
        self._replay_per_s = replay_per_s
        self._ring_bytes = ring_bytes
        self._tell_decisions = tell_decisions
        self._on_gone = on_gone
        self._queue: deque[Entry] = deque()
        self._in_flight: dict[int, Entry | None] = {}  # None: not an event
        self._flying = 0  # events among them
        self._decided = 0  # over all starts
        self.connection: Connection | None = None
        self.starts: list[Start] = []
        self.boot()

    # Starts

    def boot(self) -> None:
        """A new start of the daemon: another id, numbers from 1; the outbox is kept."""
        self.origin = Origin(
            self.topics, f"{self._random.getrandbits(48):012x}", self._model, __version__
        )
        self.starts.append(Start(self.origin.boot))
        self._tally.boots += 1
        self._ring = Ring(max_bytes=self._ring_bytes)
        self._gate: Gate | None = None
        self._since_s = time.monotonic()
        self._tokens, self._filled_s = float(IN_FLIGHT), self._since_s
        self._outcomes: dict[str, int] = {}
        self._judged, self._confidence = 0, 0.0
        state, reason = self.character.state, self.character.reason
        number = self._next_number()
        self._add(
            state_event_message(
                self.origin, state, seq=number, reason=reason, ts=time.time(), clock_synced=True
            )
        )

    @property
    def will(self) -> Message:
        """What the broker is to say of us when we are gone."""
        why = "the connection broke without a farewell"
        return state_message(self.origin, "lost", reason=why, ts=time.time())

    @property
    def online(self) -> bool:
        """Whether the broker has let us in."""
        return self.connection is not None and self.connection.open

    @property
    def waiting(self) -> int:
        """Events that the broker does not have."""
        return len(self._queue) + self._flying

    # What it says

    def decide(self) -> None:
        """An item was thrown in: the event to the outbox, the decision to the network."""
        self._decided += 1
        decision, latency_ms = draw(self.character, self._random, n=self._decided)
        now_ts = time.time()
        stamp = Stamp(
            seq=self._next_number(),
            cause="presence",
            trigger_ts=now_ts - 0.4,
            frame_ts=now_ts - latency_ms / 1000,
            decided_ts=now_ts,
            latency_ms=latency_ms,
            expires_ms=EXPIRES_MS,
            segmenter="none",
            clock_synced=True,
        )
        payload = decision_payload(self.origin, decision, stamp)
        self._outcomes[decision.outcome] = self._outcomes.get(decision.outcome, 0) + 1
        if decision.top:
            self._judged += 1
            weight = 1 / min(self._judged, 500)
            self._confidence += weight * (decision.confidence - self._confidence)
        self._add(event_message(self.topics, payload))
        if self._tell_decisions:
            self._tell(decision_message(self.topics, payload, left_s=EXPIRES_MS / 1000))

    def feel(self) -> None:
        """Tell the health, where somebody listens."""
        if not self.online:
            return
        feeling = Feeling(
            uptime_s=time.monotonic() - self._since_s,
            outcomes=self._outcomes,
            confidence_mean=self._confidence if self._judged else None,
            judged=self._judged,
            waiting=self.waiting,
            waiting_bytes=sum(len(entry.message.payload) for entry in self._queue),
            seq=self.starts[-1].last,
        )
        figures = health(self.character, feeling, self._random)
        self._say(health_message(self.origin, figures, ts=time.time()))
        self._tally.healths += 1

    def leave(self) -> None:
        """Stop as the daemon does: say so, and take leave."""
        if self.connection and self.online:
            self._say(self._state("stopped", "stopped"))
            self.connection.close()

    def _state(self, state: State, reason: str) -> Message:
        return state_message(self.origin, state, reason=reason, ts=time.time())

    def _next_number(self) -> int:
        self._tally.made += 1
        self.starts[-1].last += 1
        return self.starts[-1].last

    def _add(self, message: Message) -> None:
        start = self.starts[-1]
        entry = Entry(start.last, start, message)
        self._queue.append(entry)
        self.pump()
        if self._queue and self._queue[-1] is entry:
            start.wait(entry.seq)

    def _tell(self, decision: Message) -> None:
        """To the actuator now or never."""
        connection = self.connection
        if connection and self.online and len(self._in_flight) < connection.receive_maximum:
            self._in_flight[connection.publish(decision)] = None
            self._tally.decisions += 1
        else:
            self._tally.perished += 1

    def _say(self, message: Message) -> None:
        if self.connection and self.online:
            number = self.connection.publish(message)
            if number:
                self._in_flight[number] = None

    def pump(self) -> None:
        """Send what waits, as far as pace, window and broker allow."""
        connection = self.connection
        if connection is None or not connection.open or not self._queue:
            return
        now_s = time.monotonic()
        self._tokens += (now_s - self._filled_s) * self._replay_per_s
        self._tokens = min(self._tokens, float(IN_FLIGHT))
        self._filled_s = now_s
        while self._queue and self._tokens >= 1 and self._flying < IN_FLIGHT:
            if len(self._in_flight) >= connection.receive_maximum:
                return
            entry = self._queue.popleft()
            self._in_flight[connection.publish(entry.message)] = entry
            self._flying += 1
            self._tokens -= 1

    # What a connection tells

    def accepted(self, connection: Connection) -> None:
        """Say who we are and how, then what waited."""
        self._tally.connections += 1
        self._say(
            birth_message(
                self.origin,
                labels=LABELS,
                routes=ROUTES,
                safe=SAFE,
                capabilities=CAPABILITIES,
                ts=time.time(),
            )
        )
        self._say(self._state(self.character.state, self.character.reason))
        if len(self._queue) > IN_FLIGHT:  # a fleet that lost its broker must not storm it
            self._tokens = -self._random.uniform(0, 1) * self._replay_per_s
        self.pump()

    def acknowledged(self, packet_id: int, accepted: bool) -> None:
        """The broker has an event, or does not want it."""
        entry = self._in_flight.pop(packet_id, None)
        if entry is not None:
            self._flying -= 1
            if accepted:
                self._tally.delivered += entry.seq > 0
                self._ring.keep(entry.message)
            else:
                self._tally.refused += 1
                self._tally.trouble = "the broker refuses an event; check its ACL"
                self._queue.append(entry)
        self.pump()

    def heard(self, incoming: Incoming) -> None:
        """Obey a command, once, and answer where the sender named a topic."""
        self._tally.commands += 1
        command = read_command(incoming)
        if isinstance(command, Command):
            self._gate = self._gate or Gate()
            command = self._gate.admit(command, now_ts=time.time())
        if isinstance(command, Command):
            answer = self._obey(command)
        else:
            answer = {"ok": False, "detail": command.sentence}
        message = answer_to(incoming, {"verb": command.verb, **answer})
        if message:
            self._say(message)

    def _obey(self, command: Command) -> dict[str, object]:
        if command.verb == "ping":
            return {"ok": True, "detail": "pong"}
        if command.verb == "resend":
            return self._ring.obey(command.body, send=self._resend)
        return {"ok": False, "detail": "a simulated bin knows ping and resend alone"}

    def _resend(self, message: Message) -> None:
        """Into the outbox, as the daemon does: it is paced like everything else."""
        self._tally.resent += 1
        self._queue.append(Entry(0, Start(""), message))

    def gone(self, connection: Connection, why: str) -> None:
        """What the broker did not acknowledge goes before what was not sent."""
        if connection is not self.connection:
            return
        self.connection = None
        unsure = [entry for entry in self._in_flight.values() if entry]
        for entry in unsure:
            entry.start.wait(entry.seq)
        self._tally.again += len(unsure)
        self._queue.extendleft(reversed(unsure))
        self._in_flight.clear()
        self._flying = 0
        if why:
            self._tally.breaks += 1
            self._tally.trouble = why
        self._on_gone(self, why)
