"""The closed loop: daemon, real Mosquitto, actuator process; decision, movement, ack, event."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge import doctor
from edge.acks import Acks
from edge.actuator import gpio
from edge.actuator.answers import Answers, ack_messages
from edge.actuator.devices.base import Limits
from edge.actuator.devices.simulated import Simulated
from edge.actuator.gpio import Pins
from edge.actuator.ledger import Ledger
from edge.actuator.local import LocalActuator
from edge.actuator.values import Ack, ActuatorError, Order
from edge.brokers import Broker
from edge.config import load_config, parse_config
from edge.errors import ConfigError
from edge.health import clock_host
from edge.movements import Movements
from edge.mqtt import Link
from edge.parts import moving
from edge.values import Decision, Incoming, Message
from edge.wire import Origin, Topics
from tests.harness import ROOT, SEARCH, Listener, Mosquitto, RunningDaemon, wait_for
from tests.test_daemon import payloads, publish, states
from tests.test_wire import check_payload

pytestmark = pytest.mark.mosquitto
Listen = Callable[..., Listener]
Write = Callable[..., Path]
Run = Callable[..., RunningDaemon]
TOPIC = "bins/v1/test/b1"


@pytest.fixture
def write(write_config: Write, tmp_path: Path) -> Write:
    """The tests' configuration with a simulated flap for the red items."""

    def made(
        port: int, *, mode: str = "broker", device: str = "", options: str = "", **camera: Any
    ) -> Path:
        extra = f"""
[actuator]
mode = "{mode}"
ack_ms = 600
silence_s = 2
retry_s = 0
ledger = "{tmp_path / "moves.journal"}"
{options}
[actuator.devices.flap]
kind = "simulated"
routes = {{ left = 1 }}
dwell_s = 0
cool_down_s = 0
per_min = 6000
record = "{tmp_path / "record"}"
{device}
"""
        return write_config(port, extra=extra, **camera)

    return made


@pytest.fixture
def run_actuator() -> Iterator[Run]:
    started: list[RunningDaemon] = []

    def start(config: Path, **environment: str) -> RunningDaemon:
        started.append(RunningDaemon(config, environment, command="actuator"))
        return started[-1]

    yield start
    for actuator in started:
        actuator.close()


def events(listener: Listener, kind: str) -> list[dict[str, Any]]:
    return [e for e in payloads(listener.of("event")) if e["type"] == kind]


def moved(folder: Path) -> list[str]:
    """The ids that the simulated device stirred for, as it wrote them down itself."""
    record = folder / "record"
    return [row.split()[1] for row in record.read_text().splitlines()] if record.exists() else []


def test_a_decision_becomes_a_movement_an_ack_and_an_event(
    mosquitto: Mosquitto,
    listen: Listen,
    write: Write,
    run_daemon: Run,
    run_actuator: Run,
    tmp_path: Path,
) -> None:
    """Only sorted items move something; each is acknowledged and recorded, as published."""
    listener = listen(mosquitto.port)
    config = write(mosquitto.port)
    actuator = run_actuator(config)
    run_daemon(config)
    wait_for(lambda: len(events(listener, "movement")) >= 4, what="movements")
    movements, acks, ids = (
        events(listener, "movement"),
        payloads(listener.of("ack")),
        moved(tmp_path),
    )
    told = lambda: {d["id"]: d for d in payloads(listener.of("decision"))}  # noqa: E731
    caused = {*ids, *(ack["id"] for ack in acks)}
    wait_for(lambda: caused <= set(told()), what="the decisions behind what moved")
    decisions = told()
    for ack in acks:
        check_payload("ack", ack)
        assert decisions[ack["id"]]["route"] == "left"
    for event in payloads(listener.of("event")):
        check_payload("event", event)
    done = [m for m in movements if m["result"] == "done"]
    assert len(done) >= 3 and done[0]["device"] == "flap" and done[0]["waited_ms"] < 1000
    assert len(ids) == len(set(ids))
    assert all(decisions[id]["outcome"] == "sorted" for id in ids)
    wait_for(lambda: listener.last("health").get("movements"), what="counts")
    check_payload("health", listener.last("health"))
    actuator.send(signal.SIGTERM)
    assert actuator.wait() == 0 and "Traceback" not in actuator.log


