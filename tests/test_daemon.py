"""The whole path against a real Mosquitto, watched by Debian's own mosquitto_sub."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, Listener, Mosquitto, RunningDaemon, wait_for
from tests.test_wire import check_payload

pytestmark = pytest.mark.mosquitto
Listen = Callable[..., Listener]
Write = Callable[..., Path]
Run = Callable[..., RunningDaemon]
TOPIC = "bins/v1/test/b1"


def payloads(rows: list[dict[str, object]]) -> list[dict[str, Any]]:
    return [row["payload"] for row in rows]  # type: ignore[misc]


def states(listener: Listener) -> list[str]:
    return [payload["state"] for payload in payloads(listener.of("state"))]


def publish(port: int, topic: str, payload: str = "", *options: str) -> None:
    command = ["mosquitto_pub", "-V", "5", "-p", str(port), "-t", topic, "-m", payload, *options]
    subprocess.run(command, check=True, timeout=200)


def test_everything_is_published_as_designed(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """State and birth retained, decisions with an expiry, the same as events, and health."""
    listener = listen(mosquitto.port)
    daemon = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: len(listener.of("event")) >= 5 and listener.of("health"), what="events")
    for name in ("state", "birth", "decision", "event", "health"):
        for payload in payloads(listener.of(name)):
            check_payload(name, payload)
    assert all(row["expiry"] for row in listener.of("decision"))
    assert not any(row["expiry"] for row in listener.of("event"))
    events = payloads(listener.of("event"))
    told = [e for e in events if e["type"] == "decision"]
    assert told[0] == {**payloads(listener.of("decision"))[0], "type": "decision"}
    assert [e["state"] for e in events if e["type"] == "state"] == ["ready"]
    late = listen(mosquitto.port)
    wait_for(lambda: late.of("state") and late.of("birth"), what="retained state and birth")
    assert late.of("state")[0]["retain"] == 1 and late.of("birth")[0]["retain"] == 1
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    wait_for(lambda: "stopped" in states(listener), what="the farewell")
    assert "lost" not in states(listener)


def test_decisions_say_what_is_on_the_pictures(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """Red goes left; the classes without a route go the safe way; seq has no gap."""
    listener = listen(mosquitto.port, f"{TOPIC}/event")
    assert run_daemon(write_config(mosquitto.port, repeat=False)).wait() == 0
    wait_for(lambda: len(listener.rows) == 5, what="three decisions, ready and stopped")
    events = payloads(listener.rows)
    told = [(e["picture"], e["label"], e["route"]) for e in events if e["type"] == "decision"]
    assert told == [
        ("a-red.png", "red", "left"),
        ("b-green.png", "green", "rest"),
        ("c-blue.png", "blue", "rest"),
    ]
    assert sorted(e["seq"] for e in events) == [1, 2, 3, 4, 5]


def test_killed_daemon_shows_lost(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """The broker speaks the last will for it, retained."""
    listener = listen(mosquitto.port)
    daemon = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: "ready" in states(listener), what="ready")
    daemon.send(signal.SIGKILL)
    wait_for(lambda: states(listener)[-1] == "lost", what="the last will")
    check_payload("state", payloads(listener.of("state"))[-1])
    late = listen(mosquitto.port)
    wait_for(lambda: states(late) == ["lost"], what="the retained last will")


def test_expired_decision_is_gone_for_a_late_subscriber(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """A sleeping session gets the events of meanwhile, but no decision that went stale."""
    session = ("-i", "sleeper", "-c", "-x", "3600")
    asleep = listen(mosquitto.port, f"{TOPIC}/#", *session)
    asleep.close()
    config = write_config(
        mosquitto.port, repeat=False, extra="[decision]\ndeadline_ms = 1000\nvotes = 1\n"
    )
    assert run_daemon(config).wait() == 0
    time.sleep(2.1)
    awake = listen(mosquitto.port, f"{TOPIC}/#", *session)
    wait_for(lambda: len(awake.of("event")) == 5, what="the events")
    assert awake.of("decision") == []


def test_broker_that_comes_late_gets_every_event(
    tmp_path: Path, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """Decisions go on without a broker; the record arrives when it is there, in order."""
    broker = Mosquitto(tmp_path)
    daemon = run_daemon(write_config(broker.port))
    wait_for(lambda: daemon.log.count("item ") >= 5, what="decisions without a broker")
    assert daemon.log.count("cannot reach") == 1
    broker.start()
    listener = listen(broker.port)
    wait_for(lambda: len(listener.of("event")) >= 8, what="events")
    seqs = [event["seq"] for event in payloads(listener.of("event"))]
    assert sorted(set(seqs)) == list(range(1, max(seqs) + 1))
    broker.stop()


def test_restarted_broker_loses_no_event(
    tmp_path: Path, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """The link comes back by itself, subscribes again, and the gap is filled."""
    broker = Mosquitto(tmp_path).start()
    before = listen(broker.port, f"{TOPIC}/event")
    daemon = run_daemon(write_config(broker.port))
    wait_for(lambda: len(before.rows) >= 3, what="events before")
    broker.stop()
    seen = daemon.log.count("item ")
    wait_for(lambda: daemon.log.count("item ") >= seen + 5, what="decisions meanwhile")
    daemon.send(signal.SIGSTOP)  # or it sends what it kept before anybody listens again
    broker.start()
    after = listen(broker.port)
    daemon.send(signal.SIGCONT)
    wait_for(lambda: len(after.of("event")) >= 10, what="events after")
    seqs = {event["seq"] for event in payloads(before.rows + after.of("event"))}
    assert seqs == set(range(1, max(seqs) + 1))
    assert ask(broker.port, "ping") == {"v": 1, "verb": "ping", "ok": True, "detail": "pong"}
    broker.stop()


def ask(port: int, verb: str, payload: str = "", *options: str) -> dict[str, Any]:
    """A command with response topic and correlation data, by Debian's mosquitto_rr."""
    command = ["mosquitto_rr", "-p", str(port), "-t", f"{TOPIC}/cmd/{verb}", "-e", "answers/1"]
    command += ["-m", payload, "-W", "60", "-D", "publish", "correlation-data", "c1", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_commands_are_obeyed_and_answered(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """pause stops decisions, resume goes on, trigger makes one, a broken one is refused."""
    config = write_config(mosquitto.port)
    config.write_text(config.read_text().replace('kind = "frame"', 'kind = "command"'))
    listener = listen(mosquitto.port)
    daemon = run_daemon(config)
    wait_for(lambda: "ready" in states(listener), what="ready")
    for verb in ("ping", "pause", "resume"):
        check_payload("answer", ask(mosquitto.port, verb))
    assert listener.of("decision") == []
    assert ask(mosquitto.port, "trigger")["ok"] is True
    wait_for(lambda: len(listener.of("decision")) == 1, what="the decision asked for")
    assert payloads(listener.of("decision"))[0]["cause"] == "command"
    assert ask(mosquitto.port, "ping", "[1]")["ok"] is False
    publish(mosquitto.port, f"{TOPIC}/cmd/explode")
    wait_for(lambda: "explode: unknown command" in daemon.log, what="the refusal")


def test_retained_command_is_refused(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """A trigger left on the broker must not move anything at the next start."""
    publish(mosquitto.port, f"{TOPIC}/cmd/pause", "", "-r")
    publish(mosquitto.port, f"{TOPIC}/cmd/pause", "{}", "-r")
    daemon = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: "a retained command is refused" in daemon.log, what="the refusal")
    wait_for(lambda: "item 3" in daemon.log, what="decisions, not paused")


def test_broker_that_refuses_the_password_is_a_sentence(
    tmp_path: Path, write_config: Write, run_daemon: Run
) -> None:
    """The daemon runs on, says what to check, and never shows the password."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "bin", "right"], check=True)
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}").start()
    extra = 'username = "bin"\n'
    config = write_config(broker.port)
    config.write_text(config.read_text().replace("[mqtt]\n", f"[mqtt]\n{extra}"))
    daemon = run_daemon(config, SMARTBIN_MQTT_PASSWORD="wrong-secret")
    wait_for(lambda: "refuses the connection" in daemon.log, what="the refusal")
    assert "check mqtt.username and the password" in daemon.log
    assert "wrong-secret" not in daemon.log
    wait_for(lambda: "item 3" in daemon.log, what="decisions all the same")
    daemon.close()
    daemon = run_daemon(config, SMARTBIN_MQTT_PASSWORD="right")
    wait_for(lambda: "mqtt: connected" in daemon.log, what="a welcome")
    broker.stop()


def test_reload_takes_over_routes_and_keeps_the_old_on_a_fault(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """SIGHUP with a broken file changes nothing and says so; a good one works at once."""
    config = write_config(mosquitto.port)
    listener = listen(mosquitto.port)
    daemon = run_daemon(config)
    wait_for(lambda: listener.of("decision"), what="decisions")
    good = config.read_text()
    config.write_text(good.replace("[routes]", "[ruotes]"))
    daemon.send(signal.SIGHUP)
    wait_for(lambda: "the old configuration is kept" in daemon.log, what="the fault")
    assert "did you mean routes?" in daemon.log
    config.write_text(good.replace('red = "left"', 'red = "right"'))
    daemon.send(signal.SIGHUP)
    wait_for(
        lambda: any(p["route"] == "right" for p in payloads(listener.of("decision"))),
        what="the new route",
    )


def test_outbox_that_cannot_be_opened_degrades_and_loses_nothing(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """The bin decides on, says degraded with the remedy, and events go through memory."""
    config = write_config(mosquitto.port)
    config.write_text(config.read_text().replace("outbox.db", "config.toml/outbox.db"))
    listener = listen(mosquitto.port)
    run_daemon(config)
    wait_for(lambda: len(listener.of("event")) >= 5, what="events")
    assert "degraded" in states(listener)
    assert any("set outbox.path" in p["reason"] for p in payloads(listener.of("state")))


@pytest.mark.parametrize(
    ("fault", "code", "part"),
    [
        ("no config", 2, "cannot be read"),
        ("no model", 1, "model file cannot be read"),
        ("no camera", 1, "gave up after 1 s"),
        ("unknown class", 2, "the model knows no such class"),
    ],
)
def test_wrong_input_ends_with_a_sentence_and_its_code(
    tmp_path: Path, write_config: Write, fault: str, code: int, part: str
) -> None:
    """One clear sentence, the documented exit code, never a traceback."""
    camera = {"source": f"folder:{tmp_path}/none"} if fault == "no camera" else {}
    config = write_config(1, **camera)
    text = config.read_text()
    if fault == "no config":
        config.unlink()
    else:
        text = {
            "no model": text.replace("tiny.onnx", "none.onnx"),
            "no camera": text.replace("[camera]", "[camera]\ntimeout_s = 0.5\ngive_up_s = 1"),
            "unknown class": text.replace("red =", "pink ="),
        }[fault]
        config.write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=200,
        env={**os.environ},
    )
    assert result.returncode == code
    assert part in result.stderr and "Traceback" not in result.stderr


def test_retained_command_is_refused_while_connected_too(
    mosquitto: Mosquitto, write_config: Write, run_daemon: Run
) -> None:
    """Also where it is cleared: an empty retained message is no command."""
    daemon = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: "mqtt: connected" in daemon.log, what="a connection")
    publish(mosquitto.port, f"{TOPIC}/cmd/pause", "{}", "-r")
    publish(mosquitto.port, f"{TOPIC}/cmd/pause", "", "-r")
    wait_for(lambda: daemon.log.count("a retained command is refused") == 2, what="two refusals")
    assert "pause: paused" not in daemon.log


def test_large_command_never_arrives(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run, tmp_path: Path
) -> None:
    """The bin tells the broker its limit at the connection, and the broker keeps to it."""
    daemon = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: "mqtt: connected" in daemon.log, what="a connection")
    large = tmp_path / "large"
    large.write_bytes(b"x" * 5_000_000)
    command = ["mosquitto_pub", "-p", str(mosquitto.port), "-t", f"{TOPIC}/cmd/ping"]
    subprocess.run([*command, "-f", str(large)], check=True, timeout=200)
    publish(mosquitto.port, f"{TOPIC}/cmd/ping")
    wait_for(lambda: "command ping: pong" in daemon.log, what="the small one")
    assert "over 4096 bytes" not in daemon.log


def test_two_daemons_do_not_share_an_outbox(
    mosquitto: Mosquitto, write_config: Write, run_daemon: Run
) -> None:
    """The second says so and ends; the first goes on."""
    config = write_config(mosquitto.port)
    first = run_daemon(config)
    wait_for(lambda: "item 1" in first.log, what="decisions")
    second = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=200,
    )
    assert second.returncode == 1 and "another smartbin uses this outbox" in second.stderr
    assert first.alive()


def test_broker_that_talks_nonsense_is_left_and_met_again(
    write_config: Write, run_daemon: Run, tmp_path: Path
) -> None:
    """A topic that is no UTF-8 ends paho's thread; the bin notices, says so, and comes back."""
    connack = bytes.fromhex("2003000000")
    nonsense = b"\x30\x05\x00\x02\xff\xfe\x00"
    server = socket.create_server(("127.0.0.1", 0))
    daemon = run_daemon(write_config(server.getsockname()[1]))
    server.settimeout(90)
    peer, _ = server.accept()
    peer.recv(4096)
    peer.sendall(connack)
    wait_for(lambda: "mqtt: connected" in daemon.log, what="a connection")
    peer.sendall(nonsense)
    again, _ = server.accept()
    again.recv(4096)
    again.sendall(connack)
    wait_for(lambda: daemon.log.count("mqtt: connected") == 2, what="the next connection")
    for opened in (peer, again, server):
        opened.close()


def test_a_slow_folder_is_no_silent_camera(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """Played slower than timeout_s, every picture comes once and the camera is not restarted."""
    listener = listen(mosquitto.port)
    daemon = run_daemon(write_config(mosquitto.port, fps=0.8, timeout_s=0.5, repeat=False))
    assert daemon.wait() == 0
    wait_for(lambda: len(listener.of("event")) == 5, what="all events")
    events = [e for e in payloads(listener.of("event")) if e["type"] == "decision"]
    assert [e["picture"] for e in events] == ["a-red.png", "b-green.png", "c-blue.png"]
    assert "trying again" not in daemon.log


def test_killed_capture_goes_on_behind_the_last_picture(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """A folder is not played from its start again: nothing moves for items long gone."""
    listener = listen(mosquitto.port)
    daemon = run_daemon(write_config(mosquitto.port, fps=2, repeat=False))
    wait_for(lambda: "item 1" in daemon.log, what="the first item")
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert daemon.wait() == 0
    wait_for(lambda: states(listener)[-1:] == ["stopped"], what="the last word")
    events = [e for e in payloads(listener.of("event")) if e["type"] == "decision"]
    assert [e["picture"] for e in events] == ["a-red.png", "b-green.png", "c-blue.png"]


def test_reload_twice_says_twice_what_needs_a_restart(
    mosquitto: Mosquitto, listen: Listen, write_config: Write, run_daemon: Run
) -> None:
    """Compared is what runs, not what was read last; the birth tells the new routes."""
    config = write_config(mosquitto.port)
    listener = listen(mosquitto.port)
    daemon = run_daemon(config)
    wait_for(lambda: listener.of("birth"), what="birth")
    good = config.read_text()
    config.write_text(good.replace('bin = "b1"', 'bin = "b2"').replace('"left"', '"right"'))
    for count in (1, 2):
        daemon.send(signal.SIGHUP)
        told = "a restart is needed for site"
        wait_for(lambda: daemon.log.count(told) == count, what=told)  # noqa: B023
    config.write_text(good.replace('"left"', '"right"'))
    daemon.send(signal.SIGHUP)
    wait_for(lambda: "configuration read again\n" in daemon.log, what="a plain reload")
    wait_for(lambda: listener.last("birth")["routes"] == {"red": "right"}, what="a new birth")
