"""The only importer of paho-mqtt: one broker, for as long as the daemon lives.

Threads: `_run` connects, reads, keeps alive and calls the callbacks; whoever publishes writes to
the socket itself, with no other thread to wake in between. Each connection gets a fresh client, so
that nothing held in memory is sent again after a break: a decision must not arrive late, and events
come again from the outbox.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.brokers import UNSUPPORTED_VERSION, Broker, remedy, unreachable
from edge.values import Incoming, Message

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
RETRY_MIN_S = 0.5
TURN_S = 1.0  # at most so long between two looks at what must be kept alive
SHORT_S, RIVAL_AT = 10.0, 3  # so many connections in a row that did not last so long
MAX_IN_MEMORY = 200  # messages that paho may hold; the outbox holds the rest
MAX_PACKET_BYTES = 65_536  # no command is larger; MQTT 5 brokers will not send us more


class Link:
    """A connection that heals itself; publishing never waits for the network.

    `on_connect` is called, in the network thread, after every accepted connection, and may publish.
    `on_message` and `on_ack(connection, mid, accepted)` are called in that thread too, the latter
    also in that of who publishes, and must only hand over: who publishes meanwhile waits for them,
    and must hold no lock that they take.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        client_id: str,
        will: Message | None = None,
        subscriptions: tuple[str, ...] = (),
        on_connect: Callable[[], None] = lambda: None,
        on_message: Callable[[Incoming], None] = lambda incoming: None,
        on_ack: Callable[[int, int, bool], None] = lambda connection, mid, accepted: None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._subscriptions = subscriptions
        self._on_connect = on_connect
        self._on_message = on_message
        self._on_ack = on_ack
        self._protocol = paho.MQTTv311 if broker.version == "3.1.1" else paho.MQTTv5
        self._client: paho.Client | None = None  # of the present connection
        self._stop = threading.Event()
        self._broken = threading.Event()  # the present connection is over
        self._answered = threading.Event()  # accepted, refused or broken: no longer open
        self._accepted = threading.Event()  # the broker has let us in
        self._let_in = False  # by the broker, on the present connection
        self._retry_now = False  # the refusal is cured by the other protocol version
        self._carrying = threading.RLock()  # guards the client's socket and _wake_fd
        self._wake_fd = -1  # interrupts the network thread's wait
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)
        self._last_trouble = ""
        self._since_s = 0.0  # when the broker let us in
        self._short_lives = 0  # connections lost soon, in a row
        self.connection = 0  # counts connections; a mid is unique within one

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us; a refused connection does not count."""
        return self._accepted.is_set()

    @property
    def trouble(self) -> str:
        """Why there is no connection, in words; empty while there is one."""
        return "" if self.connected else self._last_trouble or "not connected yet"

    def start(self) -> None:
        """Begin to connect, in the background; returns at once."""
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread.start()

    def publish(self, message: Message) -> int | None:
        """Hand over to the network; the message id, or None where it was not taken."""
        client = self._client
        if client is None or not self.connected:
            return None
        info = self._send(client, message)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def stop(self, last: Message | None = None, *, timeout_s: float = 2.0) -> None:
        """Say a last thing, take leave of the broker (no last will) and end; idempotent."""
        client = self._client
        if client is not None and self.connected and not self._stop.is_set():
            self._say_last(client, last, timeout_s)
            self._stop.set()  # before: this end of the connection is no trouble to report
            with self._carrying:
                client.disconnect()
        self._stop.set()
        self._end_connection()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _say_last(self, client: paho.Client, last: Message | None, timeout_s: float) -> None:
        if last is None:
            return
        info = self._send(client, last)
        try:
            info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError) as error:
            log.warning("mqtt: the last message was not sent: %s", error)

    def _send(self, client: paho.Client, message: Message) -> paho.MQTTMessageInfo:
        properties = self._properties(message)
        with self._carrying:
            info = client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                properties=properties,
            )
            if client.want_write():  # the network does not take it at once
                self._wake()
        return info

    def _wake(self) -> None:
        with self._carrying:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        try:
            self._keep_connected()
        finally:
            with self._carrying:
                os.close(self._wake_fd)
                self._wake_fd = -1

    def _keep_connected(self) -> None:
        delay_s = RETRY_MIN_S
        while not self._stop.is_set():
            if self._one_connection():
                delay_s = RETRY_MIN_S
            if self._retry_now:
                self._retry_now = False
                continue
            # Decorrelated jitter: bins that lost one broker together must not return together.
            longest_s = max(RETRY_MIN_S, min(self._broker.retry_max_s, delay_s * 3))
            delay_s = random.uniform(RETRY_MIN_S, longest_s)
            if self._stop.wait(delay_s):
                return

    def _one_connection(self) -> bool:
        """Connect, and wait until it is over; True if the broker had let us in."""
        client = self._new_client()
        self._let_in = False
        self._broken.clear()
        self._answered.clear()
        if self._stop.is_set():  # `stop` has broken what was before; nobody would end this one
            return False
        self._client = client
        self.connection += 1
        try:
            broker, limits = self._broker, self._limits()
            client.connect(broker.host, broker.port, broker.keepalive_s, properties=limits)
            self._carry(client)
        except (OSError, ValueError) as error:
            self._report(unreachable(self._broker.address, error))
        finally:
            self._accepted.clear()
            self._client = None
        return self._let_in

    def _carry(self, client: paho.Client) -> None:
        """Read, write the rest and keep alive until the connection is over."""
        answer_until_s = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._broken.is_set():
            if not self._answered.is_set() and time.monotonic() >= answer_until_s:
                self._report(f"{self._broker.address} does not answer as an MQTT broker")
                self._try_other_version()
                return
            try:
                self._turn(client)
            except Exception:  # what paho-mqtt 2 raises at a malformed packet shares no base
                log.debug("mqtt: reading failed", exc_info=True)
                self._report(f"{self._broker.address} sent what no MQTT client can read")
                return

    def _turn(self, client: paho.Client) -> None:
        """Wait for the network, a wish to write or TURN_S, and do what there is to do."""
        sock: Any = client.socket()
        fd = -1 if sock is None else sock.fileno()
        if fd < 0:  # closed, perhaps by who published
            self._end_connection()
            return
        # TLS may have read more from the network than we from it.
        readable = bool(getattr(sock, "pending", int)()) or self._wait(fd, client.want_write())
        with self._carrying:
            if readable:
                client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()

    def _wait(self, fd: int, wants_to_write: bool) -> bool:
        """True where there is something to read, be it that the connection has ended."""
        poller = select.poll()
        poller.register(fd, select.POLLIN | (select.POLLOUT if wants_to_write else 0))
        poller.register(self._wake_fd, select.POLLIN)
        ready = dict(poller.poll(TURN_S * 1000))
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        return bool(ready.get(fd, 0) & ~select.POLLOUT)

    def _tune(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        """Send at once, and drop a stalled connection before it delivers a stale decision.

        Without TCP_NODELAY a decision waits for the peer's delayed acknowledgement of what was
        sent before it: 40 ms, seen at 60 items a second.
        """
        ms = round(self._broker.stall_s * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ms)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _confirm_at_once(sock)

    def _try_other_version(self) -> None:
        """A broker without version 5 may read on for ever instead of refusing it."""
        if self._broker.version == "auto":
            five = self._protocol == paho.MQTTv5
            self._protocol = paho.MQTTv311 if five else paho.MQTTv5

    def _new_client(self) -> paho.Client:
        five = self._protocol == paho.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=self._protocol,
            clean_session=None if five else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(MAX_IN_MEMORY)
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password or None)
        if self._broker.tls:
            client.tls_set_context(self._broker.tls)
        if self._will:
            will = self._will
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        client.on_socket_open = self._tune
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._acknowledged
        return client

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _p: Any) -> None:
        if code.is_failure:
            self._refused(code)
            return
        for topic in self._subscriptions:
            self._subscribe(client, topic)
        self._last_trouble = ""
        self._since_s = time.monotonic()
        self._let_in = True
        self._accepted.set()
        self._answered.set()
        version = "5" if self._protocol == paho.MQTTv5 else "3.1.1"
        log.info("mqtt: connected to %s, version %s", self._broker.address, version)
        self._on_connect()

    def _subscribe(self, client: paho.Client, topic: str) -> None:
        if self._protocol == paho.MQTTv5:
            # Else the broker hides the flag of a retained command that comes while we listen.
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            client.subscribe(topic, qos=1)

    def _refused(self, code: ReasonCode) -> None:
        if self._broker.version == "auto" and code.value == UNSUPPORTED_VERSION:
            log.info("mqtt: %s has no version 5, taking 3.1.1", self._broker.address)
            self._protocol = paho.MQTTv311
            self._retry_now = True
        else:
            self._report(
                f"{self._broker.address} refuses the connection: {code}{remedy(code.value)}"
            )
        self._end_connection()

    def _disconnected(
        self, client: paho.Client, _data: Any, _flags: Any, code: Any, _p: Any
    ) -> None:
        if client is not self._client:
            return  # an old connection's last word
        if self.connected and not self._stop.is_set():
            self._report(f"lost {self._broker.address}: {code}{self._rival()}")
        elif not self._answered.is_set():
            hint = "; does it ask for mqtt.cert_file?" if self._broker.tls else ""
            self._report(f"{self._broker.address} hangs up before an answer{hint}")
        self._end_connection()

    def _rival(self) -> str:
        """Two clients of one name throw each other out, again and again."""
        lasted_s = time.monotonic() - self._since_s
        self._short_lives = self._short_lives + 1 if lasted_s < SHORT_S else 0
        if self._short_lives < RIVAL_AT:
            return ""
        return f"; is another client called {self._client_id}, another bin of this name?"

    def _end_connection(self) -> None:
        self._accepted.clear()
        self._broken.set()
        self._answered.set()
        self._wake()

    def _received(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        _confirm_at_once(client.socket())
        properties = message.properties
        self._on_message(
            Incoming(
                topic=message.topic,
                payload=bytes(message.payload),
                retained=message.retain,
                response_topic=getattr(properties, "ResponseTopic", ""),
                correlation=getattr(properties, "CorrelationData", None),
                received_s=time.monotonic(),
                expires_s=getattr(properties, "MessageExpiryInterval", None),
            )
        )

    def _acknowledged(self, client: paho.Client, _data: Any, mid: int, code: Any, _p: Any) -> None:
        _confirm_at_once(client.socket())
        if client is self._client:
            self._on_ack(self.connection, mid, not code.is_failure)

    def _report(self, trouble: str) -> None:
        if trouble != self._last_trouble:  # once, not at every attempt
            log.warning("mqtt: %s; running on, events wait in the outbox", trouble)
        self._last_trouble = trouble

    def _limits(self) -> Properties | None:
        """What we ask the broker not to send; one that keeps to MQTT 5 does not."""
        if self._protocol != paho.MQTTv5:
            return None
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.MaximumPacketSize = MAX_PACKET_BYTES
        return limits

    def _properties(self, message: Message) -> Properties | None:
        if self._protocol != paho.MQTTv5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if message.expires_s is not None:
            properties.MessageExpiryInterval = message.expires_s
        if message.correlation is not None:
            properties.CorrelationData = message.correlation
        if message.response_topic:
            properties.ResponseTopic = message.response_topic
        return properties


def _confirm_at_once(sock: Any) -> None:
    """Have the kernel confirm what is read now without its usual 40 ms of delay.

    A broker that does not set TCP_NODELAY (Mosquitto by default) holds the next packet back until
    the last is confirmed. The kernel falls back by itself, so this is asked for at every packet.
    """
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