def test_the_decision_asks_for_its_answer_with_correlation_data(
    mosquitto: Mosquitto, write: Write, run_daemon: Run
) -> None:
    """MQTT 5: response topic and correlation data are there for any subscriber to use."""
    log = mosquitto.folder / "mosquitto.log"
    tool = ["mosquitto_sub", "-V", "5", "-p", str(mosquitto.port), "-t", f"{TOPIC}/decision"]
    listener = subprocess.Popen(
        [*tool, "-C", "1", "-F", "%R|%D|%p"], stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: "decision (QoS 0)" in log.read_text(), what="a subscriber")
    run_daemon(write(mosquitto.port))
    out, _ = listener.communicate(timeout=200)
    topic, correlation, payload = out.strip().split("|", 2)
    assert topic == f"{TOPIC}/ack" and correlation == json.loads(payload)["id"]


def test_delivered_again_it_moves_once(
    mosquitto: Mosquitto,
    listen: Listen,
    write: Write,
    run_daemon: Run,
    run_actuator: Run,
    tmp_path: Path,
) -> None:
    """A decision sent ten times more, also to a restarted actuator, moves nothing again."""
    listener = listen(mosquitto.port)
    config = write(mosquitto.port, fps=4)
    actuator = run_actuator(config)
    daemon = run_daemon(config)
    wait_for(lambda: "free to move" in actuator.log, what="the actuator")
    wait_for(lambda: moved(tmp_path), what="a movement")
    first = moved(tmp_path)[0]
    sent = lambda: [d for d in payloads(listener.of("decision")) if d["id"] == first]  # noqa: E731
    wait_for(sent, what="the decision as others hear it")
    (decision,) = sent()
    again = json.dumps({**decision, "expires_ms": 60_000})  # so that the ledger alone forbids it
    for _ in range(5):
        publish(mosquitto.port, f"{TOPIC}/decision", again)
    actuator.send(signal.SIGKILL)
    actuator.wait()
    actuator = run_actuator(config)
    wait_for(lambda: "free to move" in actuator.log, what="the actuator again")
    for _ in range(5):
        publish(mosquitto.port, f"{TOPIC}/decision", again)
    wait_for(lambda: actuator.log.count("never twice") == 5, what="five refusals")
    assert moved(tmp_path).count(first) == 1
    assert daemon.alive()


def test_a_reply_topic_of_ones_own_is_answered_with_its_correlation(
    mosquitto: Mosquitto, write: Write, run_actuator: Run, listen: Listen
) -> None:
    """Any program may ask as a bin does; an answer never goes where it could be taken for more."""
    actuator = run_actuator(write(mosquitto.port))
    living = {"v": 1, "state": "ready"}
    wait_for(lambda: actuator.log.count("connected to") == 1, what="a connection")
    publish(mosquitto.port, f"{TOPIC}/state", json.dumps(living))
    wait_for(lambda: "free to move" in actuator.log, what="the bin heard of")
    tool = ["mosquitto_sub", "-V", "5", "-p", str(mosquitto.port), "-t", "plc/answers"]
    replies = subprocess.Popen([*tool, "-C", "1", "-F", "%D|%p"], stdout=subprocess.PIPE, text=True)
    log = mosquitto.folder / "mosquitto.log"
    wait_for(lambda: "plc/answers (QoS 0)" in log.read_text(), what="a subscriber")
    listener = listen(mosquitto.port)
    order = {
        **{"v": 1, "id": "plc-1", "site": "test", "bin": "b1", "outcome": "sorted"},
        **{"route": "left", "decided_ts": time.time(), "expires_ms": 5000, "clock": "unsynced"},
    }
    for topic in (f"{TOPIC}/state", "plc/answers"):
        ask = ["-D", "publish", "response-topic", topic, "-D", "publish", "correlation-data", "k7"]
        publish(mosquitto.port, f"{TOPIC}/decision", json.dumps(order), *ask)
    out, _ = replies.communicate(timeout=200)
    correlation, payload = out.strip().split("|", 1)
    assert correlation == "k7" and json.loads(payload)["result"] == "done"
    wait_for(lambda: len(listener.of("ack")) == 2, what="both on the bin's own topic")
    assert listener.of("state") == []  # only what was published before


