"""What is wrong with which bin, since when, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database

ONLINE = ("init", "ready", "degraded")
# vcgencmd get_throttled: bits of now, and of since the Pi's start (Raspberry Pi documentation)
THROTTLED_NOW = 0b1111
UNDER_VOLTAGE = 1 << 0 | 1 << 16
JAM_S = 3600.0
CLOCK_S = 3600.0
LOST_S = 7 * 86400.0
# What of a bin is judged: of ten thousand, every column more is felt by those who store.
JUDGED = (
    *("id", "state", "state_reason", "birth_ts", "health_ts", "temperature_c", "throttled"),
    *("outbox_depth", "outbox_lost", "p99_ms", "ack_result", "ack_ts"),
    *("clock_off_ts", "twin_ts", "twin_detail"),
)
LEAST_JUDGED = 20  # of the last hour's decisions, for a share


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be wrong."""

    severity: str  # bad or warn
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "lost": Kind(
        "bad",
        "Lost",
        "Power or network are gone. Look at its supply and its network; on the bin: "
        "journalctl -u smartbin, smartbin doctor. What it decides meanwhile waits in its outbox.",
    ),
    "silent": Kind(
        "bad",
        "Silent",
        "Connected, but no health comes. Restart it: systemctl restart smartbin; if that does not "
        "help, look for a broker that does not deliver.",
    ),
    "degraded": Kind(
        "warn", "Degraded", "The bin says why; mostly the camera's cable or the disk. See its log."
    ),
    "stopped": Kind("warn", "Stopped", "Somebody stopped it: systemctl start smartbin."),
    "jammed": Kind(
        "bad",
        "Flap stuck",
        "Free the flap, or look whether the actuator runs; everything goes the safe way until it "
        "moves again.",
    ),
    "hot": Kind("warn", "Too hot", "Give it shade, air or a fan; it throttles itself from 80 C."),
    "power": Kind(
        "warn", "Weak supply", "A stronger supply (5 V, 3 A or more) or a shorter, thicker cable."
    ),
    "throttled": Kind("warn", "Throttled", "It is too hot or underfed, and slower for it."),
    "outbox": Kind(
        "warn",
        "Outbox grows",
        "Events come faster than they leave: look at its network and at the broker's log.",
    ),
    "dropped events": Kind(
        "bad",
        "Events dropped",
        "The outbox was full or too old, so the record has holes. Raise outbox.max_mb, or mend "
        "the network sooner.",
    ),
    "gap": Kind(
        "bad",
        "Events lost",
        "The broker had them and lost them: give it persistence and a longer queue "
        "(max_queued_messages), and look whether it crashed.",
    ),
    "slow": Kind(
        "warn",
        "Slow",
        "Decisions take too long; look for throttling and other work on the bin.",
    ),
    "abstains": Kind(
        "warn",
        "Rarely sure",
        "Most items go unsorted. Clean the lens, light the tray, look at what is thrown in.",
    ),
    "clock": Kind(
        "warn",
        "Clock wrong",
        "sudo timedatectl set-ntp true on the bin. Until then its events are dated by arrival.",
    ),
    "twin": Kind(
        "bad",
        "Name used twice",
        "Two devices are called so: give one another site.bin and its own broker user. Events of "
        "the dispute are kept and not counted.",
    ),
    "drift confidence": Kind(
        "warn",
        "Confidence shifted",
        "Something about the picture changed: clean the lens, look at the light, the camera's "
        "place and the tray. If the change is wanted, begin anew on the bin's page.",
    ),
    "drift classes": Kind(
        "warn",
        "Other things come in",
        "The week's mix is not the first week's. If that is so on site, begin anew on the bin's "
        "page; if not, relabel some pictures: the model may be wrong about one class.",
    ),
    "drift card": Kind(
        "warn",
        "Less sure than its card",
        "The model is less sure here than on the pictures it was measured on. Light and a plain "
        "tray help most; then pictures of this site, relabelled, for the next training.",
    ),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """From when something counts as wrong."""

    silent_s: float
    hot_c: float
    outbox_events: int
    latency_ms: float
    abstain_frac: float


