"""One batch, one transaction: rows in, figures out. Idempotent: a batch may be written again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.batch import Batch
from edge.fleet.bulk import Rows
from edge.fleet.database import Database
from edge.fleet.identities import Identities, Key
from edge.fleet.statements import LAST, Statements

OPEN_HOUR_S = 3660.0  # an hour's counts are made a minute after its end at the earliest
PutPicture = Callable[[sa.Connection, int, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch came to."""

    new: tuple[dict[str, Any], ...] = ()  # events that were not there before
    duplicates: int = 0
    refused: int = 0  # bins over the limit

    def __add__(self, other: Written) -> Written:
        """Of two batches together."""
        refused = self.refused + other.refused
        return Written(self.new + other.new, self.duplicates + other.duplicates, refused)


class Writer:
    """Knows the numbers of bins, and writes; used from one thread."""

    def __init__(
        self,
        database: Database,
        *,
        identities: Identities,
        max_bins: int,
        health_every_s: float,
        put_picture: PutPicture | None = None,
    ) -> None:
        self._database = database
        self._identities = identities
        self._max_bins = max_bins
        self._health_every_s = health_every_s
        self._ids: dict[Key, int] = {}
        self._marked: set[tuple[int, int]] = set()  # (hour, bin_id) known to be dirty, open hours
        self._marked_until_ts = 0.0
        self._kept_health: dict[int, float] = {}
        self._put_picture = put_picture
        self._sql = Statements(database)

    def write(self, batch: Batch, *, now_ts: float | None = None) -> Written:
        """Store a batch; raises SQLAlchemyError, and then nothing of it is stored."""
        now_ts = time.time() if now_ts is None else now_ts
        marked: set[tuple[int, int]] = set()
        # A bin's number must not be taken back by a crash: what is written under it would be
        # nobody's. So whoever numbers bins waits for the disk.
        full = len(self._ids) >= self._max_bins  # nobody is numbered then
        names_bins = not full and not batch.bins() <= self._ids.keys()
        with self._database.begin(flush=names_bins) as db:
            refused = self._resolve(db, batch, now_ts)
            self._hold_bins(db, batch)
            self._births(db, batch)
            new = self._events(db, batch, now_ts, marked)
            self._states(db, batch)
            kept = self._healths(db, batch)
            self._rest(db, batch)
        # Only now: a transaction that failed has marked and kept nothing.
        self._marked |= marked
        self._kept_health.update(kept)
        return Written(tuple(new), len(batch.events) - len(new), refused)

    def _resolve(self, db: sa.Connection, batch: Batch, now_ts: float) -> int:
        """Give every bin its number; new bins are made, up to the limit."""
        if not (unknown := batch.bins() - self._ids.keys()):
            return 0
        self._read_names(db)
        new = sorted(unknown - self._ids.keys())
        room = max(0, self._max_bins - len(self._ids))
        for key in new[room:]:
            sample = f"{'/'.join(key)} is one too many"
            batch.reject("too many", "", ts=now_ts, sample=sample, n=batch.drop(key))
        rows = [{"site": s, "name": n, "first_seen_ts": now_ts} for s, n in new[:room]]
        if self._sql.bins.run(db, rows) or rows:
            self._read_names(db)
        return len(new[room:])

    def _hold_bins(self, db: sa.Connection, batch: Batch) -> None:
        """Lock the rows of the batch's bins in one order, before any statement does in its own.

        Two monitors that write of the same bins would wait for each other; SQLite has one writer.
        """
        if not self._database.is_sqlite:
            mine = sorted(self._ids[key] for key in batch.bins())
            id_, ids = schema.bin_.c.id, sa.literal(mine, sa.ARRAY(sa.BigInteger))
            rows = sa.select(id_).where(id_ == sa.any_(ids)).order_by(id_)
            db.execute(rows.with_for_update(key_share=True))

    def _read_names(self, db: sa.Connection) -> None:
        table = schema.bin_
        for id_, site, name in db.execute(sa.select(table.c.id, table.c.site, table.c.name)):
            self._ids[site, name] = id_

    def forget(self) -> None:
        """After a transaction that failed, or that the server may have taken back: what was
        numbered, marked and kept in it may not be there."""
        self._ids.clear()
        self._marked.clear()
        self._kept_health.clear()

    def _events(
        self, db: sa.Connection, batch: Batch, now_ts: float, marked: set[tuple[int, int]]
    ) -> Rows:
        """Store them; returns those that were not there before."""
        if not batch.events:
            return []
        rows = [{"bin_id": self._ids[key], **row} for key, row in batch.events]
        rows = self._without_stored(db, rows) if self._database.hypertable else rows
        new = self._sql.events.run_new(db, rows, key=("bin_id", "boot", "seq"))
        self._sql.boots.run(db, self._boots(batch, now_ts))
        self._sql.last.run(db, _newest(rows, new))
        dirty = self._dirty(rows, now_ts)
        self._sql.dirty.run(db, [{"hour": hour, "bin_id": id_, "n": 1} for hour, id_ in dirty])
        marked.update(dirty)
        return new

    def _without_stored(self, db: sa.Connection, rows: Rows) -> Rows:
        """A hypertable tells an event by its hour too, which ours to give is another each time."""
        table, good = schema.event, []
        for row in rows:
            same = [table.c[name] == row[name] for name in ("bin_id", "boot", "seq")]
            if row["flag"] != "clock" or not db.execute(sa.select(1).where(*same)).scalar():
                good.append(row)
        return good

    def _boots(self, batch: Batch, now_ts: float) -> Rows:
        """Per start of a bin, the run of numbers that this batch brings, in a fixed order."""
        numbers: dict[tuple[Key, str], list[int]] = {}
        for key, row in batch.events:
            numbers.setdefault((key, row["boot"]), []).append(row["seq"])
        rows = []
        for (key, boot), seqs in numbers.items():
            seqs.sort()
            first = self._identities.first_number(key, boot, seqs[0])
            run_to = _end_of_run(seqs)
            rows.append(
                {
                    "bin_id": self._ids[key],
                    "boot": boot,
                    "complete": run_to if first == seqs[0] else first - 1,
                    "highest": seqs[-1],
                    "run_from": seqs[0],
                    "run_to": run_to,
                    "moved_ts": now_ts,
                }
            )
        return _in_order(rows)

    def _dirty(self, rows: Rows, now_ts: float) -> list[tuple[int, int]]:
        """Hours of bins to be counted anew. A mark of a closed hour is always renewed, because
        the counting may be under way; of an open one, once is enough."""
        if now_ts >= self._marked_until_ts:
            self._marked.clear()
            self._marked_until_ts = now_ts + 600
        pairs = {(row["hour"], row["bin_id"]) for row in rows if row["flag"] != "twin"}
        return sorted(
            pair
            for pair in pairs
            if pair not in self._marked or now_ts > pair[0] * 3600 + OPEN_HOUR_S - 30
        )

    def _births(self, db: sa.Connection, batch: Batch) -> None:
        rows = [
            {**row, "id": self._ids[key], "retired": 0 if row["live"] else 1}
            for key, row in batch.births.items()
        ]
        self._sql.births.run(db, _by_id(rows))

    def _states(self, db: sa.Connection, batch: Batch) -> None:
        """Each round takes one state of each bin, so that none is passed over in the log."""
        rounds: list[dict[int, dict[str, Any]]] = []
        for key, row in batch.states:
            id_ = self._ids[key]
            at = next((n for n, taken in enumerate(rounds) if id_ not in taken), len(rounds))
            if at == len(rounds):
                rounds.append({})
            rounds[at][id_] = {**row, "id": id_}
        for taken in rounds:
            rows = _by_id(taken.values())
            self._sql.state_log.run(db, rows)
            self._sql.states.run(db, rows)

    def _healths(self, db: sa.Connection, batch: Batch) -> dict[int, float]:
        rows, kept = [], []
        for key, row in batch.healths.items():
            id_, ts = self._ids[key], row["health_ts"]
            rows.append({**row, "id": id_})
            if ts - self._kept_health.get(id_, 0.0) >= self._health_every_s:
                kept.append({**row, "bin_id": id_, "ts": ts})
        self._sql.healths.run(db, _by_id(rows))
        self._sql.boots.run(db, self._told_numbers(batch))
        self._sql.health_log.run(db, kept)
        return {row["bin_id"]: row["ts"] for row in kept}

    def _told_numbers(self, batch: Batch) -> Rows:
        """How far a bin's numbers go by its own word, so that a lost last event is missed too."""
        rows = []
        for key, row in batch.healths.items():
            seq, boot = row["seq"], row["boot"]
            if not seq:
                continue
            complete = self._identities.first_number(key, boot, seq + 1) - 1
            run = {"run_from": 0, "run_to": 0, "moved_ts": row["health_ts"]}
            rows.append({"bin_id": self._ids[key], "boot": boot, "complete": complete} | run)
            rows[-1]["highest"] = seq
        return _in_order(rows)

    def _rest(self, db: sa.Connection, batch: Batch) -> None:
        table = schema.bin_
        told = [*batch.acks.items(), *batch.twins.items()]
        for key, row in sorted(told, key=lambda pair: pair[0]):  # rows have no order
            db.execute(sa.update(table).where(table.c.id == self._ids[key]).values(**row))
        for key, ts in sorted(batch.clocks.items()):
            where = table.c.id == self._ids[key]
            db.execute(sa.update(table).where(where).values(clock_off_ts=ts))
        for key, picture in batch.pictures if self._put_picture else ():
            assert self._put_picture
            self._put_picture(db, self._ids[key], picture)
        for key, answer in batch.answers:
            boots = schema.boot
            mine = sa.and_(boots.c.bin_id == self._ids[key], boots.c.boot == answer.boot)
            db.execute(sa.update(boots).where(mine).values(refused=int(not answer.ok)))
        for (reason, name), entry in sorted(batch.rejects.items()):
            # Names that are no bins of ours share a row, or anyone could fill the table.
            known = name if tuple(name.split("/")) in self._ids else ""
            row = {"reason": reason, "bin_name": known, "n": entry.n, "last_ts": entry.last_ts}
            self._sql.rejects.run(db, [{**row, "sample": entry.sample}])