def test_without_an_actuator_movements_are_missing_and_the_bin_degraded(
    mosquitto: Mosquitto, listen: Listen, write: Write, run_daemon: Run
) -> None:
    """After three failures red goes the safe way with its reason; cmd/clear offers left again."""
    listener = listen(mosquitto.port)
    run_daemon(write(mosquitto.port))
    wait_for(lambda: "degraded" in states(listener), what="degraded")
    (trouble,) = [s for s in payloads(listener.of("state")) if s["state"] == "degraded"]
    assert "route left is not offered after 3 failures" in trouble["reason"]
    wait_for(lambda: len(events(listener, "movement")) >= 3, what="the events of the failures")
    missing = events(listener, "movement")
    assert [m["result"] for m in missing[:3]] == ["missing"] * 3 and missing[0]["ms"] is None

    def rerouted() -> list[dict[str, Any]]:
        told = [d for d in payloads(listener.of("decision")) if d["label"] == "red"]
        return [d for d in told if d["route"] == "rest"]

    wait_for(rerouted, what="a red item on the safe route")
    assert rerouted()[0]["outcome"] == "sorted"
    assert "route left is not offered, so rest" in rerouted()[0]["reason"]
    before = len(payloads(listener.of("decision")))
    publish(mosquitto.port, f"{TOPIC}/cmd/clear", '{"id":"op-7"}')
    wait_for(lambda: events(listener, "command"), what="the audit event")
    audit = events(listener, "command")[0]
    check_payload("event", audit)
    assert (audit["verb"], audit["ok"], audit["by"]) == ("clear", True, "op-7")
    orders = lambda: {o["id"] for o in payloads(listener.of("order"))}  # noqa: E731
    wait_for(lambda: audit["order"] in orders(), what="the order as others hear it")
    wait_for(
        lambda: any(d["route"] == "left" for d in payloads(listener.of("decision"))[before:]),
        what="left to be offered again",
    )
    for order in payloads(listener.of("order")):
        check_payload("order", order)


def test_a_jam_degrades_and_an_operator_clears_it(
    mosquitto: Mosquitto, listen: Listen, write: Write, run_daemon: Run, run_actuator: Run
) -> None:
    """jammed, then refused until cmd/clear; afterwards it moves and the bin is ready again."""
    listener = listen(mosquitto.port)
    config = write(mosquitto.port, device="jam_every = 4")
    run_actuator(config)
    run_daemon(config)
    wait_for(lambda: "degraded" in states(listener), what="degraded")
    results = lambda: [m["result"] for m in events(listener, "movement")]  # noqa: E731
    wait_for(lambda: {"jammed", "refused"} <= set(results()), what="the jam and what it refused")
    count = len(results())
    publish(mosquitto.port, f"{TOPIC}/cmd/clear")
    wait_for(lambda: states(listener)[-1:] == ["ready"], what="ready")
    wait_for(
        lambda: any(m["result"] == "done" for m in events(listener, "movement")[count:]),
        what="movements again",
    )