class Alerts:
    """Opens what is new, closes what is over; used by the housekeeper alone."""

    def __init__(self, database: Database, *, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    def judge(self, *, now_ts: float) -> int:
        """One pass over all bins; returns how many alerts are open."""
        with self._database.reading() as db:
            wrong = self._wrong(db, now_ts)
            open_ = self._open(db)
        new = [
            {"bin_id": id_, "kind": kind, "opened_ts": now_ts, "detail": detail[:300]}
            for (id_, kind), detail in wrong.items()
            if (id_, kind) not in open_
        ]
        over = [number for pair, (number, _) in open_.items() if pair not in wrong]
        changed = [
            {"b_id": open_[pair][0], "b_detail": detail[:300]}
            for pair, detail in wrong.items()
            if pair in open_ and open_[pair][1] != detail[:300]
        ]
        if new or over or changed:
            self._write(new, over, changed, now_ts)
        return len(wrong)

    def _write(self, new: list[Any], over: list[int], changed: list[Any], now_ts: float) -> None:
        alert = schema.alert
        with self._database.begin(flush=False) as db:
            if new:
                db.execute(sa.insert(alert), new)
            for start in range(0, len(over), 500):
                some = alert.c.id.in_(over[start : start + 500])
                db.execute(sa.update(alert).where(some).values(closed_ts=now_ts))
            if changed:
                same = alert.c.id == sa.bindparam("b_id")
                values: dict[str, Any] = {"detail": sa.bindparam("b_detail")}
                db.execute(sa.update(alert).where(same).values(values), changed)

    def _open(self, db: sa.Connection) -> dict[tuple[int, str], tuple[int, str]]:
        alert = schema.alert
        query = sa.select(alert.c.id, alert.c.bin_id, alert.c.kind, alert.c.detail)
        rows = db.execute(query.where(alert.c.closed_ts.is_(None)))
        return {(bin_id, kind): (id_, detail) for id_, bin_id, kind, detail in rows}

    def _wrong(self, db: sa.Connection, now_ts: float) -> dict[tuple[int, str], str]:
        wrong: dict[tuple[int, str], str] = {}
        columns = [schema.bin_.c[name] for name in JUDGED]
        bins = db.execute(sa.select(*columns).where(schema.bin_.c.retired == 0)).mappings()
        known = set()
        for row in bins:
            known.add(row["id"])
            for kind, detail in judge_bin(row, self._bounds, now_ts=now_ts).items():
                wrong[row["id"], kind] = detail
        for found in (self._drifts(db), self._gaps(db, now_ts), self._abstains(db, now_ts)):
            wrong.update({pair: text for pair, text in found.items() if pair[0] in known})
        return wrong

    def _drifts(self, db: sa.Connection) -> dict[tuple[int, str], str]:
        drift, bin_ = schema.drift, schema.bin_
        newest = sa.select(sa.func.max(drift.c.id)).group_by(drift.c.bin_id)
        rows = db.execute(
            sa.select(drift)
            .join(bin_, sa.and_(bin_.c.id == drift.c.bin_id, bin_.c.model == drift.c.model))
            .where(drift.c.id.in_(newest), drift.c.told != "")
        ).mappings()
        wrong = {}
        for row in rows:
            for told in row["told"].split():
                wrong[row["bin_id"], f"drift {told}"] = _drift_detail(told, dict(row))
        return wrong

    def _gaps(self, db: sa.Connection, now_ts: float) -> dict[tuple[int, str], str]:
        gap = schema.gap
        lost = sa.func.sum(gap.c.seq_to - gap.c.seq_from + 1)
        rows = db.execute(
            sa.select(gap.c.bin_id, lost, sa.func.max(gap.c.why))
            .where(gap.c.found_ts > now_ts - LOST_S)
            .group_by(gap.c.bin_id)
        )
        return {(id_, "gap"): f"{n} within a week: {why}" for id_, n, why in rows}

    def _abstains(self, db: sa.Connection, now_ts: float) -> dict[tuple[int, str], str]:
        """By the last whole hours that were counted."""
        rollup = schema.rollup
        from_hour = int(now_ts // 3600) - 4
        sorted_n = sa.func.sum(sa.case((rollup.c.outcome == "sorted", rollup.c.n), else_=0))
        n = sa.func.sum(rollup.c.n)
        rows = db.execute(
            sa.select(rollup.c.bin_id, n, sorted_n)
            .where(rollup.c.hour >= from_hour, rollup.c.outcome != "empty")
            .group_by(rollup.c.bin_id)
            .having(n >= LEAST_JUDGED)
        )
        found = {}
        for id_, total, sure in rows:
            share = 1 - int(sure) / int(total)
            if share >= self._bounds.abstain_frac:
                found[id_, "abstains"] = f"{share:.0%} of the last {total} items went unsorted"
        return found


def judge_bin(row: Mapping[Any, Any], bounds: Bounds, *, now_ts: float) -> dict[str, str]:
    """What is wrong with one bin by what is known of it now: kind -> detail. Pure."""
    wrong: dict[str, str] = {}
    state = row["state"]
    if state in ("lost", "degraded", "stopped"):
        wrong[state] = row["state_reason"]
    if state in ONLINE:
        heard_ts = max(row["health_ts"] or 0.0, row["birth_ts"] or 0.0)
        if heard_ts and now_ts - heard_ts > bounds.silent_s:
            wrong["silent"] = f"no health for {(now_ts - heard_ts) / 60:.0f} minutes"
        wrong.update(_of_health(row, bounds))
    if row["ack_result"] in ("jammed", "missing") and now_ts - row["ack_ts"] < JAM_S:
        said = {"jammed": "the actuator says so", "missing": "no actuator answers"}
        wrong["jammed"] = said[row["ack_result"]]
    if row["clock_off_ts"] and now_ts - row["clock_off_ts"] < CLOCK_S:
        wrong["clock"] = "events came with impossible times"
    if row["twin_ts"] and now_ts - row["twin_ts"] < CLOCK_S:
        wrong["twin"] = row["twin_detail"]
    return wrong


def _of_health(row: Mapping[Any, Any], bounds: Bounds) -> dict[str, str]:
    wrong = {}
    bits = row["throttled"] or 0
    if (row["temperature_c"] or 0) >= bounds.hot_c:
        wrong["hot"] = f"{row['temperature_c']:.0f} C"
    if bits & UNDER_VOLTAGE:
        wrong["power"] = f"under-voltage{'' if bits & 1 else ' since its start'}"
    if bits & THROTTLED_NOW & ~1:
        wrong["throttled"] = f"get_throttled says {bits:#x}"
    if (row["outbox_depth"] or 0) >= bounds.outbox_events:
        wrong["outbox"] = f"{row['outbox_depth']} events wait"
    if row["outbox_lost"]:
        wrong["dropped events"] = f"{row['outbox_lost']} since its start"
    if (row["p99_ms"] or 0) >= bounds.latency_ms:
        wrong["slow"] = f"p99 {row['p99_ms']:.0f} ms"
    return wrong


def _drift_detail(told: str, row: Mapping[str, Any]) -> str:
    if told == "card":
        return f"mean confidence {row['mean']:.2f}, the model's card says {row['card_mean']:.2f}"
    if told == "classes":
        return f"PSI {row['psi_classes']:.2f} between the last week and the first"
    return f"PSI {row['psi_confidence']:.2f} over the last {row['n']}, mean {row['mean']:.2f}"
