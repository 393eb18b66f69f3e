"""[mqtt] of config.toml and of fleet.toml: one definition, the same keys, faults and broker."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge.brokeroptions import BrokerOptions
from edge.config import parse_config, template
from edge.errors import ConfigError
from edge.fleet import settings
from edge.parts import broker_of

KEYS = [field.name for field in dataclasses.fields(BrokerOptions)]


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ("port = 70000", "mqtt.port = 70000: must be 1..65535"),
        ("host = 'a b'", "must be a host name or an address"),
        ("keepalive_s = 1", "must be 5..3600 s"),
        ("cert_file = 'a'\ntls = true", "cert_file and key_file are given both or not at all"),
        ("cert_file = 'a'\nkey_file = 'b'", "a client certificate needs tls = true"),
        ("password_file = 'a'", "a password needs mqtt.username"),
        ("retry_max = 1", "unknown key; did you mean retry_max_s?"),
    ],
)
def test_both_files_are_told_the_same_faults(rows: str, part: str) -> None:
    """With the line, each by its own file's name."""
    told = []
    for parse in (parse_config, settings.parse_settings):
        with pytest.raises(ConfigError) as caught:
            parse(f"[mqtt]\n{rows}\n", file="x.toml")
        told.append(caught.value.faults)
    assert told[0] == told[1] and len(told[0]) == 1 and part in told[0][0]


def test_both_files_make_the_same_broker(tmp_path: Path) -> None:
    """Every key that they share reaches it, the password out of its file too."""
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    text = f"""[mqtt]
host = "broker.example"
port = 8883
keepalive_s = 7
username = "me"
password_file = "{secret}"
tls = true
retry_max_s = 3.0
"""
    ours = broker_of(parse_config(text.replace("[mqtt]", '[mqtt]\nversion = "5"')))
    fleets = settings.broker_of(settings.parse_settings(text))
    same = ("host", "port", "version", "keepalive_s", "username", "password", "retry_max_s")
    assert [getattr(ours, name) for name in same] == [getattr(fleets, name) for name in same]
    assert (ours.password, ours.keepalive_s, ours.address) == (
        "s3cret",
        7,
        "broker.example:8883 with TLS",
    )
    assert ours.tls is not None and fleets.tls is not None


def test_each_key_stands_in_both_templates_with_one_sentence() -> None:
    """What is written for users is not written twice."""
    for key in KEYS:
        rows = [_rows_of(key, text) for text in (template(), settings.template())]
        assert rows[0] and rows[0] == rows[1], key


def _rows_of(key: str, text: str) -> str:
    """The comment and the line of a key of [mqtt]."""
    section = text.partition("\n[mqtt]\n")[2].partition("\n[")[0].splitlines()
    at = next(n for n, row in enumerate(section) if row.startswith(f"{key} = "))
    return "\n".join(section[at - 1 : at + 1])