@pytest.mark.parametrize("mode", ["broker", "local"])
def test_an_operator_moves_by_command_within_the_same_limits(
    mosquitto: Mosquitto,
    listen: Listen,
    write: Write,
    run_daemon: Run,
    run_actuator: Run,
    tmp_path: Path,
    mode: str,
) -> None:
    """cmd/move moves once and is recorded; a route that is none is answered in words."""
    listener = listen(mosquitto.port)
    config = write(mosquitto.port, mode=mode)
    config.write_text(config.read_text().replace('kind = "frame"', 'kind = "command"'))
    if mode == "broker":
        actuator = run_actuator(config)
    daemon = run_daemon(config)
    wait_for(lambda: "ready" in states(listener), what="ready")
    if mode == "broker":
        wait_for(lambda: "free to move" in actuator.log, what="the actuator")
    publish(mosquitto.port, f"{TOPIC}/cmd/move", '{"route":"left"}')
    wait_for(lambda: moved(tmp_path), what="the movement")
    wait_for(lambda: events(listener, "movement"), what="its event")
    (movement,) = events(listener, "movement")
    assert (movement["result"], movement["route"]) == ("done", "left")
    assert movement["decision"] == events(listener, "command")[0]["order"]
    publish(mosquitto.port, f"{TOPIC}/cmd/move", '{"route":"nowhere"}')
    wait_for(lambda: len(events(listener, "movement")) == 2, what="the refusal")
    assert "no device serves 'nowhere'" in events(listener, "movement")[1]["reason"]
    for body in ("{}", '{"route":7}', '{"route":"a/b"}'):
        publish(mosquitto.port, f"{TOPIC}/cmd/move", body)
    wait_for(lambda: len(events(listener, "command")) == 5, what="five audits")
    assert [e["ok"] for e in events(listener, "command")] == [True, True, False, False, False]
    assert len(moved(tmp_path)) == 1 and daemon.alive()


def test_local_mode_sends_the_same_ack_without_a_round_trip(
    mosquitto: Mosquitto, listen: Listen, write: Write, run_daemon: Run, tmp_path: Path
) -> None:
    """The daemon moves by itself, tells the world the same, and goes on without a broker."""
    listener = listen(mosquitto.port)
    daemon = run_daemon(write(mosquitto.port, mode="local"))
    wait_for(lambda: len(events(listener, "movement")) >= 2, what="movements")
    for ack in payloads(listener.of("ack")):
        check_payload("ack", ack)
    assert {m["result"] for m in events(listener, "movement")} == {"done"}
    mosquitto.stop()
    count = len(moved(tmp_path))
    wait_for(lambda: len(moved(tmp_path)) > count + 2, what="movements without a broker")
    assert "degraded" not in daemon.log
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.mark.parametrize(("served", "expected"), [("rest", ["done"]), ("left", [])])
def test_local_devices_serve_the_safe_route_as_those_behind_a_broker_do(
    served: str, expected: list[str]
) -> None:
    """What is sorted into it moves the device that serves it; where none does, nothing is said."""
    topics, heard = Topics("s", "b"), queue.SimpleQueue[Incoming]()
    device = Simulated(name="flap", routes={served: 1.0}, limits=Limits(0.0, 0.0, 6000))
    link: Any = None
    movements = Movements(
        origin=Origin(topics, "boot", "model", "0"),
        safe="rest",
        acks=Acks(failures=3, retry_s=0),
        ack_s=1.0,
        link=link,
        reporter=link,
    )
    local = LocalActuator(
        topics=topics,
        devices=[device],
        ledger=Ledger(None),
        publish=lambda message: None,
        heard=heard.put,
        safe="rest",
    )
    movements.local = local
    order = {"v": 1, "id": "boot-1", "site": "s", "bin": "b", "outcome": "sorted", "route": "rest"}
    order |= {"decided_ts": time.time(), "expires_ms": 9000, "host": clock_host()}
    decision = Decision("sorted", "green", "rest", 0.9, (("green", 0.9),), "sure")
    movements.obey(decision, Message(topics.of("decision"), json.dumps(order).encode()))
    if expected:
        wait_for(lambda: not heard.empty(), what="the ack")
    local.close()
    told = [json.loads(heard.get_nowait().payload) for _ in range(heard.qsize())]
    assert [ack["result"] for ack in told] == expected and device.moves == len(expected)


