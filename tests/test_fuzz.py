"""Whatever arrives or lies on the disk: a value or a SmartbinError, never anything else."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import load_bundle
from edge.cameras import check_source
from edge.classifier import Classifier
from edge.commands import VERBS, Command, Refusal, answer_to, read_command
from edge.config import Config, parse_config, template
from edge.errors import BundleError, ConfigError, PictureError
from edge.pictures import decode_picture
from edge.values import Incoming
from tests.harness import tiny_card, tiny_network

MANY = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
SOURCES = r"(picam|v4l2|usb|gst|file|folder|rtsp):.{0,20}"
TEXT = template()
LINES = TEXT.splitlines()


@MANY
@given(
    verb=st.sampled_from(VERBS) | st.text(max_size=30),
    payload=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()),
    retained=st.booleans(),
    response=st.text(max_size=40),
)
def test_commands(verb: str, payload: bytes, retained: bool, response: str) -> None:
    """A command is understood or refused; an answer never goes to a topic with a wildcard."""
    incoming = Incoming(f"bins/v1/a/b/cmd/{verb}", payload, retained, response, b"c")
    command = read_command(incoming)
    assert isinstance(command, Command | Refusal)
    if retained or not isinstance(command, Command):
        assert isinstance(command, Refusal)
    answer = answer_to(incoming, {"verb": command.verb, "ok": True, "detail": ""})
    assert answer is None or not set(answer.topic) & set("+#\0")


@MANY
@given(text=st.text(max_size=200))
def test_any_text_as_configuration(text: str) -> None:
    """Text is a configuration or has faults, each of one line."""
    check_text(text)


@MANY
@given(
    number=st.integers(0, len(LINES) - 1),
    value=st.text(max_size=20) | SCALARS.map(repr) | st.sampled_from(["-1", "1e999", "{}", "[1]"]),
)
def test_configuration_with_one_line_changed(number: int, value: str) -> None:
    """One option with anything in it: accepted, or every fault names the file."""
    lines = list(LINES)
    key = lines[number].split("=")[0]
    lines[number] = f"{key}= {value}"
    check_text("\n".join(lines))


def check_text(text: str) -> None:
    try:
        assert isinstance(parse_config(text), Config)
    except ConfigError as error:
        assert error.faults and all(fault.startswith("config.toml") for fault in error.faults)


@MANY
@given(
    source=st.text(max_size=60) | st.from_regex(r"(picam|v4l2|usb|gst|file|folder|rtsp):.{0,20}")
)
def test_any_camera_source(source: str) -> None:
    """A source is known, or the fault is a sentence."""
    assert check_source(source) is None or isinstance(check_source(source), str)


ONNX = tiny_network()
CARD = tiny_card(ONNX)


@MANY
@given(key=st.sampled_from(sorted(CARD)), value=JSON)
def test_bundles_with_one_key_changed(tmp_path: Path, key: str, value: object) -> None:
    """A card with anything in one key is loaded, or refused as a BundleError."""
    path = tmp_path / "m.onnx"
    path.write_bytes(ONNX)
    path.with_suffix(".json").write_text(json.dumps({**CARD, key: value}))
    with contextlib.suppress(BundleError):
        Classifier(load_bundle(path))


@MANY
@given(at=st.integers(0, len(ONNX) - 1), value=st.integers(0, 255))
def test_networks_with_one_byte_changed(tmp_path: Path, at: int, value: int) -> None:
    """A damaged network whose hash was made to fit still ends in a BundleError, or runs."""
    data = bytearray(ONNX)
    data[at] = value
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    card = {**CARD, "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    with contextlib.suppress(BundleError):
        Classifier(load_bundle(path))


@MANY
@given(
    head=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0"]),
    body=st.binary(max_size=400),
)
def test_any_bytes_as_picture(head: bytes, body: bytes) -> None:
    """Bytes are a picture or a PictureError."""
    with contextlib.suppress(PictureError):
        assert decode_picture(head + body, name="x").shape[2] == 3


def test_cards_with_numbers_and_nesting_beyond_reason(tmp_path: Path) -> None:
    """Infinity as a version and ten thousand brackets are refused like any other card."""
    path = tmp_path / "m.onnx"
    path.write_bytes(ONNX)
    whole = json.dumps(CARD)
    for card in (whole.replace('"version": 3', '"version": 1e999'), "[" * 100_000):
        path.with_suffix(".json").write_text(card)
        with pytest.raises(BundleError):
            load_bundle(path)
