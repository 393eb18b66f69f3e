"""How a bin introduces itself to Home Assistant: one device with its sensors, by MQTT discovery.

The keys are those of Home Assistant's MQTT integration, device discovery
(home-assistant.io/integrations/mqtt, 2024.11 or later). Pure: values in, a message out.
"""

from __future__ import annotations

from typing import Any

from edge.values import Message
from edge.wire import Origin, Topics, encode

OUTCOMES = ("sorted", "unknown", "ambiguous", "empty", "late", "fault")
STATES = ("init", "ready", "degraded", "stopped", "lost")
ONLINE = b"online"  # Home Assistant's own birth, on PREFIX/status


def status_topic(prefix: str) -> str:
    """Where Home Assistant says that it is there."""
    return f"{prefix}/status"


def discovery_message(origin: Origin, *, prefix: str, labels: tuple[str, ...]) -> Message:
    """The retained description of this bin's device; the same one for the same bin."""
    topics = origin.topics
    name = f"smartbin_{topics.site}_{topics.bin}".replace(".", "_").replace("-", "_")
    payload = {
        "device": {
            "identifiers": [f"smartbin/{topics.site}/{topics.bin}"],
            "name": f"{topics.site} {topics.bin}",
            "manufacturer": "smartbin",
            "model": origin.model,
            "sw_version": origin.software,
        },
        "origin": {"name": "smartbin", "sw_version": origin.software},
        "availability": [
            {
                "topic": topics.of("state"),
                "value_template": "{{ 'offline' if value_json.state in ['lost', 'stopped'] "
                "else 'online' }}",
            }
        ],
        "components": {
            key: {"unique_id": f"{name}_{key}", **component}
            for key, component in _components(topics, labels).items()
        },
    }
    return Message(f"{prefix}/device/{name}/config", encode(payload), qos=1, retain=True)


def _components(topics: Topics, labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    decision, health = topics.of("decision"), topics.of("health")
    components = {
        "state": {
            **_sensor("State", topics.of("state"), "value_json.state", icon="mdi:trash-can"),
            "device_class": "enum",
            "options": list(STATES),
            "json_attributes_topic": topics.of("state"),
            "entity_category": "diagnostic",
        },
        "label": {
            **_sensor("Last item", decision, "value_json.label or 'none'", icon="mdi:recycle"),
            "device_class": "enum",
            "options": [*labels, "none"],
            "json_attributes_topic": decision,
        },
        "outcome": {
            **_sensor("Last outcome", decision, "value_json.outcome", icon="mdi:help-circle"),
            "device_class": "enum",
            "options": list(OUTCOMES),
        },
        "confidence": _measured(
            "Confidence", decision, "(value_json.confidence * 100) | round(1)", "%"
        ),
        "temperature": {
            **_measured("Temperature", health, "value_json.temperature_c", "°C"),
            "device_class": "temperature",
            "entity_category": "diagnostic",
        },
        "rss": {
            **_measured("Memory", health, "value_json.rss_mb", "MB"),
            "device_class": "data_size",
            "entity_category": "diagnostic",
        },
        "outbox": {
            **_measured("Outbox", health, "value_json.outbox.depth", "events"),
            "entity_category": "diagnostic",
        },
    }
    for outcome in OUTCOMES:
        template = f"value_json.outcomes.{outcome} | default(0)"
        counter = _sensor(f"Items {outcome}", health, template, icon="mdi:counter")
        components[f"n_{outcome}"] = {**counter, "state_class": "total_increasing"}
    return components


def _sensor(name: str, topic: str, template: str, *, icon: str = "") -> dict[str, Any]:
    shown = {"icon": icon} if icon else {}
    return {
        "platform": "sensor",
        "name": name,
        "state_topic": topic,
        "value_template": f"{{{{ {template} }}}}",
        **shown,
    }


def _measured(name: str, topic: str, template: str, unit: str) -> dict[str, Any]:
    unit_and_class = {"unit_of_measurement": unit, "state_class": "measurement"}
    return {**_sensor(name, topic, template), **unit_and_class}
