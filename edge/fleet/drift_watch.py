"""Looks at the bins that have decided enough since they were last looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database
from edge.fleet.drift import Card, Finding, Weeks, examine, tenths

AT_ONCE = 100  # bins in one pass
EVERY = 50  # judged decisions between two looks at a bin
WEEK_S = 7 * 86400.0


class DriftWatch:
    """Used by the housekeeper alone."""

    def __init__(
        self,
        database: Database,
        *,
        cards: Mapping[str, Card],
        window: int,
        least_psi: float,
        card_drop: float,
    ) -> None:
        self._database = database
        self._cards = cards
        self._window = window
        self._least_psi = least_psi
        self._card_drop = card_drop

    def look(self, *, now_ts: float) -> int:
        """One pass; returns how many bins were looked at."""
        bin_ = schema.bin_
        due = (
            sa.select(bin_.c.id, bin_.c.model, bin_.c.judged, bin_.c.drift_from_ts)
            .where(bin_.c.judged - bin_.c.drift_judged >= EVERY, bin_.c.retired == 0)
            .limit(AT_ONCE)
        )
        with self._database.reading() as db:
            rows = db.execute(due).all()
        for id_, model, judged, from_ts in rows:
            self._look_at(id_, model, from_ts, now_ts)
            with self._database.begin(flush=False) as db:
                db.execute(sa.update(bin_).where(bin_.c.id == id_).values(drift_judged=judged))
        return len(rows)

    def _look_at(self, id_: int, model: str, from_ts: float, now_ts: float) -> None:
        with self._database.reading() as db:
            newest = self._confidences(db, id_, model, from_ts)
            reference = self._reference(db, id_, model)
        if len(newest) < self._window:
            return
        if reference is None:
            self._keep_reference(id_, model, tenths(newest), now_ts)
            return
        finding = examine(
            newest,
            json.loads(reference["confidences"]),
            weeks=self._weeks(reference, now_ts),
            card=self._cards.get(model),
            least_psi=self._least_psi,
            card_drop=self._card_drop,
        )
        self._keep(id_, model, finding, now_ts)

    def _confidences(self, db: sa.Connection, id_: int, model: str, from_ts: float) -> list[float]:
        """Of the newest judged decisions."""
        event = schema.event
        query = (
            sa.select(event.c.confidence)
            .where(event.c.bin_id == id_, event.c.kind == "decision", event.c.model == model)
            .where(event.c.label.is_not(None), event.c.flag != "twin", event.c.top != "[]")
            .where(event.c.ts >= from_ts)
            .order_by(event.c.ts.desc())
            .limit(self._window)
        )
        return list(db.execute(query).scalars())

    def _reference(self, db: sa.Connection, id_: int, model: str) -> Any:
        table = schema.drift_reference
        mine = (table.c.bin_id == id_, table.c.model == model)
        return db.execute(sa.select(table).where(*mine)).mappings().first()

    def _keep_reference(
        self, id_: int, model: str, confidences: tuple[int, ...], now_ts: float
    ) -> None:
        row = {"bin_id": id_, "model": model, "made_ts": now_ts}
        row["confidences"] = json.dumps(confidences)
        with self._database.begin(flush=False) as db:
            db.execute(self._database.insert(schema.drift_reference).on_conflict_do_nothing(), row)

    def _weeks(self, reference: Any, now_ts: float) -> Weeks | None:
        """The first whole week and the last, where both are over and hold enough."""
        id_, made_ts = reference["bin_id"], reference["made_ts"]
        if now_ts < made_ts + 2 * WEEK_S:
            return None
        last = self._classes(id_, now_ts - WEEK_S, now_ts)
        if reference["classes"] is None:
            first = self._classes(id_, made_ts, made_ts + WEEK_S)
            table = schema.drift_reference
            mine = (table.c.bin_id == id_, table.c.model == reference["model"])
            with self._database.begin(flush=False) as db:
                db.execute(sa.update(table).where(*mine).values(classes=json.dumps(first)))
        else:
            first = json.loads(reference["classes"])
        enough = min(sum(first.values()), sum(last.values())) >= self._window
        return Weeks(first, last) if enough else None

    def _classes(self, id_: int, from_ts: float, to_ts: float) -> dict[str, int]:
        rollup = schema.rollup
        hours = rollup.c.hour.between(int(from_ts // 3600), int(to_ts // 3600) - 1)
        query = (
            sa.select(rollup.c.label, sa.func.sum(rollup.c.n))
            .where(rollup.c.bin_id == id_, hours, rollup.c.label != "")
            .group_by(rollup.c.label)
        )
        with self._database.reading() as db:
            return {label: int(n) for label, n in db.execute(query)}

    def _keep(self, id_: int, model: str, finding: Finding, now_ts: float) -> None:
        row: dict[str, Any] = {
            "bin_id": id_,
            "ts": now_ts,
            "model": model,
            "n": finding.n,
            "mean": finding.mean,
            "psi_confidence": finding.psi_confidence,
            "psi_classes": finding.psi_classes,
            "psi_card": finding.psi_card,
            "card_mean": finding.card_mean,
            "told": " ".join(finding.told),
        }
        with self._database.begin(flush=False) as db:
            db.execute(sa.insert(schema.drift), row)


def forget_reference(database: Database, bin_id: int, *, now_ts: float) -> None:
    """Begin anew: the bin was mended, moved, or its camera exchanged."""
    table, bin_ = schema.drift_reference, schema.bin_
    with database.begin() as db:
        db.execute(sa.delete(table).where(table.c.bin_id == bin_id))
        db.execute(sa.delete(schema.drift).where(schema.drift.c.bin_id == bin_id))
        same = bin_.c.id == bin_id
        db.execute(sa.update(bin_).where(same).values(drift_from_ts=now_ts))
