"""Events survive on disk until the broker has acknowledged them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.outbox import IN_FLIGHT, Outbox, Postman
from edge.values import Message
from tests.conftest import ROOT


def event(number: int) -> Message:
    return Message("bins/v1/s/b/event", str(number).encode(), qos=1)


def payloads(outbox: Outbox) -> list[int]:
    return [int(s.message.payload) for s in outbox.waiting(after_row=0, limit=10**6)]


class StubLink:
    """A link that takes everything, or nothing, and never answers by itself."""

    def __init__(self) -> None:
        self.connection, self.connected = 1, True
        self.sent: list[int] = []

    def publish(self, message: Message) -> int | None:
        if not self.connected:
            return None
        self.sent.append(int(message.payload))
        return len(self.sent)


def test_events_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    """Closing and opening the file changes nothing."""
    outbox = Outbox(tmp_path / "o.db", max_events=1000)
    for number in range(5):
        outbox.add(event(number))
    outbox.close()
    again = Outbox(tmp_path / "o.db", max_events=1000)
    assert payloads(again) == [0, 1, 2, 3, 4] and again.depth == 5


def test_oldest_events_go_first_when_it_is_full_and_are_counted(tmp_path: Path) -> None:
    """The bound holds, and nobody is deceived about it."""
    outbox = Outbox(tmp_path / "o.db", max_events=100)
    for number in range(130):
        outbox.add(event(number))
    assert outbox.depth == 100 and outbox.overflowed == 30
    assert payloads(outbox) == list(range(30, 130))


def test_event_leaves_only_after_the_acknowledgement(tmp_path: Path) -> None:
    """Sent is not delivered."""
    outbox, link = Outbox(tmp_path / "o.db", max_events=1000), StubLink()
    postman = Postman(outbox)
    outbox.add(event(1))
    postman.pump(link)  # type: ignore[arg-type]
    assert link.sent == [1] and outbox.depth == 1
    postman.acknowledge(1, 1, True)
    postman.pump(link)  # type: ignore[arg-type]
    assert outbox.depth == 0 and link.sent == [1]


def test_unacknowledged_events_are_sent_again_at_the_next_connection(tmp_path: Path) -> None:
    """A late acknowledgement of the old connection does not delete the wrong event."""
    outbox, link = Outbox(tmp_path / "o.db", max_events=1000), StubLink()
    postman = Postman(outbox)
    for number in (1, 2):
        outbox.add(event(number))
    postman.pump(link)  # type: ignore[arg-type]
    link.connection = 2
    postman.acknowledge(1, 2, True)
    postman.pump(link)  # type: ignore[arg-type]
    assert link.sent == [1, 2, 1, 2] and outbox.depth == 2


def test_refused_event_stays_on_disk(tmp_path: Path) -> None:
    """An ACL that forbids the topic loses nothing; the refusal is counted."""
    outbox, link = Outbox(tmp_path / "o.db", max_events=1000), StubLink()
    postman = Postman(outbox)
    outbox.add(event(1))
    postman.pump(link)  # type: ignore[arg-type]
    postman.acknowledge(1, 1, False)
    postman.pump(link)  # type: ignore[arg-type]
    assert outbox.depth == 1 and postman.refused == 1 and link.sent == [1]


def test_replay_is_paced(tmp_path: Path) -> None:
    """However many wait, only a few are on the way at a time."""
    outbox, link = Outbox(tmp_path / "o.db", max_events=1000), StubLink()
    postman = Postman(outbox)
    for number in range(200):
        outbox.add(event(number))
    postman.pump(link)  # type: ignore[arg-type]
    postman.pump(link)  # type: ignore[arg-type]
    assert link.sent == list(range(IN_FLIGHT))


def test_killed_process_loses_no_event(tmp_path: Path) -> None:
    """What add() returned for is there after SIGKILL."""
    code = (
        "import sys; from pathlib import Path; from edge.outbox import Outbox;"
        "from edge.values import Message;"
        "o = Outbox(Path(sys.argv[1]), max_events=10**6); n = 0\n"
        "while True:\n o.add(Message('t', str(n).encode())); print(n, flush=True); n += 1"
    )
    path = tmp_path / "o.db"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout
    last = 0
    while last < 300:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    last = max([last, *map(int, rest)])
    process.wait(5)
    stored = payloads(Outbox(path, max_events=10**6))
    assert stored[: last + 1] == list(range(last + 1))


def test_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """The remedy names the option."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"cannot be opened .* set outbox\.path"):
        Outbox(tmp_path / "file" / "o.db", max_events=1000)


def test_full_disk_is_a_sentence() -> None:
    """A store that fails says so and stays usable."""
    outbox = Outbox(Path("/dev/shm") / f"smartbin-full-{os.getpid()}.db", max_events=10**6)
    try:
        outbox._db.execute("PRAGMA max_page_count=8")  # SQLite's own stand-in for a full disk
        with pytest.raises(OutboxError, match=r"cannot store .*full"):
            for number in range(10_000):
                outbox.add(event(number))
        assert payloads(outbox)[:2] == [0, 1]
    finally:
        outbox.close()
        for path in Path("/dev/shm").glob(f"smartbin-full-{os.getpid()}.db*"):
            path.unlink()
