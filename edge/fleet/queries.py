"""What the page and /metrics ask the database, in pages of bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.alerts import KINDS
from edge.fleet.database import Database

PAGE = 50
SORTS = ("name", "state", "event", "model", "temperature", "outbox", "confidence", "p99")
STATES = ("degraded", "stopped", "init", "unseen", "ready")  # the worse first
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked of the list of bins."""

    search: str = ""
    state: str = ""  # one of the states, "wrong" for bins with an alert, empty for all
    sort: str = "state"
    down: bool = False
    page: int = 0


class Queries:
    """Only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _all(self, query: Any) -> list[Row]:
        with self._database.reading() as db:
            return [dict(row) for row in db.execute(query).mappings()]

    def _one(self, query: Any) -> Row | None:
        rows = self._all(query)
        return rows[0] if rows else None

    def states(self) -> dict[str, int]:
        """How many bins are in which state."""
        bin_ = schema.bin_.c
        query = sa.select(bin_.state, sa.func.count()).where(bin_.retired == 0)
        with self._database.reading() as db:
            return {state: n for state, n in db.execute(query.group_by(bin_.state))}

    def alert_counts(self) -> dict[str, int]:
        """How many alerts of which kind are open."""
        alert = schema.alert.c
        query = sa.select(alert.kind, sa.func.count()).where(alert.closed_ts.is_(None))
        with self._database.reading() as db:
            return {kind: n for kind, n in db.execute(query.group_by(alert.kind))}

    def bins(self, wish: Wish) -> tuple[list[Row], int]:
        """One page of bins, and how many there are in all."""
        bin_ = schema.bin_
        where = self._chosen(wish)
        order = _order(wish)
        query = sa.select(bin_).where(*where).order_by(*order)
        query = query.limit(PAGE).offset(PAGE * max(0, wish.page))
        with self._database.reading() as db:
            n = db.execute(sa.select(sa.func.count()).select_from(bin_).where(*where)).scalar_one()
            rows = [dict(row) for row in db.execute(query).mappings()]
        wrong = self.alerts_of([row["id"] for row in rows])
        return [{**row, "alerts": wrong.get(row["id"], [])} for row in rows], n

    def _chosen(self, wish: Wish) -> list[Any]:
        bin_ = schema.bin_.c
        where: list[Any] = [bin_.retired == (1 if wish.state == "retired" else 0)]
        for word in wish.search.split()[:4]:
            like = f"%{_escaped(word.lower())}%"
            text = sa.func.lower(bin_.site + "/" + bin_.name + " " + bin_.model)
            where.append(text.like(like, escape="\\"))
        if wish.state == "wrong":
            where.append(bin_.id.in_(_with_alerts()))
        elif wish.state == "throttled":
            where.append(bin_.throttled > 0)
        elif wish.state and wish.state != "retired":
            where.append(bin_.state == wish.state)
        return where

    def alerts_of(self, ids: list[int]) -> dict[int, list[str]]:
        """Kinds of the open alerts of some bins."""
        alert = schema.alert.c
        query = sa.select(alert.bin_id, alert.kind).where(alert.closed_ts.is_(None))
        found: dict[int, list[str]] = {}
        with self._database.reading() as db:
            for id_, kind in db.execute(query.where(alert.bin_id.in_(ids))):
                found.setdefault(id_, []).append(kind)
        return found

    def bin(self, site: str, name: str) -> Row | None:
        """What is known of one bin."""
        bin_ = schema.bin_
        return self._one(sa.select(bin_).where(bin_.c.site == site, bin_.c.name == name))

    def decisions(self, id_: int, limit: int = 30) -> list[Row]:
        """The newest decisions of a bin."""
        event = schema.event
        query = sa.select(event).where(event.c.bin_id == id_, event.c.kind == "decision")
        rows = self._all(query.order_by(event.c.ts.desc(), event.c.seq.desc()).limit(limit))
        return [{**row, "top": json.loads(row["top"] or "[]")} for row in rows]

    def records(self, id_: int, limit: int = 15) -> list[Row]:
        """The newest records of a bin that are neither decisions nor states nor plain movements."""
        event = schema.event
        plain = sa.and_(event.c.kind == "movement", event.c.outcome == "done")
        query = sa.select(event).where(event.c.bin_id == id_, ~plain)
        query = query.where(event.c.kind.not_in(("decision", "state")))
        return self._all(query.order_by(event.c.ts.desc()).limit(limit))

    def states_of(self, id_: int, limit: int = 20) -> list[Row]:
        """The newest changes of state of a bin."""
        log = schema.state_log
        query = sa.select(log).where(log.c.bin_id == id_)
        return self._all(query.order_by(log.c.ts.desc(), log.c.id.desc()).limit(limit))

    def alerts(self, *, id_: int | None = None, kind: str = "", page: int = 0) -> list[Row]:
        """Alerts, the open and newest first, with the bin's name."""
        alert, bin_ = schema.alert, schema.bin_
        query = sa.select(alert, bin_.c.site, bin_.c.name).join(bin_, bin_.c.id == alert.c.bin_id)
        if id_ is not None:
            query = query.where(alert.c.bin_id == id_)
        else:
            query = query.where(alert.c.closed_ts.is_(None))
        if kind:
            query = query.where(alert.c.kind == kind)
        bad = [name for name, about in KINDS.items() if about.severity == "bad"]
        mild = alert.c.kind.not_in(bad)
        order = (alert.c.closed_ts.is_not(None), mild, alert.c.opened_ts.desc(), alert.c.id.desc())
        rows = self._all(query.order_by(*order).limit(PAGE).offset(PAGE * max(0, page)))
        return [{**row, "about": KINDS[row["kind"]]} for row in rows if row["kind"] in KINDS]

    def hours(self, id_: int, *, from_hour: int, to_hour: int) -> dict[int, dict[str, int]]:
        """Decisions by hour and class (or outcome, where not sorted), counted from the events."""
        event = schema.event
        what = sa.case((event.c.outcome == "sorted", event.c.label), else_=event.c.outcome)
        query = (
            sa.select(event.c.hour, what, sa.func.count())
            .where(event.c.bin_id == id_, event.c.kind == "decision", event.c.flag != "twin")
            .where(event.c.ts >= from_hour * 3600.0, event.c.ts < (to_hour + 1) * 3600.0)
            .group_by(event.c.hour, what)
        )
        hours: dict[int, dict[str, int]] = {}
        with self._database.reading() as db:
            for hour, name, n in db.execute(query):
                hours.setdefault(hour, {})[name or "-"] = n
        return hours

    def series(self, table: sa.Table, id_: int, from_ts: float, limit: int = 600) -> list[Row]:
        """Rows of a history, oldest first."""
        query = sa.select(table).where(table.c.bin_id == id_, table.c.ts >= from_ts)
        return self._all(query.order_by(table.c.ts.desc()).limit(limit))[::-1]

    def gaps(self, id_: int) -> list[Row]:
        """Events of a bin that are lost."""
        gap = schema.gap
        query = sa.select(gap).where(gap.c.bin_id == id_).order_by(gap.c.found_ts.desc())
        return self._all(query.limit(20))

    def rejects(self) -> list[Row]:
        """Messages that were not believed, newest first."""
        reject = schema.reject
        return self._all(sa.select(reject).order_by(reject.c.last_ts.desc()).limit(200))

    def pictures(self, *, done: bool, page: int = 0, limit: int = 24) -> tuple[list[Row], int]:
        """Pictures with or without a person's label, and how many there are."""
        picture, bin_ = schema.picture, schema.bin_
        which = picture.c.label.is_not(None) if done else picture.c.label.is_(None)
        query = (
            sa.select(picture, bin_.c.site, bin_.c.name, bin_.c.labels)
            .join(bin_, bin_.c.id == picture.c.bin_id)
            .where(which)
            .order_by(picture.c.ts.desc(), picture.c.id.desc())
            .limit(limit)
            .offset(limit * max(0, page))
        )
        with self._database.reading() as db:
            n = db.execute(
                sa.select(sa.func.count()).select_from(picture).where(which)
            ).scalar_one()
        return [{**row, "labels": json.loads(row["labels"])} for row in self._all(query)], n

    def picture(self, number: int) -> Row | None:
        """One picture's row, with the classes of its bin."""
        picture, bin_ = schema.picture, schema.bin_
        query = sa.select(picture, bin_.c.labels).join(bin_, bin_.c.id == picture.c.bin_id)
        return self._one(query.where(picture.c.id == number))

    def totals(self) -> Row:
        """Sums over the fleet, for /metrics."""
        bin_ = schema.bin_.c
        query = sa.select(
            sa.func.sum(bin_.outbox_depth).label("outbox"),
            sa.func.max(bin_.temperature_c).label("hottest"),
            sa.func.sum(sa.case((bin_.throttled > 0, 1), else_=0)).label("throttled"),
            sa.func.min(bin_.health_ts).label("oldest_health"),
            sa.func.max(bin_.p99_ms).label("slowest"),
        ).where(bin_.retired == 0)
        gap = schema.gap.c
        lost = sa.select(sa.func.sum(gap.seq_to - gap.seq_from + 1))
        with self._database.reading() as db:
            return {**db.execute(query).mappings().one(), "lost": db.execute(lost).scalar() or 0}


def _order(wish: Wish) -> list[Any]:
    bin_ = schema.bin_.c
    columns: dict[str, Any] = {
        "name": bin_.site,
        "state": sa.case(
            (bin_.state == "lost", 0),
            (bin_.id.in_(_with_alerts()), 1),
            *((bin_.state == state, n) for n, state in enumerate(STATES, start=2)),
            else_=9,
        ),
        "event": bin_.event_ts,
        "model": bin_.model,
        "temperature": bin_.temperature_c,
        "outbox": bin_.outbox_depth,
        "confidence": bin_.confidence_mean,
        "p99": bin_.p99_ms,
    }
    column = columns.get(wish.sort, bin_.site)
    first = column.desc().nulls_last() if wish.down else column.asc().nulls_last()
    if wish.sort == "name" and wish.down:
        return [first, bin_.name.desc()]
    return [first, bin_.site, bin_.name]


def _with_alerts() -> Any:
    alert = schema.alert.c
    return sa.select(alert.bin_id).where(alert.closed_ts.is_(None))


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
