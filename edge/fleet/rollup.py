"""Counts by hour, made from events, and the end of what is too old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database
from edge.fleet.writer import OPEN_HOUR_S

PAIRS = 300  # hours of bins in one transaction: a writer waits for it at most so long
CHUNK = 5000  # rows deleted in one transaction


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is kept, in days."""

    event_days: float
    health_days: float
    rollup_days: float


class Accountant:
    """Used by the housekeeper alone."""

    def __init__(self, database: Database, *, keep: Keep) -> None:
        self._database = database
        self._keep = keep

    def count_hours(self, *, now_ts: float) -> int:
        """Count up to PAIRS hours of bins that are over; returns how many."""
        dirty = schema.dirty
        closed = int((now_ts - OPEN_HOUR_S) // 3600)
        query = sa.select(dirty).where(dirty.c.hour <= closed).order_by(dirty.c.hour).limit(PAIRS)
        with self._database.begin(flush=False) as db:
            pairs = db.execute(query).mappings().all()
            for pair in pairs:
                self._count(db, pair)
        return len(pairs)

    def _count(self, db: sa.Connection, pair: Any) -> None:
        event, rollup, dirty = schema.event, schema.rollup, schema.dirty
        hour, id_ = pair["hour"], pair["bin_id"]
        label = sa.func.coalesce(event.c.label, "")
        counts = (
            sa.select(
                event.c.bin_id,
                event.c.hour,
                event.c.outcome,
                label,
                sa.func.count(),
                sa.func.avg(event.c.confidence),
                sa.func.avg(event.c.latency_ms),
            )
            .where(event.c.bin_id == id_, event.c.kind == "decision", event.c.flag != "twin")
            .where(event.c.ts >= hour * 3600.0, event.c.ts < (hour + 1) * 3600.0)
            .group_by(event.c.bin_id, event.c.hour, event.c.outcome, label)
        )
        db.execute(sa.delete(rollup).where(rollup.c.bin_id == id_, rollup.c.hour == hour))
        db.execute(sa.insert(rollup).from_select([c.name for c in rollup.c], counts))
        # Not where an event came in meanwhile: then the mark stays for the next pass.
        same = (dirty.c.hour == hour, dirty.c.bin_id == id_, dirty.c.n == pair["n"])
        db.execute(sa.delete(dirty).where(*same))

    def forget(self, *, now_ts: float) -> int:
        """Delete a bounded part of what is too old; returns how many rows went."""
        keep, gone = self._keep, 0
        day_s = 86400.0
        if self._database.hypertable:
            self._drop_chunks(int((now_ts - keep.event_days * day_s) // 3600))
        else:
            # By arrival, which is the order of the numbers: no index on the time is needed.
            gone += self._delete(
                schema.event, schema.event.c.received_ts, now_ts - keep.event_days * day_s
            )
        for table in (schema.health, schema.drift, schema.state_log):
            days = keep.event_days if table is schema.state_log else keep.health_days
            gone += self._delete(table, table.c.ts, now_ts - days * day_s)
        oldest = int((now_ts - keep.rollup_days * day_s) // 3600)
        with self._database.begin(flush=False) as db:
            db.execute(sa.delete(schema.rollup).where(schema.rollup.c.hour < oldest))
            alert = schema.alert
            db.execute(sa.delete(alert).where(alert.c.closed_ts < now_ts - keep.event_days * day_s))
            db.execute(sa.delete(schema.session).where(schema.session.c.until_ts < now_ts))
        return gone

    def _drop_chunks(self, hour: int) -> None:
        with self._database.begin(flush=False) as db:
            db.execute(sa.text("SELECT drop_chunks('event', older_than => :hour)"), {"hour": hour})

    def _delete(self, table: sa.Table, age: sa.Column[Any], before_ts: float) -> int:
        first = sa.select(table.c.id, age.label("age")).order_by(table.c.id).limit(CHUNK).subquery()
        old = sa.select(first.c.id).where(first.c.age < before_ts)
        with self._database.begin(flush=False) as db:
            return db.execute(sa.delete(table).where(table.c.id.in_(old))).rowcount
