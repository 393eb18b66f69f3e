"""How to reach a broker, as config.toml and fleet.toml both say it in their section [mqtt]."""

from __future__ import annotations

from dataclasses import dataclass

from edge.brokers import Broker, read_password, tls_context
from edge.options import Reader, host_fault, option


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """The broker. The password comes from password_file, a systemd credential mqtt-password, or
    SMARTBIN_MQTT_PASSWORD; never from this file."""

    host: str = option("127.0.0.1", "Name or address of the broker.", check=host_fault)
    port: int = option(1883, "1883 plain, 8883 with TLS.", low=1, high=65535)
    keepalive_s: int = option(
        20, "A silent broker counts as gone after 1.5 times this.", low=5, high=3600, unit="s"
    )
    username: str = option("", "Empty: anonymous.")
    password_file: str = option("", "A file that holds the password alone, mode 0600.")
    tls: bool = option(False, "Encrypt and check the broker's certificate.")
    ca_file: str = option("", "CA of the broker's certificate; empty: the system's own.")
    cert_file: str = option("", "A certificate of our own, where the broker asks for one.")
    key_file: str = option("", "The key of cert_file.")
    retry_max_s: float = option(
        60.0, "Longest wait between attempts, jittered.", low=0.2, high=3600, unit="s"
    )


def check_broker(options: BrokerOptions, reader: Reader) -> None:
    """What several options of the section get wrong together."""
    check_pair("mqtt", options.cert_file, options.key_file, reader)
    if options.cert_file and not options.tls:
        reader.fault("mqtt.cert_file", "a client certificate needs tls = true")
    if options.password_file and not options.username:
        reader.fault("mqtt.password_file", "a password needs mqtt.username")


def check_pair(section: str, cert_file: str, key_file: str, reader: Reader) -> None:
    """A certificate is of no use without its key, nor the key alone."""
    if bool(cert_file) != bool(key_file):
        reader.fault(f"{section}.cert_file", "cert_file and key_file are given both or not at all")


def broker_from(options: BrokerOptions, *, version: str, stall_s: float | None = None) -> Broker:
    """The broker, with its secrets read; raises ConfigError naming what cannot be."""
    files = (options.ca_file, options.cert_file, options.key_file)
    more = {} if stall_s is None else {"stall_s": stall_s}
    return Broker(
        host=options.host,
        port=options.port,
        version=version,
        keepalive_s=options.keepalive_s,
        username=options.username,
        password=read_password(options.password_file) if options.username else "",
        tls=tls_context(*files) if options.tls else None,
        retry_max_s=options.retry_max_s,
        **more,
    )
