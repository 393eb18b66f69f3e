"""The statements of the hot path: what a batch does to the database."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.bulk import Bulk, insert_text, update_text
from edge.fleet.database import Database

LAST = ("outcome", "label", "confidence", "route", "reason")  # of the newest decision
BIRTH = (
    "birth_boot",
    "birth_ts",
    "labels",
    "routes",
    "safe",
    "capabilities",
    "model",
    "version",
)
HEALTH = (
    "temperature_c",
    "throttled",
    "rss_mb",
    "p50_ms",
    "p99_ms",
    "outbox_depth",
    "confidence_mean",
)
HEALTH_NOW = (
    *HEALTH,
    "health_ts",
    "uptime_s",
    "outbox_lost",
    "dropped",
    "camera_restarts",
    "clock",
)
STATE = ("state", "state_reason", "state_boot", "model", "version")
_SAME_STATE = (
    "bin.state = v.state AND bin.state_reason = v.state_reason AND bin.state_boot = v.state_boot"
)
_RUN_JOINS = "boot.complete >= excluded.run_from - 1 AND excluded.run_to > boot.complete"
# A gap is as old as its discovery: a number after a long silence finds no old gap.
_OPENS = "boot.complete >= boot.highest AND excluded.highest > boot.highest"


class Statements:
    """Each takes rows with the columns that it names."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.bins = self._insert(
            schema.bin_, ("site", "name", "first_seen_ts"), "ON CONFLICT DO NOTHING"
        )
        self.events = self._insert(
            schema.event,
            tuple(c.name for c in schema.event.c if c.name != "id"),
            "ON CONFLICT DO NOTHING",
        )
        self.boots = self._insert(
            schema.boot,
            ("bin_id", "boot", "complete", "highest", "run_from", "run_to", "moved_ts"),
            f"""ON CONFLICT (bin_id, boot) DO UPDATE SET
            complete = CASE WHEN {_RUN_JOINS} THEN excluded.run_to ELSE boot.complete END,
            moved_ts = CASE WHEN {_RUN_JOINS} OR {_OPENS}
                       THEN excluded.moved_ts ELSE boot.moved_ts END,
            highest = CASE WHEN excluded.highest > boot.highest
                      THEN excluded.highest ELSE boot.highest END,
            run_from = excluded.run_from, run_to = excluded.run_to""",
        )
        self.dirty = self._insert(
            schema.dirty,
            ("hour", "bin_id", "n"),
            "ON CONFLICT (hour, bin_id) DO UPDATE SET n = dirty.n + 1",
        )
        self.rejects = self._insert(
            schema.reject,
            ("reason", "bin_name", "n", "last_ts", "sample"),
            """ON CONFLICT (reason, bin_name) DO UPDATE SET n = reject.n + excluded.n,
            last_ts = excluded.last_ts, sample = excluded.sample""",
        )
        # Told again, neither history grows: a batch may be written twice.
        logged = "SELECT 1 FROM health h WHERE h.bin_id = v.bin_id AND h.ts = v.ts"
        self.health_log = self._insert(
            schema.health, ("bin_id", "ts", *HEALTH), f"AND NOT EXISTS ({logged})"
        )
        self.state_log = Bulk(
            database,
            "INSERT INTO state_log (bin_id, ts, state, reason, boot) "
            "SELECT v.id, v.state_ts, v.state, v.state_reason, v.state_boot FROM {rows} "
            f"WHERE NOT EXISTS (SELECT 1 FROM bin WHERE bin.id = v.id AND {_SAME_STATE}) "
            "AND NOT EXISTS (SELECT 1 FROM state_log s WHERE s.bin_id = v.id AND s.ts = v.state_ts "
            "AND s.state = v.state AND s.reason = v.state_reason AND s.boot = v.state_boot)",
            table=schema.bin_,
            columns=("id", "state_ts", *STATE[:3]),
        )
        self._updates_of_bins()

    def _updates_of_bins(self) -> None:
        # Of an older decision, which comes late from an outbox, only the number counts.
        newer = "bin.event_ts IS NULL OR bin.event_ts <= v.event_ts"
        last = {
            name: f"CASE WHEN {newer} THEN v.{name} ELSE bin.{name} END"
            for name in (*LAST, "event_ts")
        }
        self.last = self._update({**last, "judged": "bin.judged + v.judged"})
        # A retired bin that is born again has come back; its retained birth proves nothing.
        retired = "CASE WHEN v.retired = 0 THEN 0 ELSE bin.retired END"
        self.births = self._update({**_plainly(BIRTH), "retired": retired})
        since = f"CASE WHEN {_SAME_STATE} THEN bin.state_ts ELSE v.state_ts END"
        self.states = self._update({**_plainly(STATE), "state_ts": since})
        self.healths = self._update(_plainly(HEALTH_NOW))

    def _insert(self, table: sa.Table, columns: Sequence[str], conflict: str) -> Bulk:
        text = insert_text(table, columns, conflict)
        return Bulk(self._database, text, table=table, columns=columns)

    def _update(self, values: dict[str, str]) -> Bulk:
        text = update_text(schema.bin_, values)
        return Bulk(self._database, text, table=schema.bin_, columns=("id", *values))


def _plainly(names: Sequence[str]) -> dict[str, str]:
    return {name: f"v.{name}" for name in names}
