"""A simulated fleet behaves at a real broker as bins do, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.brokers import Broker
from edge.errors import SmartbinError
from edge.simulate import packets
from edge.simulate.bins import Start
from edge.simulate.characters import AILMENTS, characters
from edge.simulate.fleet import Fleet
from edge.simulate.plan import Habits, Plan
from edge.values import Message
from tests.fleet_harness import RunningMonitor, settings_for
from tests.harness import ROOT, Listener, Mosquitto, free_port, wait_for
from tests.test_wire import check_payload

Act = Callable[[Fleet], Any]  # a coroutine function that meddles with the fleet


def broker_at(port: int) -> Broker:
    return Broker(host="127.0.0.1", port=port, version="5", keepalive_s=60)


def live(
    port: int, *, bins: int, for_s: float, act: Act | None = None, **habits: float
) -> tuple[Fleet, dict[str, Any]]:
    """A fleet's whole life, with somebody who meddles; the fleet and its account."""

    async def whole() -> tuple[Fleet, dict[str, Any]]:
        chosen = Habits(**{"rate_per_s": 5.0 * bins, "health_every_s": 1.0, "churn": 0.0} | habits)
        fleet = Fleet(broker=broker_at(port), bins=bins, habits=chosen)
        meddler = asyncio.get_running_loop().create_task(act(fleet)) if act else None
        figures = await fleet.run(for_s=for_s)
        if meddler:
            await meddler
        return fleet, figures

    return asyncio.run(whole())


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Any:
    listener = Listener(mosquitto.port)
    yield listener
    listener.close()


def account(fleet: Fleet) -> set[str]:
    """Ids of every event that there was."""
    return {f"{r['boot']}-{seq}" for r in fleet.ledger() for seq in range(1, r["last"] + 1)}


def heard_ids(listener: Listener) -> list[str]:
    return [row["payload"]["id"] for row in listener.of("event")]  # type: ignore[index]


@pytest.mark.mosquitto
def test_every_event_arrives_though_bins_come_and_go(
    mosquitto: Mosquitto, listener: Listener
) -> None:
    """20 bins for 2 s, a third of which break away: each id is heard, wills and births are told."""
    fleet, figures = live(mosquitto.port, bins=20, for_s=2.0, churn=10.0)
    assert figures["waiting"] == 0 and figures["made"] == figures["delivered"] > 100
    wanted = account(fleet)
    assert len(wanted) == figures["made"]
    wait_for(lambda: set(heard_ids(listener)) >= wanted, what="the last events")
    assert set(heard_ids(listener)) == wanted
    births = {row["topic"] for row in listener.of("birth")}
    assert len(births) == 20
    said = lambda: [row["payload"]["state"] for row in listener.of("state")]  # type: ignore[index]  # noqa: E731
    wait_for(lambda: said().count("stopped") == 20, what="the last words")
    broken = figures["connections"] - 20
    wait_for(lambda: said().count("lost") == broken, what="the wills")
    assert broken > 0
    assert figures["boots"] > 20


@pytest.mark.mosquitto
def test_what_it_says_is_what_the_document_describes(
    mosquitto: Mosquitto, listener: Listener
) -> None:
    """Every payload of every kind, by the published schemas; state and birth are retained."""
    live(mosquitto.port, bins=20, for_s=1.5, churn=5.0)
    time.sleep(0.3)
    for kind in ("birth", "state", "event", "decision", "health"):
        rows = listener.of(kind)
        assert len(rows) >= 20, kind
        for row in rows:
            check_payload(kind, row["payload"])
    late = Listener(mosquitto.port, "bins/v1/sim/bin-00001/#")
    wait_for(lambda: late.of("state") and late.of("birth"), what="what is retained")
    assert late.of("state")[0]["payload"]["state"] == "stopped"  # type: ignore[index]
    assert not late.of("event")
    late.close()


