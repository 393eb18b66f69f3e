"""Fixtures of all tests; the parts they are made of are in tests.harness."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import (
    COLOURS,
    MOSQUITTO,
    Listener,
    Mosquitto,
    RunningDaemon,
    tiny_card,
    tiny_network,
    write_picture,
)

# A machine busy with other things draws examples slowly; that is no fault of what is tested.
# The same examples in every run: a gate must not open or shut by luck.
settings.register_profile(
    "busy", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot do, and say so where it is left out.

    A test with live parts in other processes that fails gets one more try, and the summary names
    it: what fails twice is broken, what fails once is a race to be looked for.
    """
    for item in items:
        if item.get_closest_marker("mosquitto") or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if MOSQUITTO is None:
        for item in items:
            if item.get_closest_marker("mosquitto"):
                item.add_marker(pytest.mark.skip(reason="mosquitto is not installed"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test left out is a failure: SMARTBIN_STRICT=edge spares those that need torch."""
    strict = os.environ.get("SMARTBIN_STRICT")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not strict or reporter is None:
        return
    needs = ("SMARTBIN_DATA", "SMARTBIN_U2NET_HOME")  # pictures and weights of others
    spared = (*needs, "torch") if strict == "edge" else needs
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    left_out = [reason for reason in skipped if not any(word in reason for word in spared)]
    if left_out and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests left out, and those that needed a second try, are named loudly, not only counted."""
    for report in terminalreporter.stats.get("rerun", []):
        said = str(report.longrepr).strip().splitlines()[-1:]
        terminalreporter.write_line(f"SECOND TRY: {report.nodeid}: {said}", yellow=True, bold=True)
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        terminalreporter.write_line(f"LEFT OUT: {count} tests: {reason}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def tiny_onnx() -> bytes:
    return tiny_network()


@pytest.fixture
def write_bundle(tmp_path: Path, tiny_onnx: bytes) -> Callable[..., Path]:
    """Write the tiny bundle, with keys of its card changed; returns the .onnx path."""

    def write(**changed: object) -> Path:
        path = tmp_path / "models" / "tiny.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiny_onnx)
        path.with_suffix(".json").write_text(json.dumps({**tiny_card(tiny_onnx), **changed}))
        return path

    return write


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    """Three pictures, a-red, b-green and c-blue."""
    folder = tmp_path / "pictures"
    for letter, (name, rgb) in zip("abc", COLOURS.items(), strict=True):
        write_picture(folder / f"{letter}-{name}.png", rgb)
    return folder


@pytest.fixture(autouse=True)
def no_broker_stays() -> Iterator[None]:
    """Whatever became of a test, its brokers end with it."""
    yield
    while Mosquitto.running:
        Mosquitto.running.pop().stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Mosquitto:
    return Mosquitto(tmp_path).start()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def open_one(port: int, topic: str = "bins/#", *options: str) -> Listener:
        opened.append(Listener(port, topic, *options))
        return opened[-1]

    yield open_one
    for listener in opened:
        listener.close()


@pytest.fixture
def run_daemon() -> Iterator[Callable[..., RunningDaemon]]:
    started: list[RunningDaemon] = []

    def start(config: Path, **environment: str) -> RunningDaemon:
        started.append(RunningDaemon(config, environment))
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def write_config(
    tmp_path: Path, write_bundle: Callable[..., Path], colour_folder: Path
) -> Callable[..., Path]:
    """A configuration: the tiny bundle, the colour folder played for ever, this port."""

    def write(port: int, *, extra: str = "", **camera: object) -> Path:
        settings = {"source": f"folder:{colour_folder}", "fps": 10, "repeat": True, **camera}
        rows = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
        path = tmp_path / "config.toml"
        path.write_text(
            f"""
[site]
site = "test"
bin = "b1"
[camera]
{rows}
[trigger]
kind = "frame"
[model]
path = "{write_bundle()}"
[routes]
safe = "rest"
[routes.by_class]
red = "left"
[mqtt]
port = {port}
retry_max_s = 0.5
[outbox]
path = "{tmp_path / "outbox.db"}"
[health]
interval_s = 0.3
{extra}
"""
        )
        return path

    return write