def _newest(rows: Rows, new: Rows) -> Rows:
    """The newest decision of each bin, and how many of the new ones were judged."""
    judged = Counter(row["bin_id"] for row in _decisions(new) if row["top"] != "[]")
    newest: dict[int, dict[str, Any]] = {}
    for row in _decisions(rows):
        id_ = row["bin_id"]
        entry = newest.setdefault(id_, {"id": id_, "judged": judged[id_], "event_ts": -1e18})
        if row["ts"] >= entry["event_ts"]:
            entry["event_ts"] = row["ts"]
            entry.update((name, row[name]) for name in LAST)
    return [newest[id_] for id_ in sorted(newest)]


def _decisions(rows: Rows) -> Rows:
    return [row for row in rows if row["kind"] == "decision" and row["flag"] != "twin"]


def _end_of_run(seqs: list[int]) -> int:
    """The last number of the run that begins with the first; `seqs` is sorted."""
    end = seqs[0]
    for seq in seqs:
        if seq > end + 1:
            break
        end = seq
    return end


def _in_order(rows: Iterable[dict[str, Any]]) -> Rows:
    """By bin and boot: two monitors that lock rows in one order never wait for each other."""
    return sorted(rows, key=lambda row: (row["bin_id"], row["boot"]))


def _by_id(rows: Iterable[dict[str, Any]]) -> Rows:
    return sorted(rows, key=lambda row: row["id"])
