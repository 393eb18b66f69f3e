"""Where the broker is, how to be let in, and what to do when it does not let us."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError

# CONNACK reason codes (MQTT 5, 3.2.2.2)
UNSUPPORTED_VERSION = 132
BAD_CREDENTIALS = 134
NOT_AUTHORIZED = 135
PASSWORD_VARIABLE = "SMARTBIN_MQTT_PASSWORD"
PASSWORD_CREDENTIAL = "mqtt-password"


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


def read_password(password_file: str) -> str:
    """From the file named, the systemd credential, or the environment, in this order."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(credentials) / PASSWORD_CREDENTIAL if credentials else None
    path = Path(password_file) if password_file else credential
    if path is None or (not password_file and not path.exists()):
        return os.environ.get(PASSWORD_VARIABLE, "")
    try:
        if password_file and path.stat().st_mode & 0o077:
            raise ConfigError(
                [f"mqtt.password_file: {path}: others can read it; run: chmod 600 {path}"]
            )
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            [f"mqtt.password_file: {path}: cannot be read ({error.strerror})"]
        ) from error


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
