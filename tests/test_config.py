"""config.toml: every option documented, every fault told at once with its line."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from edge.config import SECTIONS, check_routes, load_config, parse_config, template
from edge.errors import ConfigError
from edge.options import default_of, rule_of
from tests.harness import ROOT


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return list(caught.value.faults)


def test_shipped_config_is_what_the_code_documents() -> None:
    """config.toml is the text that the options themselves give."""
    assert (ROOT / "config.toml").read_text() == template()


def test_shipped_config_holds_every_option_at_its_default() -> None:
    """Each option of the code stands in config.toml with its default, and nothing else does."""
    document = tomllib.loads((ROOT / "config.toml").read_text())
    assert set(document) == set(SECTIONS)
    for name, kind in SECTIONS.items():
        fields = {field.name: default_of(field) for field in dataclasses.fields(kind)}
        assert set(document[name]) == set(fields)
        plain = {k: v for k, v in fields.items() if not isinstance(v, dict)}
        assert {k: document[name][k] for k in plain} == plain


def test_every_number_has_bounds_and_every_option_a_sentence() -> None:
    """No number is unbounded, and each option says what it is for."""
    for kind in SECTIONS.values():
        for field in dataclasses.fields(kind):
            rule = rule_of(field)
            assert len(rule.doc) > 5, field.name
            if isinstance(default_of(field), int | float) and not rule.choices:
                assert isinstance(default_of(field), bool) or rule.low is not None, field.name


def test_defaults_lie_within_their_own_bounds() -> None:
    """A file that repeats every default is accepted."""
    assert parse_config(template()).site.bin == "bin-1"


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    """Three faults in three sections give three sentences with their lines."""
    faults = faults_of("[trigger]\nsettle_s = -1\n\n[mqtt]\nport = 70000\n[camra]\nx = 1\n")
    assert faults == [
        "config.toml:2 trigger.settle_s = -1: must be 0..10 s",
        "config.toml:5 mqtt.port = 70000: must be 1..65535",
        "config.toml:6 camra: unknown section; did you mean camera?",
    ]


def test_unknown_key_names_its_line_and_the_nearest_key() -> None:
    """A misspelt key is never passed over."""
    assert faults_of("[trigger]\n\nsetle_s = 0.3\n") == [
        "config.toml:3 trigger.setle_s: unknown key; did you mean settle_s?"
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[mqtt]\nport = '1883'", "must be 1..65535, a whole number"),
        ("[mqtt]\nport = true", "must be 1..65535, a whole number"),
        ("[camera]\nfps = nan", "must be 0.1..240 1/s, a number"),
        ("[camera]\nfps = inf", "must be 0.1..240 1/s"),
        ("[mqtt]\ntls = 1", "must be true or false"),
        ("[trigger]\nkind = 'presense'", "did you mean presence?"),
        ("[site]\nbin = 'a/b'", "must be 1 to 64 letters"),
        ("[site]\nbin = '#'", "must be 1 to 64 letters"),
        ("[routes.by_class]\nglass = 'a b'", "routes.by_class.glass = 'a b'"),
        ("[routes]\nby_class = 3", "must be a table"),
        ("mqtt = 3", "must be a section"),
        ("[camera]\nsource = 'picm:0'", "camera.source = 'picm:0'"),
        ("[camera]\nrotate_deg = 45", "must be 0, 90, 180 or 270"),
        ("[mqtt]\ncert_file = 'a'\ntls = true", "both or not at all"),
        ("[camera]\ntimeout_s = 20\ngive_up_s = 5", "must not be less than camera.timeout_s"),
        ("[mqtt", "not TOML"),
        ("[camera]\nfps = 1" + "0" * 400, "must be 0.1..240 1/s"),
        ("[camera]\nfps = 1" + "0" * 5000, "not TOML"),
        ("[camera]\nfps = " + "[" * 5000, "not TOML"),
        ("[mqtt]\nhost = ''", "must be a host name"),
        ("[camera]\nfps = 0.1", "longer than two frames"),
    ],
)
def test_each_bad_value_is_one_sentence(text: str, part: str) -> None:
    """The sentence says what is allowed."""
    (fault,) = faults_of(text)
    assert part in fault and "\n" not in fault
    assert fault.startswith("config.toml")


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """No file is a fault like any other."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read .* copy config\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 give a sentence, no traceback."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00[")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


def test_route_of_an_unknown_class_is_refused_with_its_line(tmp_path: Path) -> None:
    """A route that no item can ever take is a fault of the file."""
    path = tmp_path / "config.toml"
    path.write_text("[routes.by_class]\nglass = 'a'\nglas = 'b'\n")
    with pytest.raises(ConfigError, match=re.escape("config.toml:3 routes.by_class.glas: ")):
        check_routes(load_config(path), ("glass", "paper"))
