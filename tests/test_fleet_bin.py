"""What a bin does for the fleet: sends lost events again, introduces itself to Home Assistant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.discovery import discovery_message
from edge.resend import MAX_RANGE, Ring
from edge.values import Message
from edge.wire import Origin, Topics
from tests.harness import Listener, Mosquitto, RunningDaemon, wait_for
from tests.test_daemon import ask, payloads, publish

BOOT = "0123456789ab"
# Home Assistant's MQTT integration, documented options: device discovery, and the sensor platform.
HA_ROOT = {"device", "origin", "components", "availability", "availability_mode", "state_topic"}
HA_ROOT |= {"availability_topic", "availability_template", "command_topic", "qos", "encoding"}
HA_DEVICE = {"configuration_url", "connections", "hw_version", "identifiers", "manufacturer"}
HA_DEVICE |= {"model", "model_id", "name", "serial_number", "suggested_area", "sw_version"}
HA_DEVICE |= {"via_device"}
HA_SENSOR = {"platform", "unique_id", "name", "state_topic", "value_template", "device_class"}
HA_SENSOR |= {"entity_category", "expire_after", "force_update", "icon", "json_attributes_topic"}
HA_SENSOR |= {"json_attributes_template", "options", "state_class", "unit_of_measurement"}
HA_SENSOR |= {"suggested_display_precision", "enabled_by_default", "qos", "encoding"}


def event(seq: int, *, boot: str = BOOT, size: int = 0) -> Message:
    body = {"boot": boot, "seq": seq, "fill": "x" * size}
    return Message("t", json.dumps(body).encode(), qos=1)


def asked(ring: Ring, **body: Any) -> tuple[dict[str, Any], list[int]]:
    sent: list[Message] = []
    answer = ring.obey({"boot": BOOT, **body}, send=sent.append)
    return answer, [json.loads(message.payload)["seq"] for message in sent]


def test_the_ring_gives_back_what_it_has() -> None:
    """Of a range the events that are kept, in order; none of them is said, not guessed."""
    ring = Ring()
    for seq in (1, 2, 4, 5):
        ring.keep(event(seq))
    answer, sent = asked(ring, **{"from": 2, "to": 4})
    assert (answer, sent) == ({"ok": True, "detail": "2 of 3 events are sent again"}, [2, 4])
    assert asked(ring, **{"from": 9, "to": 9})[0]["ok"] is False
    assert asked(ring, boot="f" * 12, **{"from": 1, "to": 2}) == (
        {"ok": False, "detail": "0 of 2 events are sent again"},
        [],
    )


def test_the_ring_is_bounded_by_bytes() -> None:
    """The oldest go first; a broken payload of a salvaged outbox is passed over."""
    ring = Ring(max_bytes=10_000)
    ring.keep(Message("t", b"{broken"))
    for seq in range(1, 101):
        ring.keep(event(seq, size=900))
    assert 9 <= len(ring) <= 10
    assert asked(ring, **{"from": 1, "to": 100})[1] == list(range(101 - len(ring), 101))


@pytest.mark.parametrize(
    "body",
    [
        {"boot": "nonsense"},
        {"from": 0},
        {"from": 5, "to": 4},
        {"from": True, "to": 2},
        {"from": "1"},
        {"to": MAX_RANGE + 1},
    ],
)
def test_a_wrong_request_is_refused_in_words(body: dict[str, Any]) -> None:
    """Nothing is sent, and the sentence says what is allowed."""
    ring = Ring()
    ring.keep(event(1))
    answer, sent = asked(ring, **{"from": 1, "to": 1, **body})
    assert answer["ok"] is False and not sent and answer["detail"]


@pytest.mark.mosquitto
def test_a_bin_sends_acknowledged_events_again(
    mosquitto: Mosquitto,
    listen: Callable[..., Listener],
    write_config: Callable[..., Path],
    run_daemon: Callable[..., RunningDaemon],
) -> None:
    """The same events with the same ids come a second time, and the answer counts them."""
    listener = listen(mosquitto.port)
    run_daemon(write_config(mosquitto.port))
    wait_for(lambda: len(listener.of("event")) >= 6, what="events")
    first = payloads(listener.of("event"))[0]
    wanted = {"boot": first["boot"], "from": 2, "to": 4}
    assert "resend" in payloads(listener.of("birth"))[0]["capabilities"]
    answer = ask(mosquitto.port, "resend", json.dumps(wanted))
    assert answer["ok"] is True and answer["detail"] == "3 of 3 events are sent again"

    def twice() -> bool:
        events = payloads(listener.of("event"))
        return all(sum(e["seq"] == seq for e in events) == 2 for seq in (2, 3, 4))

    wait_for(twice, what="the events again")
    events = payloads(listener.of("event"))
    for seq in (2, 3, 4):
        one, two = (e for e in events if e["seq"] == seq)
        assert one == two


def test_discovery_fits_home_assistants_documented_schema() -> None:
    """Every key is one of Home Assistant's, ids are unique, and enums come with their options."""
    origin = Origin(Topics("home", "bin-1"), BOOT, "student.int8@3", "0.1.0")
    message = discovery_message(origin, prefix="homeassistant", labels=("glass", "metal"))
    assert message.topic == "homeassistant/device/smartbin_home_bin_1/config" and message.retain
    payload = json.loads(message.payload)
    assert set(payload) <= HA_ROOT and set(payload["device"]) <= HA_DEVICE
    assert {"device", "origin", "components"} <= set(payload) and payload["origin"]["name"]
    components = payload["components"].values()
    assert len({component["unique_id"] for component in components}) == len(components)
    for component in components:
        assert set(component) <= HA_SENSOR and component["platform"] == "sensor"
        assert component["state_topic"].startswith("bins/v1/home/bin-1/")
        is_enum = component.get("device_class") == "enum"
        assert is_enum == ("options" in component)
        assert not (is_enum and {"state_class", "unit_of_measurement"} & set(component))


