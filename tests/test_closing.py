"""The end: what one part raises keeps no other from being closed, and is not lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.closing import close_all
from edge.config import Config, load_config
from edge.daemon import Daemon
from edge.errors import CameraError
from edge.parts import hold_outbox, outbox_of

Write = Callable[..., Path]


def raising(error: Exception) -> Callable[..., None]:
    def close(*_: object) -> None:
        raise error

    return close


def test_every_close_is_called_and_the_first_fault_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In order, each fault with its traceback in the log."""
    called: list[str] = []
    first, second = OSError("the first"), ValueError("the second")
    closes = [lambda: called.append("a"), raising(first), raising(second)]
    assert close_all([*closes, lambda: called.append("b")]) is first
    assert called == ["a", "b"] and close_all([]) is None
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


@pytest.fixture
def daemon(write_config: Write) -> Daemon:
    """Without a broker, and asked to stop before its first frame."""
    stop = threading.Event()
    stop.set()
    return Daemon(load_config(write_config(1)), stop=stop)


def last_state(config: Config) -> dict[str, Any]:
    """The newest event that waits for a broker; opening the outbox needs it closed and free."""
    held = hold_outbox(config)
    assert held
    outbox = outbox_of(config)
    newest = outbox.waiting(limit=100, but=())[-1]
    outbox.close()
    held.close()
    state: dict[str, Any] = json.loads(newest.message.payload)
    return state


@pytest.mark.parametrize("part", ["_mind", "_pictures", "_capture"])
def test_a_part_that_fails_at_the_end_keeps_no_other_open(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The farewell is recorded, outbox and lock are free; then the fault ends the daemon."""
    config = daemon._mind.config
    monkeypatch.setattr(getattr(daemon, part), "close", raising(OSError("cannot be closed")))
    with pytest.raises(OSError, match="cannot be closed"):
        daemon.run()
    told = last_state(config)
    assert (told["state"], told["reason"]) == ("stopped", "asked to stop")


def test_what_ended_the_daemon_is_told_and_not_what_failed_after_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera's sentence reaches the user; what could not be closed then stands in the log."""
    config = daemon._mind.config
    monkeypatch.setattr(daemon._watch, "start", raising(CameraError("no camera at all")))
    monkeypatch.setattr(daemon._pictures, "close", raising(OSError("cannot be closed")))
    with pytest.raises(CameraError, match="no camera at all"):
        daemon.run()
    assert last_state(config)["reason"] == "no camera at all"


def test_a_record_that_fails_leaves_no_connection_and_no_outbox_open(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last word comes before the connection's end and the outbox's: all three are tried."""
    closed: list[str] = []
    voice = daemon._voice
    monkeypatch.setattr(voice.reporter, "report_state", raising(OSError("the last word")))
    monkeypatch.setattr(voice.link, "stop", lambda *_, **__: closed.append("link"))
    monkeypatch.setattr(voice.outbox, "close", lambda: closed.append("outbox"))
    with pytest.raises(OSError, match="the last word"):
        daemon.run()
    assert closed == ["link", "outbox"]