def test_a_lost_bin_keeps_the_actuator_home(
    mosquitto: Mosquitto,
    listen: Listen,
    write: Write,
    run_daemon: Run,
    run_actuator: Run,
    tmp_path: Path,
) -> None:
    """SIGKILL of the daemon: home and staying, until it is heard of again; then it moves."""
    listener = listen(mosquitto.port)
    config = write(mosquitto.port, fps=4)
    actuator = run_actuator(config)
    daemon = run_daemon(config)
    wait_for(lambda: moved(tmp_path), what="a movement")
    fresh = listener.last("decision")
    daemon.send(signal.SIGKILL)
    wait_for(lambda: "the bin is lost" in actuator.log, what="home")
    count = len(moved(tmp_path))
    decision = {**fresh, "id": "late-1", "outcome": "sorted", "route": "left"}
    decision |= {"decided_ts": time.time(), "expires_ms": 60_000}
    publish(mosquitto.port, f"{TOPIC}/decision", json.dumps(decision))
    wait_for(lambda: "staying there: the bin is lost" in actuator.log, what="the refusal")
    assert len(moved(tmp_path)) == count
    run_daemon(config)
    wait_for(lambda: len(moved(tmp_path)) > count, what="movements again")


def test_a_silent_bin_keeps_the_actuator_home(
    mosquitto: Mosquitto, write: Write, run_daemon: Run, run_actuator: Run
) -> None:
    """A frozen daemon says nothing; after silence_s that is reason enough."""
    config = write(mosquitto.port)
    actuator = run_actuator(config)
    daemon = run_daemon(config)
    wait_for(lambda: "free to move" in actuator.log, what="the bin heard of")
    silent = actuator.log.count("silent for 2 s")  # a busy machine makes the bin silent, too
    daemon.send(signal.SIGSTOP)
    wait_for(lambda: actuator.log.count("silent for 2 s") > silent, what="home")
    free = actuator.log.count("free to move")
    daemon.send(signal.SIGCONT)
    wait_for(lambda: actuator.log.count("free to move") > free, what="free again")


def test_a_broker_that_goes_takes_the_actuator_home(
    mosquitto: Mosquitto, write: Write, run_daemon: Run, run_actuator: Run, tmp_path: Path
) -> None:
    """And when it is back, everything goes on by itself."""
    config = write(mosquitto.port)
    actuator = run_actuator(config)
    daemon = run_daemon(config)
    wait_for(lambda: moved(tmp_path), what="a movement")
    mosquitto.stop()
    wait_for(lambda: "there is no connection to the broker" in actuator.log, what="home")
    count = len(moved(tmp_path))
    time.sleep(1.0)
    assert len(moved(tmp_path)) == count
    mosquitto.start()
    wait_for(lambda: len(moved(tmp_path)) > count + 2, what="movements again")
    assert daemon.alive() and actuator.alive()


@pytest.mark.slow
def test_two_actuators_of_one_bin_say_so_and_move_nothing_twice(
    mosquitto: Mosquitto, write: Write, run_daemon: Run, run_actuator: Run, tmp_path: Path
) -> None:
    """Each with a ledger of its own, as on two boards: they throw each other out and go home."""
    config = write(mosquitto.port)
    second = tmp_path / "second.toml"
    second.write_text(config.read_text().replace("moves.journal", "other.journal"))
    actuators = [run_actuator(path) for path in (config, second)]
    run_daemon(config)
    told = "is another client called smartbin/test/b1/actuator"
    wait_for(lambda: all(told in a.log for a in actuators), what="the warning of both")
    wait_for(lambda: moved(tmp_path), what="a movement between")
    assert "there is no connection to the broker" in actuators[0].log
    ids = moved(tmp_path)
    assert len(ids) == len(set(ids))


