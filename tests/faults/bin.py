"""A bin under test: daemons that follow one another over one outbox, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults import ledger
from tests.faults.ledger import Books, Id
from tests.faults.monitor import ROOT_TOPIC, Monitor
from tests.harness import ROOT, RunningDaemon, wait_for


class BinProcess(RunningDaemon):
    """`smartbin run` in a process of its own, each with its own log."""

    def __init__(self, command: Sequence[str], log_file: Path, environment: dict[str, str]) -> None:
        self.log_file = log_file
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stderr=log, env={**os.environ, **environment}
            )


class Bin:
    """Its folder holds the configuration, the outbox and the logs of all its daemons."""

    def __init__(self, config: Path, monitor: Monitor | None) -> None:
        self.config = config
        self.folder = config.parent
        self.outbox = config.parent / "outbox.db"
        self.monitor = monitor
        self.runs: list[BinProcess] = []
        self._seen_stored: set[Id] = set()
        self._seen_logged: set[Id] = set()  # by daemons that have ended

    def configure(self, section: str, **settings: Any) -> None:
        """Put settings at the top of a section; those already there are replaced."""
        text = self.config.read_text()
        head, mark, rest = text.partition(f"[{section}]\n")
        assert mark, section
        body, bracket, tail = rest.partition("\n[")
        for key in settings:
            body = re.sub(rf"^{key} = .*\n?", "", body, flags=re.MULTILINE)
        rows = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        self.config.write_text(head + mark + rows + body + bracket + tail)

    def start(
        self,
        *,
        prefix: Sequence[str] = (),
        faults: dict[str, Any] | None = None,
        **environment: str,
    ) -> BinProcess:
        if self.runs:
            self._seen_logged |= ledger.items_logged(self.log)
        module = "edge.cli" if faults is None else "tests.faults.launch"
        if faults is not None:
            environment["FAULTS"] = json.dumps(faults)
        command = [*prefix, sys.executable, "-m", module, "run", "--config", str(self.config)]
        log_file = self.folder / f"run-{len(self.runs) + 1}.log"
        self.runs.append(BinProcess(command, log_file, environment))
        return self.runs[-1]

    @property
    def daemon(self) -> BinProcess:
        return self.runs[-1]

    @property
    def log(self) -> str:
        """Of the present daemon."""
        return self.daemon.log

    @property
    def items(self) -> int:
        """Decisions that the present daemon has logged."""
        return self.log.count(" INFO item ")

    def wait_items(self, more: int, timeout_s: float = 90.0) -> None:
        goal = self.items + more
        what = f"{more} more decisions"
        wait_for(lambda: self.items >= goal, what=what, timeout_s=timeout_s)

    def wait_log(self, part: str, timeout_s: float = 90.0) -> None:
        wait_for(lambda: part in self.log, what=f"{part!r} in the log", timeout_s=timeout_s)

    def kill(self) -> None:
        """SIGKILL, and note what lies in the outbox."""
        self.daemon.send(signal.SIGKILL)
        self.daemon.wait()
        self.look_at_outbox()

    def look_at_outbox(self) -> None:
        if self.outbox.exists():
            self._seen_stored |= ledger.events_stored(self.outbox)

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM; returns the exit code."""
        self.daemon.send(signal.SIGTERM)
        return self.daemon.wait(timeout_s)

    def books(self) -> Books:
        """What all witnesses know by now."""
        assert self.monitor
        logged = self._seen_logged | ledger.items_logged(self.log)
        return Books(logged, set(self._seen_stored), list(self.monitor.events))

    def close_books(self, timeout_s: float = 90.0) -> Books:
        """Wait for what is on its way, stop the daemon where it still runs, and balance."""
        if self.daemon.alive():
            self._arrived(timeout_s)
            assert self.stop() == 0, self.log[-3000:]
        assert "Traceback" not in "".join(run.log for run in self.runs)
        return self._arrived(timeout_s)

    def _arrived(self, timeout_s: float) -> Books:
        """Wait for what is known by now; a bin that goes on always has something on its way."""
        books = self.books()
        what = f"events like {sorted(books.lost)[:5]}"
        wait_for(lambda: self._complete(books), what=what, timeout_s=timeout_s)
        return books

    def _complete(self, books: Books) -> bool:
        assert self.monitor
        books.arrived = list(self.monitor.events)
        return not books.lost

    def settle(self, timeout_s: float = 90.0) -> None:
        """Pause, and wait until the monitor has everything, the pause included."""
        monitor = self.monitor
        assert monitor
        monitor.send(f"{ROOT_TOPIC}/cmd/pause")
        self.wait_log("command pause: paused")
        wait_for(
            lambda: any(b"paused by a command" in payload for _, payload in monitor.events),
            what="the event of the pause",
            timeout_s=timeout_s,
        )
        wait_for(lambda: not self.books().lost, what="the events before", timeout_s=timeout_s)

    def was_degraded(self, why: str) -> bool:
        """Whether the record that arrived tells of a state degraded for this reason."""
        assert self.monitor
        events = [json.loads(payload) for _, payload in self.monitor.events]
        return any(e.get("state") == "degraded" and why in e["reason"] for e in events)

    def close(self) -> None:
        for run in self.runs:
            run.close()