def test_discovery_templates_give_values() -> None:
    """Each template, rendered as Home Assistant does, reads a real payload of its topic."""
    import jinja2

    from tests.fleet_harness import Bin

    bin_ = Bin("bin-1", "home")
    event = json.loads(bin_.event("glass", 0.91).payload)
    said = {m.topic: json.loads(m.payload) for m in (bin_.state("lost"), bin_.health())}
    said["bins/v1/home/bin-1/decision"] = event
    message = discovery_message(bin_.origin, prefix="homeassistant", labels=("glass",))
    payload = json.loads(message.payload)
    values = {
        key: jinja2.Template(component["value_template"]).render(
            value_json=said[component["state_topic"]]
        )
        for key, component in payload["components"].items()
    }
    assert values["label"] == "glass" and values["confidence"] == "91.0"
    assert values["state"] == "lost" and values["temperature"] == "51.0"
    assert values["n_sorted"] == "1" and values["n_fault"] == "0" and values["outbox"] == "0"
    available = payload["availability"][0]
    template = jinja2.Template(available["value_template"])
    assert template.render(value_json=said[available["topic"]]) == "offline"


@pytest.mark.mosquitto
def test_a_bin_introduces_itself_at_the_start_and_when_home_assistant_starts(
    mosquitto: Mosquitto,
    listen: Callable[..., Listener],
    write_config: Callable[..., Path],
    run_daemon: Callable[..., RunningDaemon],
) -> None:
    """Off by default; once enabled, the message is retained and comes again on HA's birth."""
    listener = listen(mosquitto.port, "homeassistant/#")
    quiet = run_daemon(write_config(mosquitto.port))
    wait_for(lambda: "mqtt: connected" in quiet.log, what="a connection")
    quiet.close()
    assert not listener.rows
    extra = "[homeassistant]\nenabled = true\n"
    run_daemon(write_config(mosquitto.port, extra=extra))
    wait_for(lambda: len(listener.of("config")) == 1, what="the introduction")
    publish(mosquitto.port, "homeassistant/status", "online")
    wait_for(lambda: len(listener.of("config")) == 2, what="the introduction again")
    late = listen(mosquitto.port, "homeassistant/#")
    wait_for(lambda: late.of("config"), what="the retained introduction")
    device = payloads(late.of("config"))[0]
    assert device["components"]["label"]["options"] == ["red", "green", "blue", "none"]
    subprocess.run(
        ["mosquitto_pub", "-p", str(mosquitto.port), "-t", "homeassistant/status", "-m", "offline"],
        check=True,
    )
    assert len(listener.of("config")) == 2