def test_the_acl_lets_an_actuator_do_its_part_and_no_more(tmp_path: Path, listen: Listen) -> None:
    """With the shipped ACL and provisioning: hears its bin, writes acks, nothing else."""
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    told = ""
    for arguments in (["site", "b1"], ["--actuator", "site", "b1"]):
        told = subprocess.run(
            ["sh", ROOT / "systemd/mosquitto/add-bin", *arguments, passwords],
            cwd=tmp_path,
            check=True,
            env={"PATH": SEARCH},
            capture_output=True,
            text=True,
        ).stdout
    block = told.partition("at the end:")[2]
    shipped = (ROOT / "systemd/mosquitto/acl").read_text()
    assert all(f"#{line}".replace("site/b1", "home/bin-1") in shipped for line in block.split("\n"))
    acl.write_text(shipped + block)
    broker = Mosquitto(
        tmp_path, "allow_anonymous false", f"password_file {passwords}", f"acl_file {acl}"
    ).start()
    secret = (tmp_path / "actuator@site@b1.password").read_text()
    bin_secret = (tmp_path / "site@b1.password").read_text()
    me = ("-u", "actuator@site/b1", "-P", secret)
    root = "bins/v1/site/b1"
    heard = listen(broker.port, f"{root}/#", *me)
    acks = listen(broker.port, f"{root}/ack", "-u", "site/b1", "-P", bin_secret)
    for name in ("decision", "order", "state", "health", "event"):
        publish(broker.port, f"{root}/{name}", "{}", "-u", "site/b1", "-P", bin_secret)
    for name in ("ack", "decision", "state", "cmd/move"):
        publish(broker.port, f"{root}/{name}", '{"from":"actuator"}', *me)
    publish(broker.port, "bins/v1/site/b2/ack", "{}", *me)
    topics = lambda: {str(row["topic"]).removeprefix(f"{root}/") for row in heard.rows}  # noqa: E731
    may_hear = {"decision", "order", "state", "health"}
    wait_for(lambda: acks.rows and topics() >= may_hear, what="the ack, and what it may hear")
    time.sleep(0.3)  # in which nothing more comes
    assert topics() == may_hear
    assert not [row for row in heard.rows if row["payload"] == {"from": "actuator"}]
    assert len(acks.rows) == 1


# The configuration and the pins


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return list(caught.value.faults)


def test_every_fault_of_the_devices_is_told_at_once() -> None:
    """Unknown kind, pins taken twice, angles out of limits, routes without device, each a line."""
    faults = faults_of(
        """[routes.by_class]
glass = "g"
metal = "m"
[actuator]
mode = "local"
[actuator.devices.flap]
kind = "servo"
pin = 18
max_deg = 60
home_switch = 18
[actuator.devices.flap.routes]
g = 70
[actuator.devices.k]
kind = "kiker"
[actuator.devices.d]
kind = "diverter"
route = "g"
pinn = 4
max_on_s = 0.1
"""
    )
    assert [re.sub("^config.toml", "", fault) for fault in faults] == [
        ":3 routes.by_class.metal = 'm': no device serves it; served are g",
        ":10 actuator.devices.flap.home_switch = 18: GPIO 18 is taken by "
        "actuator.devices.flap.pin; use another",
        ":12 actuator.devices.flap.routes.g = 70: must lie within min_deg..max_deg, -90..60 deg",
        ":14 actuator.devices.k.kind = 'kiker': unknown; did you mean kicker?; kinds are servo, "
        "diverter, gates, carousel, kicker, relay, simulated",
        ":15 actuator.devices.d: pin is missing; name its GPIO, 0..27",
        ":15 actuator.devices.d: serves g, which flap serves already",
        ":18 actuator.devices.d.pinn: unknown key; did you mean pin?",
        ":19 actuator.devices.d.max_on_s = 0.1: must not be less than travel_s + dwell_s",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[actuator]\nmode = 'local'", "needs a device"),
        ("[actuator]\nmode = 'remote'", "must be one of off, broker, local"),
        ("[actuator]\nsilence_s = 10", "at least twice health.interval_s"),
        ("[actuator.devices]\nflap = 3", "must be a table of its own"),
        ("[actuator.devices.flap]\npin = 1", "flap.kind: is missing; kinds are"),
        ("[actuator.devices.f]\nkind='simulated'\nroutes={a='x'}", "must be -1000..1000, a number"),
        ("[actuator.devices.f]\nkind='simulated'\nroutes={a=1e9}", "must be -1000..1000"),
        ("[actuator.devices.'a b']\nkind='simulated'\nroutes={a=1}", "1 to 64 letters"),
        ("[actuator.devices.f]\nkind='simulated'", "routes is missing"),
    ],
)
def test_each_bad_value_is_one_sentence(text: str, part: str) -> None:
    """Like every other section's."""
    (fault,) = faults_of(text)
    assert part in fault and "\n" not in fault


