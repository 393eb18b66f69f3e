"""The same contract over PostgreSQL: a cluster of the tests' own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from edge.fleet.batch import Heard, Sorter
from edge.fleet.database import Database, StoreError
from edge.fleet.flusher import PostgresLog
from edge.fleet.intake import Limits
from edge.fleet.writer import Writer
from tests.fleet_contract import MonitorContract
from tests.fleet_harness import (
    NO_POSTGRES,
    NUMBERS,
    POSTGRES_BIN,
    Bin,
    PostgresCluster,
    RunningMonitor,
    Voice,
    postgres,
    settings_for,
)
from tests.harness import Mosquitto, wait_for

# Commits stay in the server's memory until somebody asks for the disk.
FORGETFUL = ("wal_writer_delay=10s", "wal_writer_flush_after=1GB")
EVENTS_OF_BINS = "SELECT count(*) FROM event JOIN bin ON bin.id = event.bin_id"
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES_BIN is None, reason=NO_POSTGRES),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with postgres() as cluster:
        yield cluster


class TestOnPostgres(MonitorContract):
    """The whole contract, on a server."""

    @pytest.fixture
    def url(self, cluster: PostgresCluster) -> str:
        return cluster.database(f"fleet{next(NUMBERS)}")

    @pytest.fixture
    def outage(self, cluster: PostgresCluster) -> Callable[[], Any]:
        """The server is killed, and started again."""

        def begin() -> Callable[[], None]:
            cluster.stop()
            return cluster.start

        return begin


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_language_is_refused(
    cluster: PostgresCluster, encoding: str
) -> None:
    """At the start and in a sentence: later, each word that it cannot hold would be bad input."""
    name = f"fleet{next(NUMBERS)}"
    other = ("-E", encoding, "-T", "template0", "--locale=C")
    url = cluster.database(name, *other).replace("postgresql:", "postgresql+psycopg:")
    database = Database(url)
    with pytest.raises(StoreError, match=f"{name}: its encoding is {encoding}, it must be UTF8"):
        database.prepare()
    database.close()


def test_two_monitors_never_wait_for_each_other(cluster: PostgresCluster) -> None:
    """One tells births of bins whose events the other tells, and the reverse, at one moment."""
    url = cluster.database(f"fleet{next(NUMBERS)}").replace("postgresql:", "postgresql+psycopg:")
    databases = [Database(url), Database(url)]
    databases[0].prepare()
    limits = Limits(clock_ahead_s=3600, clock_behind_s=3600)
    bins = [[Bin(f"{side}{n}") for n in range(40)] for side in "ab"]
    barrier, faults = threading.Barrier(2), []

    def monitor(side: int) -> None:
        sorter = Sorter(limits=limits)
        writer = Writer(
            databases[side], identities=sorter.identities, max_bins=99, health_every_s=0
        )
        for _ in range(12):
            messages = [bin_.birth() for bin_ in bins[side]] + [b.event() for b in bins[1 - side]]
            heard = [
                Heard(message.topic, message.payload, 1, 1, 1, True, time.time())
                for message in messages
            ]
            barrier.wait(60)
            try:
                writer.write(sorter.sort(heard))
            except sa.exc.SQLAlchemyError as error:
                faults.append(str(error))

    threads = [threading.Thread(target=monitor, args=(side,)) for side in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert faults == []


def test_a_server_that_forgets_what_it_committed_is_told_again(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are seen before they are flushed; a server that is killed then takes them back. The
    monitor stores them again, though the broker, which it is still connected to, tells none twice.
    """
    let, flush = threading.Event(), PostgresLog.flush

    def late(log: PostgresLog) -> None:
        assert let.wait(60)
        flush(log)

    monkeypatch.setattr(PostgresLog, "flush", late)
    with postgres(fsync=True, options=FORGETFUL) as cluster:
        settings = settings_for(mosquitto.port, tmp_path, url=cluster.database("fleet"))
        monitor, voice, bin_ = (
            RunningMonitor(settings).wait_connected(),
            Voice(mosquitto.port),
            Bin(),
        )
        voice.say(bin_.birth(), *[bin_.event() for _ in range(50)])

        def there() -> bool:
            try:
                return bool(monitor.scalar(EVENTS_OF_BINS) == 50)
            except sa.exc.SQLAlchemyError:
                return False  # the server is away

        wait_for(there, what="50 events, not flushed", timeout_s=30)
        figures = monitor.monitor.figures
        assert figures.kept._sum.get() == 0  # none is acknowledged
        cluster.stop()
        cluster.start()
        let.set()
        wait_for(lambda: figures.kept._sum.get() > 0, what="acknowledgement", timeout_s=60)
        wait_for(there, what="50 events again", timeout_s=30)
        assert monitor.monitor.subscriber.connections == 1
        voice.close()
        monitor.close()
