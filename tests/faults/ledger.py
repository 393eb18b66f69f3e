"""The books of the fault suite: what was decided, what arrived, and the table of both."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import ROOT

DOC = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- table: written by the suite -->", "<!-- end of the table -->"
Id = tuple[str, int]  # boot, seq

# Every fault of the suite, in the order of the table.
FAULTS = (
    "killed at random moments, 20 times",
    "killed at random moments, 200 times",
    "torn end of the outbox's log",
    "torn last page of the outbox",
    "disk full, then freed",
    "disk turns read-only",
    "disk read-only at start",
    "broker absent at start",
    "broker restarted",
    "broker wiped",
    "broker refuses the password",
    "half-open connection",
    "round trip of 300 ms",
    "round trip of 1 s",
    "certificate expired",
    "certificate not yet valid",
    "name not resolved",
    "clock jumps years ahead",
    "clock jumps years back",
    "camera absent",
    "camera hung",
    "camera unplugged mid-frame",
    "camera black",
    "camera frozen on one frame",
    "camera slower than the trigger",
    "1,000 trigger commands at once",
    "commands without end",
    "model file truncated",
    "model file swapped",
    "reload of a broken configuration",
    "SIGTERM in the middle of an item",
    "SIGTERM with camera hung and broker half-open",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    fault: str
    sees: str  # a line of the real log, or what a real message said
    decided: int
    received: int
    lost: int
    duplicates: int


ROWS: dict[str, Row] = {}


@dataclass
class Books:
    """Everything that is known of the events of one test, from three independent witnesses."""

    logged: set[Id] = field(default_factory=set)  # `item N` of the logs
    stored: set[Id] = field(default_factory=set)  # seen in the outbox file
    arrived: list[tuple[Id, bytes]] = field(default_factory=list)  # at the subscriber

    @property
    def received(self) -> set[Id]:
        return {id_ for id_, _ in self.arrived}

    @property
    def decided(self) -> set[Id]:
        """1 to the highest number that any witness knows, of each boot: numbers have no gaps."""
        last: dict[str, int] = {}
        for boot, seq in self.logged | self.stored | self.received:
            last[boot] = max(seq, last.get(boot, 0))
        return {(boot, seq) for boot, end in last.items() for seq in range(1, end + 1)}

    @property
    def lost(self) -> set[Id]:
        return self.decided - self.received

    def check_duplicates(self) -> int:
        """Count them; the same id always has the same payload."""
        assert len(set(self.arrived)) == len(self.received), "one id, two payloads"
        return len(self.arrived) - len(self.received)


def enter(fault: str, sees: str, books: Books) -> Row:
    """Put a row into the table; the books must balance."""
    assert fault in FAULTS, fault
    lost = books.lost
    assert not lost, f"{fault}: lost {sorted(lost)[:10]} of {len(books.decided)}"
    duplicates = books.check_duplicates()
    ROWS[fault] = Row(fault, sees, len(books.decided), len(books.received), 0, duplicates)
    return ROWS[fault]


def items_logged(log: str) -> set[Id]:
    """The ids of the decisions that a log tells of; one boot a log."""
    boot = re.search(r"smartbin .*, boot (\w+)$", log, re.MULTILINE)
    if not boot:
        return set()
    return {(boot[1], int(n)) for n in re.findall(r" INFO item (\d+)\b", log)}


def events_stored(outbox: Path) -> set[Id]:
    """The ids in an outbox file, read from a copy: the daemon must find it as it was left."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            source = outbox.with_name(outbox.name + suffix)
            if source.exists():
                shutil.copy(source, Path(folder) / f"o.db{suffix}")
        db = sqlite3.connect(Path(folder) / "o.db")
        try:
            rows = db.execute("SELECT payload FROM event").fetchall()
        except sqlite3.OperationalError:  # killed before the table was made
            rows = []
        db.close()
    return {id_of(payload) for (payload,) in rows}


def line_of(log: str, pattern: str) -> str:
    """The first line of a log that matches, as a person reads it: without time, port and path."""
    for line in log.splitlines():
        if re.search(pattern, line):
            return plain(re.sub(r"^[\d\-]+ [\d:,]+ ", "", line))
    raise AssertionError(f"no line of the log matches {pattern!r}:\n{log[-3000:]}")


def plain(text: str) -> str:
    """What differs from run to run, by its name."""
    text = re.sub(r"(127\.0\.0\.1|localhost|[\w.]+\.test):\d+", r"\1:PORT", text)
    text = re.sub(r"/tmp/[^\s:;)]*/", "", text)
    return re.sub(r"\.damaged-\d+", ".damaged-TIME", text)


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    head = "| fault | what the user sees | events decided | received | lost | duplicates |"
    lines = [head, "|---|---|--:|--:|--:|--:|"]
    for row in rows:
        sees = row.sees.replace("|", "\\|")
        figures = f"{row.decided} | {row.received} | {row.lost} | {row.duplicates}"
        lines.append(f"| {row.fault} | `{sees}` | {figures} |")
    return "\n".join(lines)


def write_table() -> str:
    """Into the document, once every fault has its row; returns what became of it."""
    missing = [fault for fault in FAULTS if fault not in ROWS]
    if missing:
        return f"{DOC.name} is left as it is: no row for {', '.join(missing)}"
    before, rest = DOC.read_text().split(BEGIN)
    after = rest.split(END)[1]
    rows = table(ROWS[fault] for fault in FAULTS)
    DOC.write_text(f"{before}{BEGIN}\n{rows}\n{END}{after}")
    return f"{DOC.name}: {len(ROWS)} rows written"


def id_of(payload: bytes) -> Id:
    """Which event this is."""
    event: dict[str, Any] = json.loads(payload)
    return str(event["boot"]), int(event["seq"])