def test_devices_are_built_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commented examples of config.toml, with pins and routes filled in, are good devices."""
    example = (ROOT / "config.toml").read_text().split("[actuator.devices]")[1].split("[outbox]")[0]
    pins = iter(range(28))
    text, number = "", 0
    for line in re.findall(r"^#(\[actuator.*|[a-z_]+ = .*)$", example, re.MULTILINE):
        number += line.startswith("[")
        line = line.replace("NAME", f"d{number}")
        line = re.sub(r"^(\w+) = \?", lambda m: f"{m[1]} = {next(pins)}", line)
        gates = line.startswith("routes") and 'kind = "gates"' in text.rpartition("[actuator")[2]
        where = next(pins) if gates else 1
        line = line.replace("routes = {}", f"routes = {{ r{number} = {where} }}")
        line = line.replace('route = ""', f'route = "r{number}"').replace(
            "steps_per_turn = 1600", "steps_per_turn = 40"
        )
        text += line + "\n"
    path = tmp_path / "config.toml"
    path.write_text(f'[actuator]\nmode = "broker"\n{text}')
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(moving, "Pins", lambda: Pins(factory))
    devices = moving.devices_of(load_config(path))
    assert len(devices) == number == 7
    for device in devices:
        device.close()


def test_a_pin_that_cannot_be_had_names_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lets go of the devices built before it."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[actuator]\nmode = "broker"\n'
        '[actuator.devices.one]\nkind = "relay"\npin = 4\nroute = "a"\n'
        '[actuator.devices.two]\nkind = "relay"\npin = 5\nroute = "b"\n'
    )
    factory = MockFactory(pin_class=MockPWMPin)
    held = Pins(factory).output(5, active_high=True)
    monkeypatch.setattr(moving, "Pins", lambda: Pins(factory))
    with pytest.raises(ActuatorError, match=r"config.toml:7 actuator.devices.two: GPIO 5 is used"):
        moving.devices_of(load_config(path))
    Pins(factory).output(4, active_high=True).close()
    held.close()


@pytest.mark.parametrize("mode", ["off", "local"])
def test_the_actuator_command_says_what_it_needs(write: Write, mode: str) -> None:
    """Exit 2 with the line of the mode; on this host real pins are refused in a sentence."""
    config = write(1, mode=mode)
    result = subprocess.run(
        [sys.executable, "-m", "edge.cli", "actuator", "--config", str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=200,
    )
    assert result.returncode == 2 and 'set mode = "broker"' in result.stderr
    assert f"actuator.mode = '{mode}'" in result.stderr


@pytest.mark.skipif(bool(list(Path("/dev").glob("gpiochip*"))), reason="this host has GPIO")
def test_without_gpio_the_sentence_says_so(tmp_path: Path) -> None:
    """No traceback of lgpio's, but what is missing and what to do."""
    with pytest.raises(ActuatorError, match=r"no /dev/gpiochip\*: this is no Raspberry Pi"):
        Pins()


def examine(config: Path, monkeypatch: pytest.MonkeyPatch, board: Callable[[], Pins]) -> Any:
    monkeypatch.setattr(doctor, "Pins", board)
    return doctor.CHECKS["actuator"](load_config(config))


