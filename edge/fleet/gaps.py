"""Gaps in a bin's numbers: found, asked for again, and given up only when they cannot come.

An event that the broker took and we never got was lost between: by a broker that crashed, or whose
queue for us overflowed. Numbers that are missing because the bin still keeps them (its outbox is
being replayed, or it is away) are no gap yet.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database

log = logging.getLogger(__name__)

LOOK_AT = 500  # starts of bins in one pass
READ_AHEAD = 5000  # numbers of one start
MAX_RANGE = 2000  # events in one request; a bin keeps about so many
MAX_ASKS = 4
BACKOFF = 3.0  # each request waits so much longer than the one before
ABSENT_S = 7 * 86400.0  # a start whose bin never comes back is given up after this
REPLAYED_S = 86400.0  # an earlier start's events come from the outbox, or not at all

Ask = Callable[[str, str, dict[str, Any]], bool]  # site, bin, body -> whether it was sent


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one start of a bin is, and how its bin is."""

    bin_id: int
    site: str
    name: str
    boot: str
    complete: int
    highest: int
    moved_ts: float
    asked: int
    asked_ts: float
    refused: bool
    present: bool  # connected, and in this start
    online: bool
    can_resend: bool
    outbox_depth: int | None


class GapKeeper:
    """Used by the housekeeper alone."""

    def __init__(self, database: Database, *, ask: Ask, wait_s: float) -> None:
        self._database = database
        self._ask = ask
        self._wait_s = wait_s

    def keep(self, *, now_ts: float) -> int:
        """One pass; returns how many requests went out."""
        asked = 0
        for standing in self._standings(now_ts):
            stored = self._stored(standing)
            end = _end_of_run(standing.complete, stored)
            if end > standing.complete:
                self._advance(standing, end, now_ts)
                continue
            if now_ts - standing.moved_ts < self._wait_s:
                continue
            missing = (standing.complete + 1, stored[0] - 1 if stored else standing.highest)
            why = self._why_lost(standing, now_ts)
            if why:
                self._give_up(standing, missing, why, now_ts)
            elif self._should_ask(standing, now_ts):
                asked += self._request(standing, missing, now_ts)
        return asked

    def _standings(self, now_ts: float) -> list[Standing]:
        boot, bin_ = schema.boot, schema.bin_
        query = (
            sa.select(boot, bin_)
            .join(bin_, bin_.c.id == boot.c.bin_id)
            .where(boot.c.complete < boot.c.highest, boot.c.moved_ts < now_ts - 1.0)
            .order_by(boot.c.asked_ts, boot.c.moved_ts)
            .limit(LOOK_AT)
        )
        with self._database.reading() as db:
            return [_standing(row) for row in db.execute(query).mappings()]

    def _stored(self, standing: Standing) -> list[int]:
        event = schema.event
        query = (
            sa.select(event.c.seq)
            .where(event.c.bin_id == standing.bin_id, event.c.boot == standing.boot)
            .where(event.c.seq > standing.complete)
            .order_by(event.c.seq)
            .limit(READ_AHEAD)
        )
        with self._database.reading() as db:
            return list(db.execute(query).scalars())

    def _should_ask(self, standing: Standing, now_ts: float) -> bool:
        pause_s = self._wait_s * BACKOFF ** max(0, standing.asked - 1) if standing.asked else 0.0
        due = now_ts - standing.asked_ts >= pause_s
        return standing.present and standing.can_resend and standing.asked < MAX_ASKS and due

    def _why_lost(self, standing: Standing, now_ts: float) -> str:
        """Why a gap will never be filled, in words; empty where it may."""
        stuck_s = now_ts - standing.moved_ts
        if standing.refused:
            return "the bin keeps these events no more"
        if not standing.online:
            return "the bin has not come back for a week" if stuck_s > ABSENT_S else ""
        if standing.outbox_depth:
            return ""  # they may be among those
        if not standing.present:
            return "an earlier start of the bin, replayed" if stuck_s > REPLAYED_S else ""
        if not standing.can_resend:
            return "this version of the bin cannot send again" if stuck_s > 10 * 60 else ""
        waited = now_ts - standing.asked_ts >= self._wait_s
        return "asked in vain" if standing.asked >= MAX_ASKS and waited else ""

    def _request(self, standing: Standing, missing: tuple[int, int], now_ts: float) -> int:
        first, last = missing[0], min(missing[1], missing[0] + MAX_RANGE - 1)
        body = {"id": secrets.token_hex(8), "boot": standing.boot, "from": first, "to": last}
        if not self._ask(standing.site, standing.name, body):
            return 0
        log.info("fleet: %s/%s asked for %d..%d", standing.site, standing.name, first, last)
        self._update(standing, asked=standing.asked + 1, asked_ts=now_ts)
        return 1

    def _give_up(
        self, standing: Standing, missing: tuple[int, int], why: str, now_ts: float
    ) -> None:
        log.warning(
            "fleet: %s/%s: %d events are lost: %s",
            standing.site,
            standing.name,
            missing[1] - missing[0] + 1,
            why,
        )
        row = {"bin_id": standing.bin_id, "boot": standing.boot, "seq_from": missing[0]}
        row |= {"seq_to": missing[1], "found_ts": now_ts, "why": why}
        with self._database.begin(flush=False) as db:
            db.execute(self._database.insert(schema.gap).on_conflict_do_nothing(), row)
        self._advance(standing, missing[1], now_ts)

    def _advance(self, standing: Standing, complete: int, now_ts: float) -> None:
        fresh = {"asked": 0, "asked_ts": 0.0, "refused": 0}
        self._update(standing, complete=complete, moved_ts=now_ts, **fresh)

    def _update(self, standing: Standing, **values: Any) -> None:
        boot = schema.boot
        # Only where the writer has not moved on meanwhile.
        same = (
            boot.c.bin_id == standing.bin_id,
            boot.c.boot == standing.boot,
            boot.c.complete == standing.complete,
        )
        with self._database.begin(flush=False) as db:
            db.execute(sa.update(boot).where(*same).values(**values))


def _standing(row: Any) -> Standing:
    boot, bin_ = schema.boot.c, schema.bin_.c
    online = row[bin_.state] in ("init", "ready", "degraded")
    return Standing(
        bin_id=row[boot.bin_id],
        site=row[bin_.site],
        name=row[bin_.name],
        boot=row[boot.boot],
        complete=row[boot.complete],
        highest=row[boot.highest],
        moved_ts=row[boot.moved_ts],
        asked=row[boot.asked],
        asked_ts=row[boot.asked_ts],
        refused=bool(row[boot.refused]),
        present=online and row[bin_.birth_boot] == row[boot.boot],
        online=online,
        can_resend="resend" in json.loads(row[bin_.capabilities]),
        outbox_depth=row[bin_.outbox_depth],
    )


def _end_of_run(complete: int, stored: list[int]) -> int:
    for seq in stored:
        if seq != complete + 1:
            break
        complete = seq
    return complete
