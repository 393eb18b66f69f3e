"""Sorts what was heard into rows: in memory, before the database is asked for anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge.fleet.identities import Identities, Key
from edge.fleet.intake import (
    MAX_PAYLOAD,
    MAX_PICTURE,
    Address,
    Disbelief,
    Limits,
    ResendAnswer,
    read_ack,
    read_answer,
    read_birth,
    read_event,
    read_health,
    read_payload,
    read_picture,
    read_state,
    read_topic,
)


class Heard(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    connection: int  # a mid is unique within one
    live: bool  # neither retained nor repeated
    received_ts: float
    correlation: bytes | None = None


@dataclass(slots=True)
class Reject:
    """Messages that were not believed for one reason, of one bin."""

    n: int = 0
    last_ts: float = 0.0
    sample: str = ""


@dataclass(slots=True)
class Batch:
    """Rows without bin_id, each with the key of its bin."""

    events: list[tuple[Key, dict[str, Any]]] = field(default_factory=list)
    states: list[tuple[Key, dict[str, Any]]] = field(default_factory=list)
    births: dict[Key, dict[str, Any]] = field(default_factory=dict)
    healths: dict[Key, dict[str, Any]] = field(default_factory=dict)
    acks: dict[Key, dict[str, Any]] = field(default_factory=dict)
    answers: list[tuple[Key, ResendAnswer]] = field(default_factory=list)
    pictures: list[tuple[Key, dict[str, Any]]] = field(default_factory=list)
    twins: dict[Key, dict[str, Any]] = field(default_factory=dict)
    clocks: dict[Key, float] = field(default_factory=dict)
    rejects: dict[tuple[str, str], Reject] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    def bins(self) -> set[Key]:
        """Every bin that something is known of."""
        pairs = (*self.events, *self.states, *self.answers, *self.pictures)
        named = {key for key, _ in pairs}
        return named.union(self.births, self.healths, self.acks, self.twins, self.clocks)

    def apart(self) -> Iterator[tuple[str, Batch]]:
        """What each row is, and the row in a batch of its own, in the order of writing."""
        for name in _IN_ORDER:
            rows = getattr(self, name)
            in_list = isinstance(rows, list)
            for pair, row in rows if in_list else rows.items():
                alone: Any = [(pair, row)] if in_list else {pair: row}
                told = f"{'/'.join(filter(None, pair))} ({name})"
                yield told, Batch(**{name: alone})

    def reject(self, reason: str, name: str, *, ts: float, sample: str, n: int = 1) -> None:
        """Count messages that were not believed."""
        entry = self.rejects.setdefault((reason, name), Reject())
        entry.n += n
        entry.last_ts = ts
        entry.sample = _printable(sample)

    def drop(self, key: Key) -> int:
        """Forget what came of a bin that may not be stored; returns how much it was."""
        before = len(self.events) + len(self.states)
        self.events = [pair for pair in self.events if pair[0] != key]
        self.states = [pair for pair in self.states if pair[0] != key]
        self.answers = [pair for pair in self.answers if pair[0] != key]
        self.pictures = [pair for pair in self.pictures if pair[0] != key]
        rest = (self.births, self.healths, self.acks, self.twins, self.clocks)
        gone = sum(table.pop(key, None) is not None for table in rest)
        return before - len(self.events) - len(self.states) + gone


# The parts of a batch as they are written.
_IN_ORDER = (
    *("births", "events", "states", "healths", "acks", "twins", "clocks"),
    *("pictures", "answers", "rejects"),
)


class Sorter:
    """Reads messages and remembers who was born when; used by the writer's thread alone."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self.identities = Identities()

    def sort(self, messages: Iterable[Heard]) -> Batch:
        """Rows of what is believed, counts of what is not; raises nothing."""
        batch = Batch()
        for heard in messages:
            name = ""
            try:
                address = read_topic(heard.topic)
                name = f"{address.site}/{address.bin}"
                batch.kinds[address.kind] += 1
                self._take(heard, address, batch)
            except Disbelief as error:
                ts, sample = heard.received_ts, f"{heard.topic}: {error}"
                batch.reject(error.reason, name, ts=ts, sample=sample)
        return batch

    def _take(self, heard: Heard, address: Address, batch: Batch) -> None:
        kind, ts = address.kind, heard.received_ts
        key = (address.site, address.bin)
        if not heard.payload and kind in ("state", "birth"):
            return  # somebody cleared what was retained
        is_picture = kind == "picture"
        body = read_payload(heard.payload, limit=MAX_PICTURE if is_picture else MAX_PAYLOAD)
        if kind == "event":
            row = read_event(body, address, received_ts=ts, limits=self._limits)
            self._take_event(key, row, batch)
        elif is_picture:
            row = read_picture(body, address, received_ts=ts, limits=self._limits)
            batch.pictures.append((key, row))
        elif kind == "birth":
            self._take_birth(key, read_birth(body, address, received_ts=ts), heard, batch)
        elif kind == "answer/fleet":
            answer = read_answer(body, heard.correlation)
            if answer:
                batch.answers.append((key, answer))
        elif self.identities.disputed(key, now_ts=ts):
            raise Disbelief("twin", f"{kind} left out while two devices use the name")
        elif kind == "state":
            batch.states.append((key, read_state(body, received_ts=ts, limits=self._limits)))
        elif kind == "health":
            batch.healths[key] = read_health(body, received_ts=ts)
        else:
            batch.acks[key] = read_ack(body, received_ts=ts)

    def _take_event(self, key: Key, row: dict[str, Any], batch: Batch) -> None:
        ts, name = row["received_ts"], "/".join(key)
        if row["flag"] == "clock":
            batch.clocks[key] = ts
            batch.reject("clock", name, ts=ts, sample=f"event {row['boot']}-{row['seq']}")
        if self.identities.disputed(key, now_ts=ts):
            row["flag"] = "twin"  # kept, so that nothing is lost, and counted nowhere
            batch.reject("twin", name, ts=ts, sample=f"event {row['boot']}-{row['seq']}")
        if row["kind"] == "movement" and row["flag"] == "":
            batch.acks[key] = {"ack_result": row["outcome"], "ack_ts": row["ts"]}
        batch.events.append((key, row))

    def _take_birth(self, key: Key, row: dict[str, Any], heard: Heard, batch: Batch) -> None:
        boot, ts = row["birth_boot"], heard.received_ts
        if self.identities.born(key, boot, now_ts=ts, live=heard.live):
            detail = f"start {boot} speaks again after a later one"
            batch.twins[key] = {"twin_ts": ts, "twin_detail": detail}
            batch.reject("twin", "/".join(key), ts=ts, sample=detail)
        batch.births[key] = {**row, "live": heard.live}


def _printable(sample: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in sample[:200])
