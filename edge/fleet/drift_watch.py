"""Looks at the bins that have decided enough since they were last looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database
from edge.fleet.drift import Card, Finding, Reference, examine, reference_of

AT_ONCE = 100  # bins in one pass
EVERY = 50  # judged decisions between two looks at a bin


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
            sa.select(bin_.c.id, bin_.c.model, bin_.c.judged)
            .where(bin_.c.judged - bin_.c.drift_judged >= EVERY, bin_.c.retired == 0)
            .limit(AT_ONCE)
        )
        with self._database.reading() as db:
            rows = db.execute(due).all()
        for id_, model, judged in rows:
            self._look_at(id_, model, now_ts)
            with self._database.begin() as db:
                db.execute(sa.update(bin_).where(bin_.c.id == id_).values(drift_judged=judged))
        return len(rows)

    def _look_at(self, id_: int, model: str, now_ts: float) -> None:
        with self._database.reading() as db:
            reference = self._reference(db, id_, model)
            newest = self._decisions(db, id_, model, newest=True)
        if reference is None:
            if len(newest) >= self._window:
                self._keep_reference(id_, model, now_ts)
            return
        if len(newest) < self._window:
            return
        finding = examine(
            newest,
            reference,
            card=self._cards.get(model),
            least_psi=self._least_psi,
            card_drop=self._card_drop,
        )
        self._keep(id_, model, finding, now_ts)

    def _decisions(
        self, db: sa.Connection, id_: int, model: str, *, newest: bool
    ) -> list[tuple[float, str]]:
        """(confidence, best class) of the first or the newest judged decisions."""
        event = schema.event
        order = event.c.ts.desc() if newest else event.c.ts
        query = (
            sa.select(event.c.confidence, event.c.label)
            .where(event.c.bin_id == id_, event.c.kind == "decision", event.c.model == model)
            .where(event.c.label.is_not(None), event.c.flag != "twin", event.c.top != "[]")
            .order_by(order)
            .limit(self._window)
        )
        return [(confidence, label) for confidence, label in db.execute(query)]

    def _reference(self, db: sa.Connection, id_: int, model: str) -> Reference | None:
        table = schema.drift_reference
        row = db.execute(
            sa.select(table.c.confidences, table.c.classes).where(
                table.c.bin_id == id_, table.c.model == model
            )
        ).first()
        return Reference(tuple(json.loads(row[0])), json.loads(row[1])) if row else None

    def _keep_reference(self, id_: int, model: str, now_ts: float) -> None:
        with self._database.begin() as db:
            first = reference_of(self._decisions(db, id_, model, newest=False))
            values = {
                "bin_id": id_,
                "model": model,
                "made_ts": now_ts,
                "confidences": json.dumps(first.confidences),
                "classes": json.dumps(first.classes),
            }
            table = schema.drift_reference
            db.execute(self._database.insert(table).values(values).on_conflict_do_nothing())

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
        with self._database.begin() as db:
            db.execute(sa.insert(schema.drift), row)


def forget_reference(database: Database, bin_id: int) -> None:
    """Begin anew: the bin was mended, moved, or its camera exchanged."""
    table, bin_ = schema.drift_reference, schema.bin_
    with database.begin() as db:
        db.execute(sa.delete(table).where(table.c.bin_id == bin_id))
        db.execute(sa.delete(schema.drift).where(schema.drift.c.bin_id == bin_id))
        db.execute(sa.update(bin_).where(bin_.c.id == bin_id).values(drift_judged=bin_.c.judged))
