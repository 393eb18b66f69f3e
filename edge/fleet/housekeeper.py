"""The work beside storing: gaps, alerts, counts, drift, retention; by one monitor at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from edge.fleet.database import Database
from edge.fleet.figures import Figures

log = logging.getLogger(__name__)

TICK_S = 1.0
LEASE_S = 30.0
LEASE_NAME = "housekeeping"


@dataclass(slots=True)
class Task:
    """One piece of work and how often it is due."""

    name: str
    work: Callable[[float], int]  # takes the time; how much was done, to go on at once where more
    every_s: float
    due_s: float = 0.0


class Housekeeper:
    """Runs tasks in a thread of its own, as long as it holds the lease."""

    def __init__(
        self, database: Database, *, holder: str, figures: Figures, tasks: list[Task]
    ) -> None:
        self._database = database
        self._holder = holder
        self._figures = figures
        self._tasks = tasks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-housekeeper", daemon=True)
        self._held_until_s = 0.0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End, and let another monitor go on at once; idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            try:
                if self._holds_lease():
                    self._work()
            except sa.exc.SQLAlchemyError as error:
                log.warning("fleet: housekeeping waits: %s", str(error).splitlines()[0])
            except Exception:
                log.exception("fleet: a fault in housekeeping; it goes on")
        try:
            self._database.release(LEASE_NAME, self._holder)
        except sa.exc.SQLAlchemyError:
            log.info("fleet: the lease runs out by itself")

    def _holds_lease(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._held_until_s - LEASE_S / 2:
            return True
        held = self._database.hold(LEASE_NAME, self._holder, now_ts=time.time(), for_s=LEASE_S)
        self._held_until_s = now_s + LEASE_S if held else 0.0
        return held

    def _work(self) -> None:
        for task in self._tasks:
            now_s = time.monotonic()
            if now_s < task.due_s or self._stop.is_set():
                continue
            task.due_s = now_s + task.every_s
            with self._figures.housekeeping.labels(task.name).time():
                task.work(time.time())
