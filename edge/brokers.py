"""Where the broker is, how to be let in, and what to do when it does not let us."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError

# CONNACK reason codes (MQTT 5, 3.2.2.2)
UNSUPPORTED_VERSION = 132
BAD_CREDENTIALS = 134
NOT_AUTHORIZED = 135


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to be let in; the password never shows in a repr."""

    host: str
    port: int
    version: str = "auto"  # auto, 5 or 3.1.1
    keepalive_s: int = 20
    username: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None
    retry_max_s: float = 60.0
    stall_s: float = 30.0  # longest silence of the network below an unacknowledged packet

    def __repr__(self) -> str:
        return f"Broker({self.address})"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}{' with TLS' if self.tls else ''}"


def tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Certificate and host name are always checked; raises ConfigError naming the file."""
    for name in (ca_file, cert_file, key_file):
        if name and not Path(name).is_file():
            raise ConfigError([f"mqtt: {name}: no such file; put the certificate there"])
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        named = ca_file or cert_file or "the system's CA store"
        raise ConfigError([f"mqtt: {named}: not usable for TLS ({error})"]) from error
    return context


def unreachable(address: str, error: Exception) -> str:
    """Why there is no connection, with the remedy where one is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "check mqtt.ca_file, the name in mqtt.host, and this host's clock"
        return f"{address} shows a bad certificate: {error.verify_message}; {remedy}"
    return f"cannot reach {address} ({error})"


def remedy(reason_code: int) -> str:
    """What to do about a refusal; empty where nothing is known."""
    if reason_code in (BAD_CREDENTIALS, NOT_AUTHORIZED):  # Mosquitto says the latter for both
        return "; check mqtt.username and the password"
    return ""