@pytest.mark.mosquitto
def test_commands_are_obeyed_once_and_answered(mosquitto: Mosquitto) -> None:
    """ping, resend of three events, a replayed id, a verb it does not know."""
    answers: list[dict[str, Any]] = []
    events: list[str] = []

    def heard(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        body = json.loads(message.payload)
        if message.topic.endswith("event"):
            events.append(body["id"])
        else:
            answers.append({**body, "by": message.properties.CorrelationData})

    async def act(fleet: Fleet) -> None:
        while not (fleet.bins[0].online and fleet.bins[0].starts[0].last > 5):
            await asyncio.sleep(0.05)
        boot = fleet.bins[0].origin.boot
        asked = {"id": "one", "boot": boot, "from": 1, "to": 3}
        for n, (verb, body) in enumerate(
            [("ping", {}), ("resend", asked), ("resend", asked), ("move", {})]
        ):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = "ask/me"
            properties.CorrelationData = str(n).encode()
            topic = f"bins/v1/sim/bin-00001/cmd/{verb}"
            client.publish(topic, json.dumps(body), qos=1, properties=properties)
        while len(answers) < 4:
            await asyncio.sleep(0.05)

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = heard
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe([("ask/me", 1), ("bins/v1/sim/bin-00001/event", 1)])
    client.loop_start()
    time.sleep(0.2)
    fleet, figures = live(mosquitto.port, bins=2, for_s=3.0, act=act)
    client.loop_stop()
    assert [answer["by"] for answer in answers] == [b"0", b"1", b"2", b"3"]
    assert [answer["ok"] for answer in answers] == [True, True, False, False]
    assert answers[0]["detail"] == "pong" and "3 of 3" in answers[1]["detail"]
    assert "replayed" in answers[2]["detail"]
    boot = fleet.bins[0].starts[0].boot
    assert [events.count(f"{boot}-{seq}") for seq in (1, 2, 3, 4)] == [2, 2, 2, 1]
    assert figures["resent"] == 3 and figures["commands"] == 4


@pytest.mark.mosquitto
def test_a_broker_that_goes_away_costs_nothing(tmp_path: Path) -> None:
    """Killed and started again: bins come back, and every event is heard by the end."""
    broker = Mosquitto(tmp_path, "persistence false").start()

    async def act(fleet: Fleet) -> None:
        while fleet.tally.delivered < 100:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(broker.start)

    _, figures = live(broker.port, bins=20, for_s=4.0, act=act)
    broker.stop()
    assert figures["breaks"] >= 20 and figures["online"] == 20
    assert figures["waiting"] == 0 and figures["delivered"] == figures["made"]


def test_no_broker_is_a_sentence() -> None:
    """Where nothing listens, it ends at once and says what to do."""
    with pytest.raises(SmartbinError, match=r"cannot reach 127\.0\.0\.1.*mosquitto"):
        live(free_port(), bins=5, for_s=1.0)


@pytest.mark.mosquitto
def test_the_command_ends_in_order_at_a_signal(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """SIGINT: it drains, takes leave, writes the ledger, and prints the account as JSON."""
    ledger = tmp_path / "ledger.jsonl"
    process = subprocess.Popen(
        f"{sys.executable} -m edge.cli simulate --bins 20 --rate 50 --json "
        f"--port {mosquitto.port} --ledger {ledger}".split(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    first = json.loads(process.stdout.readline())
    assert first["type"] == "now" and first["online"] == 20
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=200)
    end = json.loads(rest.splitlines()[-1])
    assert process.returncode == 0 and end["type"] == "end"
    assert end["made"] == end["delivered"] > 20
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert sum(row["last"] for row in rows) == end["made"]


@pytest.mark.mosquitto
@pytest.mark.slow
def test_the_monitor_has_all_of_five_hundred_bins(mosquitto_big: Mosquitto, tmp_path: Path) -> None:
    """500 bins, 300 items a second for 20 s, a break for every bin: the database has each once."""
    monitor = RunningMonitor(settings_for(mosquitto_big.port, tmp_path)).wait_connected()
    fleet, figures = live(
        mosquitto_big.port, bins=500, for_s=20.0, rate_per_s=300.0, churn=3.0, health_every_s=10.0
    )
    assert figures["made"] == figures["delivered"] > 5000
    wait_for(
        lambda: monitor.scalar("SELECT count(*) FROM event") == figures["made"],
        what="the last events",
        timeout_s=90,
    )
    with monitor.monitor.database.reading() as db:
        stored = set(db.exec_driver_sql("SELECT boot || '-' || seq FROM event").scalars())
    assert stored == account(fleet)
    assert monitor.scalar("SELECT count(*) FROM bin") == 500
    assert not monitor.monitor.queries.rejects()
    monitor.close()


@pytest.fixture
def mosquitto_big(tmp_path: Path) -> Any:
    broker = Mosquitto(tmp_path, "max_queued_messages 0", "persistence false").start()
    yield broker
    broker.stop()


# The codec and the plan, without a broker


def test_packets_survive_any_cut_of_the_stream() -> None:
    """Bytes may come one by one or all at once; the packets are the same."""
    message = Message("a/b", b"x" * 300, qos=1, retain=True, expires_s=7, response_topic="r")
    stream = packets.publish(message, 65_535) + packets.puback(3) + packets.PINGREQ
    whole, buffer, single = packets.split(bytearray(stream)), bytearray(), []
    for byte in stream:
        buffer.append(byte)
        single += packets.split(buffer)
    assert single == whole and [packet.kind for packet in whole] == [3, 4, 12]
    delivery = packets.read_delivery(whole[0])
    assert (delivery.topic, delivery.payload, delivery.packet_id) == ("a/b", b"x" * 300, 65_535)
    assert (delivery.retained, delivery.expires_s, delivery.response_topic) == (True, 7, "r")
    assert packets.read_puback(whole[1]) == (3, True)


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_at_every_border(size: int) -> None:
    """The variable byte integer of MQTT, one to four bytes."""
    body = packets.publish(Message("t", b"x" * size), 0)
    (packet,) = packets.split(bytearray(body))
    assert packets.read_delivery(packet).payload == b"x" * size


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x30\x03\x00\x09a",  # a topic that ends beyond
        b"\x30\x04\x00\x01a\x09",  # properties that end beyond
        b"\x30\x06\x00\x01a\x02\x7f\x00",  # a property that does not exist
        b"\x30\x04\x00\x01\xff\x00",  # not UTF-8
        b"\x40\x01\x00",
        b"\x20\x01\x00",
    ],
)
def test_nonsense_is_refused_by_name(stream: bytes) -> None:
    """A broker that errs ends one connection, never the process."""
    readers = {2: packets.read_welcome, 3: packets.read_delivery, 4: packets.read_puback}
    with pytest.raises(packets.BadPacket):
        for packet in packets.split(bytearray(stream)):
            readers[packet.kind](packet)  # type: ignore[operator]


def test_the_rate_is_kept_however_late_it_is_asked() -> None:
    """10 s at 100 a second are 1,000 items, by ticks of 20 ms or of a second."""
    for tick_s in (0.02, 1.0):
        plan = Plan(50, Habits(rate_per_s=100.0), seed=1, now_s=0.0)
        n = sum(len(plan.items(step * tick_s)) for step in range(1, round(10 / tick_s) + 1))
        assert n == pytest.approx(1000, abs=2)


def test_an_outage_takes_its_share_at_once() -> None:
    """A third of the bins, a minute after the start, each once; and health comes evenly."""
    habits = Habits(rate_per_s=1.0, churn=0.0, outage=1 / 3, outage_s=30.0, health_every_s=10.0)
    plan = Plan(300, habits, seed=1, now_s=0.0)
    assert not plan.breaks(59.0)
    away = plan.breaks(60.0)
    assert len({one.bin for one in away}) == 100 and {one.how for one in away} == {"cut"}
    assert not plan.breaks(61.0)
    told = [len(plan.healths(float(s))) for s in range(1, 21)]
    assert sum(told) == 600 and max(told) < 60


def test_some_bins_are_sick_in_every_way() -> None:
    """From 20 bins on, each ailment occurs; most bins are well, and a seed gives one fleet."""
    for n in (20, 1000):
        found = [character.ailment for character in characters(n, seed=3)]
        assert {*found} == {"", *(one.ailment for one in AILMENTS)}
        assert found.count("") >= 0.7 * n
    assert characters(30, seed=3) == characters(30, seed=3) != characters(30, seed=4)


def test_what_waited_is_noted_by_ranges() -> None:
    """Each number once, whatever the order in which it waits again."""
    start = Start("0" * 12)
    for seq in (1, 4, 5, 6, 5, 9):
        start.wait(seq)
    assert start.waited == [[1, 1], [4, 6], [9, 9]]
