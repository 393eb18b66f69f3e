"""What the monitor does over either database: run on SQLite by default, on PostgreSQL as slow.

A class of tests that `test_fleet_ingest.py` and `test_fleet_postgres.py` inherit; `url` is a
fixture of theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.alerts import Alerts, Bounds
from edge.fleet.batch import Heard, Sorter
from edge.fleet.database import Database
from edge.fleet.intake import Limits
from edge.fleet.rollup import Accountant, Keep
from edge.fleet.writer import Writer
from edge.values import Message
from tests.fleet_harness import Bin, RunningMonitor, Voice, settings_for
from tests.harness import Mosquitto, wait_for

KEPT = ("bin", "event", "boot", "state_log", "health")
Start = Callable[..., RunningMonitor]
NOW = ("state", "temperature_c", "health_ts")
EVENTS = "SELECT count(*) FROM event"
BOUNDS = Bounds(silent_s=180, hot_c=75, outbox_events=1000, latency_ms=500, abstain_frac=0.5)


def _content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tables that tell what happened."""
    content = {}
    with database.reading() as db:
        for name in KEPT:
            table = schema.metadata.tables[name]
            rows = db.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            content[name] = [{k: v for k, v in row.items() if k != "moved_ts"} for row in rows]
    return content


class MonitorContract:
    """Each test has a broker, a monitor on a fresh database, and a voice for bins."""

    @pytest.fixture
    def voice(self, mosquitto: Mosquitto) -> Iterator[Voice]:
        voice = Voice(mosquitto.port)
        yield voice
        voice.close()

    @pytest.fixture
    def start(self, mosquitto: Mosquitto, tmp_path: Path, url: str) -> Iterator[Start]:
        running: list[RunningMonitor] = []

        def start(*, extra: str = "", port: int | None = None) -> RunningMonitor:
            settings = settings_for(port or mosquitto.port, tmp_path, url=url, extra=extra)
            running.append(RunningMonitor(settings))
            return running[-1].wait_connected()

        yield start
        for monitor in running:
            monitor.close()

    def test_what_bins_say_is_stored_once(self, start: Start, voice: Voice) -> None:
        """Births, states, health and events; an event told three times is one row."""
        monitor = start()
        bin_ = Bin()
        events = [bin_.event() for _ in range(200)]
        voice.say(bin_.birth(), bin_.state(), *events, *events[:50], *events[:50], bin_.health())
        self._wait(monitor, EVENTS, 200)
        wait_for(lambda: self._bin(monitor)["health_ts"], what="health")
        row = self._bin(monitor)
        assert (row["state"], row["label"], row["model"]) == ("ready", "glass", bin_.model)
        assert row["temperature_c"] == 51.0 and row["outbox_depth"] == 0
        wait_for(
            lambda: monitor.monitor.figures.duplicates._value.get() == 100, what="repeated ones"
        )
        wait_for(
            lambda: monitor.scalar("SELECT complete FROM boot") == 200, what="complete numbers"
        )

    def test_monitors_that_start_together_make_one_set_of_tables(self, url: str) -> None:
        """On a fresh database none of them finds half of another's work."""
        several = [Database(url.replace("postgresql:", "postgresql+psycopg:")) for _ in range(6)]
        together = threading.Barrier(len(several))

        def prepare(database: Database) -> None:
            together.wait(90)
            database.prepare()

        with ThreadPoolExecutor(len(several)) as pool:
            for done in [pool.submit(prepare, database) for database in several]:
                done.result(90)
        with several[0].reading() as db:
            assert db.exec_driver_sql("SELECT key, value FROM meta").all() == [("schema", "1")]
        for database in several:
            database.close()

    def test_a_batch_that_is_written_again_changes_nothing(self, url: str) -> None:
        """Neither what is known of a bin nor any history: the broker tells twice, and a server
        that crashed may or may not have kept what it committed."""
        database = Database(url.replace("postgresql:", "postgresql+psycopg:"))
        database.prepare()
        sorter = Sorter(limits=Limits(clock_ahead_s=3600, clock_behind_s=9e9))
        writer = Writer(database, identities=sorter.identities, max_bins=9, health_every_s=60)
        one, two = Bin(), Bin("b2", boot="2" * 12)
        said = [one.birth(), two.birth(), one.state(), one.state("degraded", "dark")]
        time.sleep(0.002)  # times of states have milliseconds
        said.append(one.state())
        said += [bin_.event(label) for label in ("glass", "metal", "paper") for bin_ in (one, two)]
        said += [one.event(outcome="empty", label=None, confidence=0, top=[]), one.health()]
        heard = [Heard(m.topic, m.payload, 1, 1, 1, True, time.time()) for m in said]
        batch = sorter.sort([*heard, heard[5]])
        first = writer.write(batch)
        assert (len(first.new), first.duplicates) == (7, 1)
        before = _content(database)
        assert {name: len(rows) for name, rows in before.items()} == {
            **{"bin": 2, "event": 7, "boot": 2},
            **{"state_log": 3, "health": 1},
        }
        assert sorted(row["judged"] for row in before["bin"]) == [3, 3]
        for _ in range(2):
            again = writer.write(batch)
            assert (len(again.new), again.duplicates) == (0, 8)
            assert _content(database) == before
            writer.forget()
        new = heard[6]._replace(payload=two.event().payload)
        late = sorter.sort([*heard[5:8], new])
        assert [row["seq"] for row in writer.write(late).new] == [4]
        assert sorted(row["judged"] for row in _content(database)["bin"]) == [3, 4]
        database.close()

    def test_nothing_is_acknowledged_before_it_is_stored(
        self, start: Start, voice: Voice, mosquitto: Mosquitto
    ) -> None:
        """A monitor that ends while bins speak finds the rest when it comes back."""
        first = start(extra="[watch]\nhot_c = 80\n")
        name = first.monitor._settings.monitor_name
        bin_ = Bin()
        voice.say(bin_.birth(), *[bin_.event() for _ in range(20)])
        self._wait(first, EVENTS, 20)
        first.close()
        voice.say(*[bin_.event() for _ in range(100)])
        again = start(extra='[log]\nlevel = "info"\n')
        assert again.scalar(EVENTS) == 20  # another name: another session
        again.close()
        monitor = self._named(first, name)
        self._wait(monitor, EVENTS, 120)
        monitor.close()

    @staticmethod
    def _named(like: RunningMonitor, name: str) -> RunningMonitor:
        assert like.monitor._settings.monitor_name == name
        return RunningMonitor(like.monitor._settings).wait_connected()

    def test_a_gap_is_asked_for_and_filled(self, start: Start, voice: Voice) -> None:
        """The bin is told which events are missing; when they come, all is complete."""
        monitor = start(extra="[watch]\ngap_wait_s = 0.3\n")
        bin_ = Bin()
        events = [bin_.event() for _ in range(10)]
        voice.say(bin_.birth(), bin_.state(), *events[:4], *events[7:])
        wait_for(lambda: voice.commands, what="a request")
        topic, body, message = voice.commands[0]
        assert topic == "bins/v1/s/b1/cmd/resend"
        assert (body["boot"], body["from"], body["to"]) == (bin_.boot, 5, 7)
        assert message.properties.ResponseTopic == "bins/v1/s/b1/answer/fleet"
        voice.answer(message, ok=True)
        voice.say(*events[4:7])
        wait_for(lambda: monitor.scalar("SELECT complete FROM boot") == 10, what="no gap")
        assert monitor.scalar("SELECT count(*) FROM gap") == 0

    def test_a_gap_that_cannot_be_filled_is_told(self, start: Start, voice: Voice) -> None:
        """The bin has the events no more: they are counted as lost, with an alert, once."""
        monitor = start(extra="[watch]\ngap_wait_s = 0.3\n")
        bin_ = Bin()
        events = [bin_.event() for _ in range(10)]
        voice.say(bin_.birth(), bin_.state(), *events[:4], *events[6:])
        wait_for(lambda: voice.commands, what="a request")
        voice.answer(voice.commands[0][2], ok=False)
        wait_for(
            lambda: monitor.scalar("SELECT complete FROM boot") == 10,
            what="giving up",
        )
        assert monitor.scalar("SELECT seq_to - seq_from + 1 FROM gap") == 2
        Alerts(monitor.monitor.database, bounds=BOUNDS).judge(now_ts=time.time())
        assert "gap" in monitor.monitor.queries.alert_counts()

    def test_a_replay_in_progress_is_no_gap(self, start: Start, voice: Voice) -> None:
        """While the bin's outbox is not empty, what is missing may still come by itself."""
        monitor = start(extra="[watch]\ngap_wait_s = 0.3\n")
        bin_ = Bin(capabilities=())
        events = [bin_.event() for _ in range(6)]
        voice.say(bin_.birth(), bin_.state(), bin_.health(outbox={"depth": 5}), events[0])
        voice.say(events[5])  # urgent, ahead of the rest
        self._wait(monitor, EVENTS, 2)
        time.sleep(3)
        assert not voice.commands and monitor.scalar("SELECT count(*) FROM gap") == 0
        voice.say(*events[1:5])
        wait_for(lambda: monitor.scalar("SELECT complete FROM boot") == 6, what="the replay")

    def test_a_broker_that_restarts_loses_nothing(self, start: Start, tmp_path: Path) -> None:
        """Mosquitto forgets shared subscriptions when it ends: what bins say before the monitor is
        back is acknowledged and gone. The bin's health names its last number, so that even the
        last event is missed, asked for, and stored."""
        folder = tmp_path / "broker"
        folder.mkdir()
        broker = Mosquitto(folder).start()
        monitor = start(port=broker.port, extra="[watch]\ngap_wait_s = 0.3\n")
        bin_ = Bin()
        voice = Voice(broker.port)
        voice.say(bin_.birth(), bin_.state(), *[bin_.event() for _ in range(10)])
        self._wait(monitor, EVENTS, 10)
        voice.close()
        broker.stop()
        wait_for(lambda: monitor.monitor.troubles(), what="the banner")
        assert "No broker" in monitor.monitor.troubles()[0]
        broker.start()
        voice = Voice(broker.port)
        lost = [bin_.event() for _ in range(10)]
        voice.say(*lost)
        wait_for(lambda: not monitor.monitor.troubles(), what="the banner to go")
        monitor.wait_connected(times=2)
        voice.say(bin_.birth(), bin_.state(), bin_.health())
        wait_for(lambda: monitor.scalar(EVENTS) == 20 or voice.commands, what="all, or a request")
        if voice.commands:
            body = voice.commands[0][1]
            voice.say(*lost[body["from"] - 11 : body["to"] - 10])
        self._wait(monitor, EVENTS, 20)
        wait_for(lambda: monitor.scalar("SELECT complete FROM boot") == 20, what="no gap")
        voice.close()
        monitor.close()
        broker.stop()

    def test_two_monitors_share_the_load(self, start: Start, voice: Voice) -> None:
        """Each event comes to one of them, both do some, and together they have all."""
        one, two = start(), start()
        bins = [Bin(f"b{n}", boot=f"{n:012x}") for n in range(20)]
        voice.say(*(bin_.birth() for bin_ in bins))
        voice.say(*(bin_.event() for _ in range(25) for bin_ in bins))
        self._wait(one, EVENTS, 500)

        def stored() -> list[float]:
            return [m.monitor.figures.events._value.get() for m in (one, two)]

        wait_for(lambda: sum(stored()) == 500, what="both to have counted")
        assert min(stored()) > 0, stored()  # the broker takes turns, whoever is the quicker
        wait_for(
            lambda: one.scalar("SELECT count(*) FROM boot WHERE complete = 25") == 20,
            what="complete numbers",
        )
        assert one.scalar("SELECT count(*) FROM state_log") == 0
        assert not voice.commands

    def test_bad_input_is_counted_and_the_good_goes_on(self, start: Start, voice: Voice) -> None:
        """Foreign, malformed, oversized, spoofed, of unknown versions, of a clock off by years."""
        monitor = start(extra="[watch]\nmax_bins = 2\n")
        good, spoofer = Bin(), Bin("b2")
        voice.say(good.birth(), spoofer.birth(), Bin("b3").birth())
        forged = Message("bins/v1/s/b2/event", good.event().payload, qos=1)
        voice.say(forged)
        voice.raw("bins/v1/s/b1/event", b"{broken")
        voice.raw("bins/v1/s/b1/event", b'{"v":7}')
        voice.raw("bins/v1/s/b1/event", b"x" * 20_000)
        voice.raw("bins/v1/s/#evil/event".replace("#", "%"), b"{}")
        voice.say(good.event(ts=1000.0))
        voice.say(good.event("metal"))
        self._wait(monitor, "SELECT count(*) FROM event WHERE label = 'metal'", 1)
        found = {row["reason"] for row in monitor.monitor.queries.rejects()}
        assert found == {
            "spoofed",
            "malformed",
            "schema",
            "oversized",
            "foreign",
            "clock",
            "too many",
        }
        assert monitor.scalar("SELECT count(*) FROM bin") == 2
        assert monitor.scalar("SELECT count(*) FROM event") == 2

    def test_hours_are_counted_and_the_old_goes(self, start: Start, voice: Voice) -> None:
        """Roll-ups agree with the events, late ones included, and outlive them."""
        monitor = start()
        bin_ = Bin()
        now_ts = time.time()
        old = [bin_.event("glass", ts=now_ts - 5 * 3600) for _ in range(30)]
        older = [bin_.event("metal", ts=now_ts - 30 * 86400) for _ in range(12)]
        voice.say(bin_.birth(), *old, *older)
        self._wait(monitor, EVENTS, 42)
        database = monitor.monitor.database
        accountant = Accountant(database, keep=Keep(event_days=20, health_days=1, rollup_days=99))
        wait_for(
            lambda: monitor.scalar("SELECT count(*) FROM dirty") == 0,
            what="counting",
        )
        assert monitor.scalar("SELECT sum(n) FROM rollup WHERE label = 'metal'") == 12
        voice.say(bin_.event("glass", ts=now_ts - 5 * 3600))  # late
        wait_for(
            lambda: monitor.scalar("SELECT sum(n) FROM rollup WHERE label = 'glass'") == 31,
            what="the late one",
        )
        assert accountant.forget(now_ts=now_ts + 25 * 86400) >= 43
        assert monitor.scalar(EVENTS) == 0
        assert monitor.scalar("SELECT sum(n) FROM rollup") == 43

    def test_alerts_open_with_a_reason_and_close(self, start: Start, voice: Voice) -> None:
        """Lost, hot, weak supply, full outbox; over when the bin is well."""
        monitor = start()
        bin_ = Bin()
        sick = {"temperature_c": 82.0, "throttled": 0x50005, "outbox": {"depth": 4000}}
        voice.say(bin_.birth(), bin_.state(), bin_.health(**sick))
        wait_for(lambda: self._bin(monitor)["temperature_c"] == 82.0, what="health")
        alerts = Alerts(monitor.monitor.database, bounds=BOUNDS)
        alerts.judge(now_ts=time.time())
        kinds = monitor.monitor.queries.alert_counts()
        assert set(kinds) == {"hot", "power", "throttled", "outbox"}
        voice.say(bin_.health(), bin_.state("lost", "the connection broke without a farewell"))
        wait_for(lambda: self._bin(monitor)["state"] == "lost", what="the last will")
        alerts.judge(now_ts=time.time())
        (row, *rest) = monitor.monitor.queries.alerts()
        assert row["kind"] == "lost" and not rest and row["about"].remedy
        log = monitor.monitor.queries.states_of(1)
        assert [entry["state"] for entry in log] == ["lost", "ready"]

    def test_a_database_that_goes_away_loses_nothing(
        self, start: Start, voice: Voice, outage: Callable[[], Any]
    ) -> None:
        """Messages wait at the broker; the page says so; then everything is stored."""
        monitor = start()
        bin_ = Bin()
        voice.say(bin_.birth(), *[bin_.event() for _ in range(10)])
        self._wait(monitor, EVENTS, 10)
        end = outage()
        voice.say(*[bin_.event() for _ in range(300)])
        wait_for(lambda: monitor.monitor.ingest.trouble, what="trouble")
        assert any("Nothing is stored" in text for text in monitor.monitor.troubles())
        end()
        self._wait(monitor, EVENTS, 310)
        wait_for(lambda: not monitor.monitor.ingest.trouble, what="no trouble", timeout_s=40)

    @staticmethod
    def _wait(monitor: RunningMonitor, sql: str, wanted: int) -> None:
        def there() -> bool:
            try:
                return bool(monitor.scalar(sql) == wanted)
            except Exception:
                return False  # the database is away; that is what some tests are about

        wait_for(there, what=f"{wanted} by {sql}")

    @staticmethod
    def _bin(monitor: RunningMonitor) -> Any:
        """The bin's row; before it is there, one that knows nothing."""
        return monitor.monitor.queries.bin("s", "b1") or dict.fromkeys(NOW)
