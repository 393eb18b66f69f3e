"""`smartbin fleet`: builds the parts from the settings and runs them until asked to stop.

Threads: paho's (subscriber.py), one that stores (ingest.py), one that keeps house
(housekeeper.py), and uvicorn's with its pool for the page.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, SmartbinError
from edge.fleet.alerts import Alerts, Bounds
from edge.fleet.batch import Sorter
from edge.fleet.cards import read_cards
from edge.fleet.database import Database
from edge.fleet.drift_watch import DriftWatch
from edge.fleet.figures import Figures
from edge.fleet.flusher import Disks
from edge.fleet.gaps import GapKeeper
from edge.fleet.housekeeper import Housekeeper, Task
from edge.fleet.ingest import Ingest
from edge.fleet.intake import Limits
from edge.fleet.page import Access, Page
from edge.fleet.pictures import Shelf
from edge.fleet.queries import Queries
from edge.fleet.rollup import Accountant, Keep
from edge.fleet.server import Server
from edge.fleet.settings import Settings, broker_of
from edge.fleet.subscriber import Subscriber, subscriptions
from edge.fleet.users import Users
from edge.fleet.views import DriftTold
from edge.fleet.writer import Writer
from edge.notify import Notifier

log = logging.getLogger(__name__)

COMMAND_EXPIRES_S = 30
CHECK_S = 0.5


class Monitor:
    """`run` returns when `stop` was called; raises SmartbinError where a part cannot start."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self.figures = Figures()
        self.database = Database(settings.database_url, durable=settings.store.durable)
        self.database.prepare()
        self.queries = Queries(self.database)
        self.users = users_of(settings, self.database)
        self.shelf = shelf_of(settings, self.database)
        self._cards = read_cards(settings.drift.cards)
        self.ingest = self._ingest()
        self.subscriber = self._subscriber()
        self.housekeeper = Housekeeper(
            self.database,
            holder=f"{settings.monitor_name} {id(self):x}",
            figures=self.figures,
            tasks=self._tasks(),
        )
        self.figures.broker_up.set_function(lambda: float(self.subscriber.connected))
        self.figures.watch_fleet(
            states=self.queries.states,
            alerts=self.queries.alert_counts,
            totals=self.queries.totals,
            now=time.time,
        )
        self.server = self._server() if settings.page.enabled else None

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler."""
        self._stop.set()

    def run(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Work until stopped. `ready` is called when everything has been started."""
        notifier = Notifier()
        log.info("fleet: storing into %s as %s", self.database.shown, self._settings.monitor_name)
        try:
            self.ingest.start()
            self.subscriber.start()
            self.housekeeper.start()
            if self.server:
                self.server.start()
                self._tell_address()
            notifier.ready("storing")
            ready()
            while not self._stop.wait(CHECK_S):
                self._check_threads()
                notifier.progress()
        finally:
            notifier.stopping()
            self._end()

    def _end(self) -> None:
        """The mirror of the start: nothing new comes in, what is here is stored."""
        if self.server:
            self.server.stop()
        self.housekeeper.stop()
        self.ingest.stop()
        self.subscriber.stop()
        self.database.close()

    def _check_threads(self) -> None:
        """A thread that is gone will not come back by itself: end, and systemd starts us anew."""
        for name, part in (("writer", self.ingest), ("mqtt", self.subscriber)):
            if not part.alive:
                raise SmartbinError(f"fleet: the {name} thread has ended; see the log above")
        if self.server and not self.server.alive:
            raise SmartbinError("fleet: the page has ended; see the log above")

    def _tell_address(self) -> None:
        assert self.server
        log.info("fleet: the page is at %s", self.server.address)
        if not self.users.all():
            log.warning("fleet: nobody can log in yet; smartbin fleet user add NAME")

    def troubles(self) -> list[str]:
        """What is wrong with the monitor itself, for the page's banner and /healthz."""
        found = []
        if self.subscriber.trouble:
            found.append(f"No broker: {self.subscriber.trouble}. What is shown is old.")
        if self.ingest.trouble:
            found.append(f"Nothing is stored: {self.ingest.trouble}. Messages wait at the broker.")
        return found

    def _ingest(self) -> Ingest:
        settings = self._settings
        limits = Limits(
            clock_ahead_s=settings.watch.clock_ahead_s,
            clock_behind_s=settings.watch.clock_behind_days * 86400,
        )
        sorter = Sorter(limits=limits)
        writer = Writer(
            self.database,
            identities=sorter.identities,
            max_bins=settings.watch.max_bins,
            health_every_s=settings.store.health_every_s,
            put_picture=self.shelf.put if settings.pictures.keep else None,
        )
        durable = settings.store.durable
        return Ingest(
            sorter=sorter,
            writer=writer,
            figures=self.figures,
            acknowledge=lambda messages: self.subscriber.acknowledge(messages),
            disk=Disks(self.shelf, self.database.disk()) if durable else self.database.disk(),
            batch_rows=settings.store.batch_rows,
            linger_s=settings.store.linger_ms / 1000,
            max_waiting=2 * settings.mqtt.in_flight,
        )

    def _subscriber(self) -> Subscriber:
        mqtt = self._settings.mqtt
        return Subscriber(
            broker=broker_of(self._settings),
            client_id=f"smartbin-fleet/{self._settings.monitor_name}",
            topics=subscriptions(mqtt.group, mqtt.site, pictures=self._settings.pictures.keep),
            in_flight=mqtt.in_flight,
            session_s=round(mqtt.session_hours * 3600),
            on_message=self.ingest.take,
        )

    def _tasks(self) -> list[Task]:
        settings = self._settings
        gaps = GapKeeper(self.database, ask=self._ask, wait_s=settings.watch.gap_wait_s)
        accountant = Accountant(
            self.database,
            keep=Keep(
                event_days=settings.store.event_days,
                health_days=settings.store.health_days,
                rollup_days=settings.store.rollup_days,
            ),
        )
        watch, drift = settings.watch, settings.drift
        alerts = Alerts(
            self.database,
            bounds=Bounds(
                silent_s=watch.silent_s,
                hot_c=watch.hot_c,
                outbox_events=watch.outbox_events,
                latency_ms=watch.latency_ms,
                abstain_frac=watch.abstain_frac,
            ),
        )
        looks = DriftWatch(
            self.database,
            cards=self._cards,
            window=drift.window,
            least_psi=drift.least_psi,
            card_drop=drift.card_drop,
        )
        gap_every_s = min(5.0, watch.gap_wait_s)
        return [
            Task("gaps", lambda ts: gaps.keep(now_ts=ts), gap_every_s),
            Task("drift", lambda ts: looks.look(now_ts=ts), 5.0),
            Task("hours", lambda ts: accountant.count_hours(now_ts=ts), 2.0),
            Task("alerts", lambda ts: alerts.judge(now_ts=ts), 10.0),
            Task("retention", lambda ts: accountant.forget(now_ts=ts), 30.0),
            Task("log", lambda ts: self.database.fold(), 3.0),
            Task("pictures", lambda ts: self.shelf.forget_old(now_ts=ts), 30.0),
        ]

    def _ask(self, site: str, name: str, body: dict[str, Any]) -> bool:
        root = f"bins/v1/{site}/{name}"
        sent = self.subscriber.publish(
            f"{root}/cmd/resend",
            json.dumps(body, separators=(",", ":")).encode(),
            answer_to=f"{root}/answer/fleet",
            correlation=str(body["boot"]).encode(),
            expires_s=COMMAND_EXPIRES_S,
        )
        if sent:
            self.figures.resends.inc()
        return sent

    def _server(self) -> Server:
        page, drift = self._settings.page, self._settings.drift
        https = bool(page.cert_file) or page.behind_proxy
        access = Access(
            https=https,
            metrics_token=read_token(page.metrics_token_file),
            behind_proxy=page.behind_proxy,
        )
        site = Page(
            database=self.database,
            users=self.users,
            shelf=self.shelf,
            figures=self.figures,
            access=access,
            trouble=self.troubles,
            drift=DriftTold(
                cards=self._cards,
                window=drift.window,
                least_psi=drift.least_psi,
                card_drop=drift.card_drop,
            ),
        )
        return Server(site.app(), options=page)


def users_of(settings: Settings, database: Database) -> Users:
    """People who may log in."""
    return Users(database, session_s=settings.page.session_hours * 3600)


def shelf_of(settings: Settings, database: Database) -> Shelf:
    """Where pictures are kept."""
    pictures = settings.pictures
    return Shelf(
        database,
        folder=settings.picture_folder,
        keep=pictures.keep,
        max_bytes=round(pictures.max_mb * 1e6),
        days=pictures.days,
        durable=settings.store.durable,
    )


def read_token(file: str) -> str:
    """The bearer token of /metrics; raises ConfigError naming the file."""
    if not file:
        return ""
    path = Path(file)
    try:
        if path.stat().st_mode & 0o077:
            fault = f"page.metrics_token_file: {path}: others can read it; run: chmod 600 {path}"
            raise ConfigError([fault])
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"page.metrics_token_file: {path}: cannot be read ({error})"]) from error
    if len(token) < 16:
        raise ConfigError([f"page.metrics_token_file: {path}: a token has 16 characters or more"])
    return token