def test_the_doctor_names_each_pin_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence for each, nothing stirs, and good pins are good."""
    path = tmp_path / "config.toml"
    device = '[actuator.devices.{0}]\nkind = "relay"\npin = {1}\nroute = "{0}"\n'
    text = "".join(device.format(name, pin) for name, pin in (("a", 4), ("b", 5), ("c", 6)))
    path.write_text(f'[actuator]\nmode = "local"\n{text}')
    factory = MockFactory(pin_class=MockPWMPin)
    assert examine(path, monkeypatch, lambda: Pins(factory)).grade == "good"
    assert all(pin.function == "input" for pin in factory.pins.values())
    held = [Pins(factory).output(pin, active_high=True) for pin in (4, 6)]
    found = examine(path, monkeypatch, lambda: Pins(factory))
    assert found.grade == "fault" and found.detail.count("is used twice") == 2
    assert "GPIO 4 " in found.detail and "GPIO 5 " not in found.detail
    for pin in held:
        pin.close()


def test_the_doctor_says_why_there_is_no_gpio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No chip, or a chip without the right to it; in mode broker it may be another board's."""
    path = tmp_path / "config.toml"
    relay = '[actuator.devices.a]\nkind = "relay"\npin = 4\nroute = "a"\n'
    path.write_text(f'[actuator]\nmode = "broker"\n{relay}')
    monkeypatch.setattr(gpio, "CHIPS", tmp_path)
    found = examine(path, monkeypatch, Pins)
    assert found.grade == "warning" and "this is no Raspberry Pi" in found.detail
    assert "another board" in found.remedy
    (tmp_path / "gpiochip0").touch()
    monkeypatch.setattr(gpio.os, "access", lambda *_: False)
    found = examine(path, monkeypatch, Pins)
    assert "no permission for" in found.detail and "usermod -aG gpio" in found.detail


def test_the_two_minute_read_is_a_good_configuration() -> None:
    """docs/actuators.md, "Wire a servo": its lines are accepted with the shipped routes."""
    text = (ROOT / "docs" / "actuators.md").read_text()
    block = text.split("In `config.toml`:")[1].split("Then, with")[0]
    shipped = (ROOT / "config.toml").read_text()
    before, after = shipped.split("[actuator]", 1)
    rest = after.split("[outbox]", 1)[1]
    config = parse_config(f"{before}{block.replace(chr(10) + '    ', chr(10))}[outbox]{rest}")
    assert config.actuator.mode == "local"
    assert config.actuator.devices["flap"].routes == {"packaging": 60, "paper": -60, "glass": 30}


# Answers


def test_an_ack_waits_for_the_broker_and_arrives_once(mosquitto: Mosquitto, listen: Listen) -> None:
    """Said while there was no connection, it is sent at the next one, and then let go of."""
    mosquitto.stop()
    answers = Answers()
    link = Link(
        broker=Broker("127.0.0.1", mosquitto.port, retry_max_s=0.5),
        client_id="answers",
        on_ack=answers.acknowledged,
    )
    (message,) = ack_messages(Ack("b-1", "done", 1.0), topics=Topics("test", "b1"))
    answers.send(message, link)
    link.start()
    assert answers.retry(link) == 1
    mosquitto.start()
    listener = listen(mosquitto.port)
    wait_for(lambda: answers.retry(link) == 0, what="the broker to take it")
    wait_for(lambda: listener.of("ack"), what="the ack")
    time.sleep(0.2)
    assert len(listener.of("ack")) == 1
    link.stop()


def test_an_ack_that_nobody_waits_for_any_more_is_let_go() -> None:
    """After a minute, and never more than the bound."""
    now = [0.0]
    answers = Answers(clock=lambda: now[0])
    link = Link(broker=Broker("127.0.0.1", 1), client_id="answers")  # never started
    for n in range(600):
        for message in ack_messages(Ack(f"b-{n}", "done", 1.0), topics=Topics("test", "b1")):
            answers.send(message, link)
    assert answers.retry(link) == 500
    now[0] = 61.0
    assert answers.retry(link) == 0


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ("", 1),
        (f"{TOPIC}/ack", 1),
        ("plc/answers", 2),
        (f"{TOPIC}/answer/plc", 2),
        (f"{TOPIC}/state", 1),
        (f"{TOPIC}/decision", 1),
        ("plc/#", 1),
        ("x" * 300, 1),
    ],
)
def test_an_answer_goes_only_where_it_cannot_be_taken_for_more(reply: str, count: int) -> None:
    """Always on ack; elsewhere where it was asked for, unless that is another topic of the bin."""
    order = Order("b-1", "left", 0.0, 1.0, reply_topic=reply, correlation=b"k")
    messages = ack_messages(Ack("b-1", "done", 1.0), topics=Topics("test", "b1"), order=order)
    assert len(messages) == count and messages[0].topic == f"{TOPIC}/ack"
    assert all(m.correlation == b"k" and not m.retain for m in messages)
