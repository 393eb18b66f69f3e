"""Updates on a running daemon, beside a real broker and a real web server."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.update.rollout import Wish
from tests import updates
from tests.harness import Listener, Mosquitto, RunningDaemon, wait_for
from tests.test_daemon import payloads, publish
from tests.test_wire import check_payload

pytestmark = pytest.mark.mosquitto
Write = Callable[..., Path]
Listen = Callable[..., Listener]
Run = Callable[..., RunningDaemon]
TOPIC = "bins/v1/test/b1"


class Fleet:
    """A repository, and the lines that make a daemon follow it."""

    def __init__(self, folder: Path, server: updates.Server) -> None:
        self.folder, self.server = folder, server
        self.repository = updates.begin(folder / "web")

    def release(self, version: int, **changed: object) -> None:
        self.repository.release(updates.tiny_bundle(self.folder / "made", version, **changed))

    def section(self, shadow: int = 6, trial: int = 6) -> str:
        return f"""
[update]
url = "{self.server.url}"
root = "{self.folder / "web" / "root.json"}"
bundle = "tiny"
store = "{self.folder / "store"}"
shadow_items = {shadow}
trial_items = {trial}
retry_s = 0.1
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        yield Fleet(tmp_path, server)


def steps(listener: Listener) -> list[dict[str, Any]]:
    return [e for e in payloads(listener.of("event")) if e["type"] == "model"]


def phases(listener: Listener) -> list[str]:
    return [step["phase"] for step in steps(listener)]


def decisions(listener: Listener) -> list[dict[str, Any]]:
    return [e for e in payloads(listener.of("event")) if e["type"] == "decision"]


def test_a_wish_changes_the_model_between_two_items(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run, fleet: Fleet
) -> None:
    """No gap in the record, none late because of it, the new model named from then on."""
    fleet.release(4)
    listener = listen(mosquitto.port, "bins/#")
    run_daemon(write_config(mosquitto.port, extra=fleet.section()))
    wait_for(lambda: decisions(listener), what="decisions", timeout_s=120)
    wish = Wish(4).message("default")
    publish(mosquitto.port, wish.topic, wish.payload.decode(), "-r", "-q", "1")
    wait_for(lambda: "confirmed" in phases(listener), what="a confirmed model", timeout_s=120)
    events = sorted(payloads(listener.of("event")), key=lambda e: e["seq"])
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert {e["model"] for e in decisions(listener)} == {"tiny@3", "tiny@4"}
    assert not [e for e in decisions(listener) if e["outcome"] == "late"]
    for event in events:
        check_payload("event", event)
    assert listener.last("birth")["model"] == "tiny@4"
    assert "model" in listener.last("birth")["capabilities"]


def test_a_killed_daemon_comes_back_with_the_new_model(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run, fleet: Fleet
) -> None:
    """SIGKILL in the midst of the trial: the next start runs it, and nothing is lost."""
    fleet.release(4)
    config = write_config(mosquitto.port, extra=fleet.section(trial=10_000))
    listener = listen(mosquitto.port, "bins/#")
    first = run_daemon(config)
    wait_for(lambda: decisions(listener), what="decisions", timeout_s=120)
    publish(mosquitto.port, f"{TOPIC}/cmd/model", json.dumps({"version": 4}), "-q", "1")
    wait_for(lambda: "swapped" in phases(listener), what="the swap", timeout_s=120)
    first.send(signal.SIGKILL)
    first.wait()
    run_daemon(config)
    boots = lambda: list(dict.fromkeys(e["boot"] for e in decisions(listener)))  # noqa: E731
    wait_for(lambda: len(boots()) == 2, what="the second start", timeout_s=120)
    assert decisions(listener)[-1]["model"] == "tiny@4"
    seqs = sorted(e["seq"] for e in payloads(listener.of("event")) if e["boot"] == boots()[0])
    assert sorted(set(seqs)) == list(range(1, max(seqs) + 1))


def test_a_worse_model_is_refused_in_shadow(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run, fleet: Fleet
) -> None:
    """It takes red for green beside the old one; no decision is ever its own."""
    fleet.release(4, wrong=True)
    listener = listen(mosquitto.port, "bins/#")
    run_daemon(write_config(mosquitto.port, extra=fleet.section(shadow=200), fps=30))
    wait_for(lambda: decisions(listener), what="decisions", timeout_s=120)
    publish(mosquitto.port, f"{TOPIC}/cmd/model", json.dumps({"version": 4}), "-q", "1")
    wait_for(lambda: "refused" in phases(listener), what="the refusal", timeout_s=120)
    assert "gives another class" in steps(listener)[-1]["reason"]
    assert {e["model"] for e in decisions(listener)} == {"tiny@3"}


def test_a_model_command_without_updates_is_refused(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """Where no repository is named, the answer says so."""
    listener = listen(mosquitto.port, "bins/#")
    run_daemon(write_config(mosquitto.port))
    wait_for(lambda: decisions(listener), what="decisions", timeout_s=120)
    answer = f"{TOPIC}/answer/x"
    publish(
        mosquitto.port,
        f"{TOPIC}/cmd/model",
        '{"version": 4}',
        "-D",
        "publish",
        "response-topic",
        answer,
    )
    wait_for(lambda: listener.of("x"), what="an answer", timeout_s=120)
    assert "no updates are set up" in payloads(listener.of("x"))[0]["detail"]
