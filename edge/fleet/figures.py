"""Figures of the monitor's own work, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

LAGS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Figures:
    """Counters that the threads of one monitor raise; a registry of its own, for tests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.messages = Counter(
            "smartbin_fleet_messages", "Messages heard, by kind.", ["kind"], registry=registry
        )
        self.events = Counter(
            "smartbin_fleet_events_stored", "Events stored for the first time.", registry=registry
        )
        self.duplicates = Counter(
            "smartbin_fleet_events_repeated", "Events that were stored before.", registry=registry
        )
        self.decisions = Counter(
            "smartbin_fleet_decisions",
            "Decisions heard, by outcome and class.",
            ["outcome", "label"],
            registry=registry,
        )
        self.rejects = Counter(
            "smartbin_fleet_rejects", "Messages not believed.", ["reason"], registry=registry
        )
        self.lag = Histogram(
            "smartbin_fleet_ingest_lag_seconds",
            "From a message's arrival at the monitor to its commit.",
            buckets=LAGS_S,
            registry=registry,
        )
        self.kept = Histogram(
            "smartbin_fleet_acknowledge_lag_seconds",
            "From a message's arrival at the monitor until the disk has it and the broker knows.",
            buckets=LAGS_S,
            registry=registry,
        )
        self.age = Histogram(
            "smartbin_fleet_event_age_seconds",
            "From a decision, by the bin's clock, to its commit.",
            buckets=LAGS_S,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "smartbin_fleet_batch_messages",
            "Messages in one transaction.",
            buckets=(1, 10, 50, 100, 250, 500, 1000, 2500, 5000),
            registry=registry,
        )
        self.failures = Counter(
            "smartbin_fleet_store_failures", "Transactions that failed.", registry=registry
        )
        self.store_up = Gauge(
            "smartbin_fleet_store_up", "Whether the last transaction succeeded.", registry=registry
        )
        self.broker_up = Gauge(
            "smartbin_fleet_broker_up", "Whether the broker has let us in.", registry=registry
        )
        self.waiting = Gauge(
            "smartbin_fleet_waiting_messages", "Heard and not stored yet.", registry=registry
        )
        self.resends = Counter(
            "smartbin_fleet_resends_asked", "Requests for events again.", registry=registry
        )
        self.housekeeping = Histogram(
            "smartbin_fleet_housekeeping_seconds",
            "Time of one housekeeping task.",
            ["task"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120),
            registry=registry,
        )
        self.page = Histogram(
            "smartbin_fleet_page_seconds",
            "Time of one answer of the page.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 5),
            registry=registry,
        )

    def text(self) -> bytes:
        """What Prometheus scrapes."""
        return generate_latest(self.registry)

    def watch_fleet(
        self,
        *,
        states: Callable[[], Mapping[str, int]],
        alerts: Callable[[], Mapping[str, int]],
        totals: Callable[[], Mapping[str, Any]],
        now: Callable[[], float],
    ) -> None:
        """Add gauges that are asked of the database at each scrape."""
        self.registry.register(_Fleet(states, alerts, totals, now))


class _Fleet:
    """Gauges of the whole fleet; one for each bin would be too many for Prometheus."""

    def __init__(
        self,
        states: Callable[[], Mapping[str, int]],
        alerts: Callable[[], Mapping[str, int]],
        totals: Callable[[], Mapping[str, Any]],
        now: Callable[[], float],
    ) -> None:
        self._states, self._alerts, self._totals, self._now = states, alerts, totals, now

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead of time: the database may not be there yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the database."""
        bins = GaugeMetricFamily("smartbin_fleet_bins", "Bins by state.", labels=["state"])
        for state, n in self._states().items():
            bins.add_metric([state], n)
        yield bins
        open_ = GaugeMetricFamily("smartbin_fleet_alerts_open", "Open alerts.", labels=["kind"])
        for kind, n in self._alerts().items():
            open_.add_metric([kind], n)
        yield open_
        totals = self._totals()
        oldest_ts = totals["oldest_health"]
        for name, text, value in (
            ("outbox_events", "Events that wait in bins.", totals["outbox"]),
            ("hottest_celsius", "Temperature of the hottest bin.", totals["hottest"]),
            ("bins_throttled", "Bins with a throttling or supply flag.", totals["throttled"]),
            ("slowest_p99_milliseconds", "p99 latency of the slowest bin.", totals["slowest"]),
            ("events_lost", "Events that will never come.", totals["lost"]),
            (
                "oldest_health_age_seconds",
                "Age of the oldest last health of a bin.",
                self._now() - oldest_ts if oldest_ts else 0,
            ),
        ):
            yield GaugeMetricFamily(f"smartbin_fleet_{name}", text, value=float(value or 0))
