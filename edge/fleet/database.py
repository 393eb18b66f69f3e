"""The only place that knows which database it is: opens it, makes its tables, and leases work."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from edge.errors import SmartbinError
from edge.fleet import schema
from edge.fleet.flusher import Disk, NoFlush, PostgresLog, SqliteLog

log = logging.getLogger(__name__)

BUSY_MS = 10_000  # several monitors may share one SQLite file; none holds it longer
CHUNK_HOURS = 24
PREPARING = 7_265_662  # of PostgreSQL's advisory locks: one monitor makes the tables
LOG_PAGES = 16_000  # of SQLite's log (64 MB); beyond, it ought to begin anew
MOST_LOG_PAGES = 4 * LOG_PAGES  # 256 MB; beyond, it must, and writers wait for it
PASSES = 5  # over the log, each over what came during the one before
QUICK_S = 0.2  # a pass that tells that writers would wait no longer


class StoreError(SmartbinError):
    """The database cannot be used, and what to do about it."""


class Database:
    """An engine with the differences between SQLite and PostgreSQL behind it."""

    def __init__(self, url: str, *, durable: bool = True) -> None:
        try:
            parsed = sa.make_url(url)
            self.shown = parsed.render_as_string(hide_password=True)
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            if self.is_sqlite and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Else text comes as bytes from a database that is refused below.
            arguments = {} if self.is_sqlite else {"client_encoding": "UTF8"}
            self.engine = sa.create_engine(
                url, pool_pre_ping=not self.is_sqlite, pool_size=10, connect_args=arguments
            )
        except (sa.exc.ArgumentError, OSError, ImportError) as error:
            raise StoreError(f"store.url: {error}; see fleet.toml") from error
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _tune_sqlite)
        self._durable = durable
        self.hypertable = False

    def prepare(self) -> None:
        """Make what is not there yet; raises StoreError where it cannot be opened or is newer."""
        try:
            with self.begin() as db:
                if not self.is_sqlite:  # SQLite lets one writer in anyway
                    self._check_encoding(db)
                    db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": PREPARING})
                schema.metadata.create_all(db)
                self._check_version(db)
                if not self.is_sqlite:
                    self._prepare_postgres(db)
        except sa.exc.SQLAlchemyError as error:
            why = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).strip()
            raise StoreError(
                f"{self.shown}: cannot be opened ({why}); check store.url, and that the database "
                "runs and lets this user in"
            ) from error

    def _check_encoding(self, db: sa.Connection) -> None:
        encoding = db.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":  # bins name their classes in any language
            raise StoreError(
                f"{self.shown}: its encoding is {encoding}, it must be UTF8; make it anew: "
                "createdb -E UTF8 -T template0 NAME"
            )

    def _check_version(self, db: sa.Connection) -> None:
        query = sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema")
        row = db.execute(query).scalar()
        if row is None:
            values = {"key": "schema", "value": str(schema.VERSION)}
            db.execute(self.insert(schema.meta).values(values).on_conflict_do_nothing())
        elif int(row) != schema.VERSION:
            raise StoreError(
                f"{self.shown}: its tables have version {row}, this smartbin knows "
                f"{schema.VERSION}; update smartbin, or name another database"
            )

    def _prepare_postgres(self, db: sa.Connection) -> None:
        """Room in pages that are updated all the time; a hypertable where TimescaleDB is there."""
        for name in ("bin", "boot"):
            db.execute(sa.text(f"ALTER TABLE {name} SET (fillfactor = 70)"))
        there = sa.text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
        if not db.execute(there).scalar():
            return
        taken = "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name='event'"
        if not db.execute(sa.text(taken)).scalar():
            make_hypertable(db)
        self.hypertable = True

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, which both dialects write alike."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @contextmanager
    def begin(self, *, flush: bool = True) -> Iterator[sa.Connection]:
        """A transaction that writes; without `flush`, a power cut soon after may take it back."""
        waits = flush and self._durable
        if self.is_sqlite:
            with self.engine.connect() as db:
                # NORMAL flushes only when the log is folded into the file.
                db.exec_driver_sql(f"PRAGMA synchronous={'FULL' if waits else 'NORMAL'}")
                # Now, not at the first write: a reader that turns writer can fail.
                db.exec_driver_sql("BEGIN IMMEDIATE")
                yield db
                db.commit()
            return
        with self.engine.begin() as db:
            if not waits:
                db.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield db

    def disk(self) -> Disk:
        """What makes commits without `flush` outlive a power cut."""
        if not self._durable:
            return NoFlush()
        file = self.engine.url.database
        return SqliteLog(Path(file or "")) if self.is_sqlite else PostgresLog(self.engine)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        with self.engine.connect() as db:
            yield db

    def fold(self) -> int:
        """Fold SQLite's log into its file while others write; returns the pages that were in it.

        By itself SQLite does so within a commit, and every message waits for the disk meanwhile.
        Where all of it is folded when a writer comes next, the log begins anew by itself; else it
        grows, until RESTART keeps writers away for as long as the disk takes.
        """
        pages = took_s = 0.0
        with self.engine.connect() as db:
            for _ in range(PASSES if self.is_sqlite else 0):
                began_s = time.monotonic()
                _, pages, folded = db.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
                took_s = time.monotonic() - began_s
                if pages == folded or pages <= LOG_PAGES:
                    return int(pages)
            if (pages > LOG_PAGES and took_s < QUICK_S) or pages > MOST_LOG_PAGES:
                db.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)")
        return int(pages)

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    def hold(self, name: str, holder: str, *, now_ts: float, for_s: float) -> bool:
        """Take or keep a lease; True where it is ours until `for_s` from now."""
        lease = schema.lease
        values = {"name": name, "holder": holder, "until_ts": now_ts + for_s}
        free = sa.or_(lease.c.holder == holder, lease.c.until_ts < now_ts)
        with self.begin(flush=False) as db:
            statement = self.insert(lease).values(values)
            statement = statement.on_conflict_do_update(
                index_elements=[lease.c.name],
                set_={"holder": holder, "until_ts": values["until_ts"]},
                where=free,
            )
            db.execute(statement)
            held = db.execute(sa.select(lease.c.holder).where(lease.c.name == name)).scalar()
        return held == holder

    def release(self, name: str, holder: str) -> None:
        """Give a lease back."""
        lease = schema.lease
        with self.begin(flush=False) as db:
            db.execute(sa.delete(lease).where(lease.c.name == name, lease.c.holder == holder))


def make_hypertable(db: sa.Connection) -> None:
    """Turn `event` into chunks of a day; every unique index must then hold the hour."""
    for sql in (
        "ALTER TABLE event DROP CONSTRAINT event_pkey",
        "ALTER TABLE event DROP CONSTRAINT event_once",
        "ALTER TABLE event ADD CONSTRAINT event_once UNIQUE (bin_id, boot, seq, hour)",
        "CREATE INDEX IF NOT EXISTS event_by_id ON event (id)",
        f"SELECT create_hypertable('event', 'hour', chunk_time_interval => {CHUNK_HOURS}, "
        "migrate_data => true)",
    ):
        db.execute(sa.text(sql))


def _tune_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: BEGIN IMMEDIATE is ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        f"wal_autocheckpoint={2 * MOST_LOG_PAGES}",  # where nobody calls `fold`
        f"journal_size_limit={MOST_LOG_PAGES * 4096}",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
