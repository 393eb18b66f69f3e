"""The monitor's door to paho-mqtt: a session that the broker keeps, acknowledged when stored.

The daemon's `edge.mqtt` has no use for either. Threads: `_run` connects and waits; paho's own
thread calls `on_message`, which must only hand over; `acknowledge` and `publish` may be called
from any.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.brokers import Broker, remedy, unreachable
from edge.fleet.batch import Heard

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
RETRY_MIN_S = 0.5
THREAD_CHECK_S = 1.0
MAX_PACKET_BYTES = 65_536
EVENT_KINDS = ("event", "health", "ack", "answer/fleet")  # one monitor of the group hears each
PRESENT_KINDS = ("birth", "state")  # retained, which a shared subscription never delivers


def subscriptions(group: str, site: str, *, pictures: bool) -> tuple[tuple[str, int], ...]:
    """Topic filters with their QoS; births first, so that events find their bin."""
    kinds = (*EVENT_KINDS, "picture") if pictures else EVENT_KINDS
    root = f"bins/v1/{site}/+"
    present = [(f"{root}/{kind}", 1) for kind in PRESENT_KINDS]
    shared = [(f"$share/{group}/{root}/{kind}", 1) for kind in kinds]
    return (*present, *shared)


class Subscriber:
    """A connection that heals itself; what was not acknowledged comes again at the next."""

    def __init__(
        self,
        *,
        broker: Broker,
        client_id: str,
        topics: tuple[tuple[str, int], ...],
        in_flight: int,
        session_s: int,
        on_message: Callable[[Heard], None],
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._topics = topics
        self._in_flight = in_flight
        self._session_s = session_s
        self._on_message = on_message
        self._client: paho.Client | None = None  # of the present connection
        self._stop = threading.Event()
        self._over = threading.Event()  # the present connection is
        self._accepted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-mqtt", daemon=True)
        self._connection = 0
        self.trouble = "not connected yet"  # in words; empty while connected
        self.connections = 0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._accepted.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread of its own still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()

    def acknowledge(self, messages: Iterable[Heard]) -> None:
        """Tell the broker that messages are stored, in the order in which they came."""
        client = self._client
        if client is None or not self.connected:
            return
        for heard in messages:
            if heard.qos and heard.connection == self._connection:
                client.ack(heard.mid, heard.qos)

    def publish(
        self, topic: str, payload: bytes, *, answer_to: str, correlation: bytes, expires_s: int
    ) -> bool:
        """A command to a bin; False where there is no connection."""
        client = self._client
        if client is None or not self.connected:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = answer_to
        properties.CorrelationData = correlation
        properties.MessageExpiryInterval = expires_s
        return client.publish(topic, payload, qos=1, properties=properties).rc == 0

    def stop(self) -> None:
        """Take leave; the broker keeps the session, and what comes for it. Idempotent."""
        self._stop.set()
        if self._client is not None:
            self._client.disconnect()
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        delay_s = RETRY_MIN_S
        while not self._stop.is_set():
            if self._one_connection():
                delay_s = RETRY_MIN_S
            delay_s = random.uniform(
                RETRY_MIN_S, max(RETRY_MIN_S, min(self._broker.retry_max_s, delay_s * 3))
            )
            if self._stop.wait(delay_s):
                return

    def _one_connection(self) -> bool:
        """Connect, and wait until it is over; True if the broker had let us in."""
        self._over.clear()
        self._connection += 1
        client = self._new_client()
        self._client = client
        try:
            client.connect(
                self._broker.host,
                self._broker.port,
                self._broker.keepalive_s,
                clean_start=False,
                properties=self._wishes(),
            )
            client.loop_start()
            return self._wait(client)
        except (OSError, ValueError) as error:
            self._report(unreachable(self._broker.address, error))
            return False
        finally:
            self._accepted.clear()
            self._client = None
            client.loop_stop()

    def _wait(self, client: paho.Client) -> bool:
        until_s = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._over.wait(0.05) and not self.connected and time.monotonic() < until_s:
            pass
        if not self.connected:
            if not self._over.is_set():
                self._report(f"{self._broker.address} does not answer as an MQTT 5 broker")
            return False
        while not self._over.wait(THREAD_CHECK_S):
            thread = getattr(client, "_thread", None)  # a malformed packet ends it without a word
            if thread is None or not thread.is_alive():
                self._report(f"{self._broker.address} sent what no MQTT client can read")
                break
        return True

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password or None)
        if self._broker.tls:
            client.tls_set_context(self._broker.tls)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.user_data_set(self._connection)
        return client

    def _wishes(self) -> Properties:
        """Keep the session, send no more ahead than we hold in memory, and nothing huge."""
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wishes.SessionExpiryInterval = self._session_s
        wishes.ReceiveMaximum = self._in_flight
        wishes.MaximumPacketSize = MAX_PACKET_BYTES
        return wishes

    def _connected(self, client: paho.Client, _data: Any, flags: Any, code: Any, _p: Any) -> None:
        if code.is_failure:
            self._report(f"{self._broker.address} refuses: {code}{remedy(code.value)}")
            self._over.set()
            return
        kept = "kept" if flags.session_present else "new"
        log.info("fleet: connected to %s, session %s", self._broker.address, kept)
        self.trouble = ""
        self.connections += 1
        self._accepted.set()
        # Retained states come anew each time: what the broker dropped meanwhile is healed by it.
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in self._topics])

    def _disconnected(
        self, _client: paho.Client, data: Any, _flags: Any, code: Any, _p: Any
    ) -> None:
        if data == self._connection:
            if not self._stop.is_set() and self.connected:
                self._report(f"lost {self._broker.address}: {code}")
            elif not self._stop.is_set() and not self._over.is_set():
                self._report(f"{self._broker.address} hangs up before an answer")
            self._accepted.clear()
            self._over.set()

    def _received(self, _client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        topic = message.topic
        correlation = None
        if topic.endswith("/answer/fleet"):
            correlation = getattr(message.properties, "CorrelationData", None)
        self._on_message(
            Heard(
                topic,
                bytes(message.payload),
                message.qos,
                message.mid,
                data,
                not (message.retain or message.dup),
                time.time(),
                correlation,
            )
        )

    def _report(self, trouble: str) -> None:
        if trouble != self.trouble:  # once, not at every attempt
            log.warning("fleet: %s; trying again, the broker keeps what comes", trouble)
        self.trouble = trouble
