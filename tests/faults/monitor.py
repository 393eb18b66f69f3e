"""The fleet's end: a subscriber whose session the broker keeps, so that it misses nothing."""

from __future__ import annotations

import json
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.faults.ledger import Id, id_of
from tests.harness import wait_for

ROOT_TOPIC = "bins/v1/test/b1"


class Monitor:
    """Listens to everything of the bin with QoS 1, and remembers it in order."""

    def __init__(self, port: int) -> None:
        self.events: list[tuple[Id, bytes]] = []
        self.others: list[tuple[str, bytes]] = []  # (answers, or last level of the topic; payload)
        self.welcomes = 0
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="monitor", protocol=paho.MQTTv5
        )
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._received
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600
        self._client.connect(
            "127.0.0.1", port, clean_start=False, properties=session, keepalive=600
        )
        self._client.loop_start()
        wait_for(lambda: self.welcomes, what="the monitor's subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def states(self) -> list[dict[str, Any]]:
        """What the bin said of its state, live."""
        return [json.loads(payload) for name, payload in self.others if name == "state"]

    def of(self, name: str) -> list[bytes]:
        return [payload for other, payload in self.others if other == name]

    def send(self, topic: str, payload: bytes = b"", properties: Properties | None = None) -> None:
        self._client.publish(topic, payload, qos=1, properties=properties)

    def _connected(self, client: paho.Client, _d: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        if not code.is_failure:
            client.subscribe([("bins/#", 1), ("answers/#", 1)])  # type: ignore[arg-type]

    def _subscribed(self, *_: Any) -> None:
        self.welcomes += 1

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        first, *_, name = message.topic.split("/")
        name = first if first == "answers" else name
        if name == "event":
            self.events.append((id_of(message.payload), bytes(message.payload)))
        else:
            self.others.append((name, bytes(message.payload)))
