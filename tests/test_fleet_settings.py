"""fleet.toml: the same machinery as config.toml, all faults at once, safe by default."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edge.cli import app
from edge.errors import ConfigError, UsageError
from edge.fleet.settings import Settings, parse_settings, template
from tests.harness import ROOT


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    return list(caught.value.faults)


def test_the_template_holds_every_default() -> None:
    """What `smartbin fleet template` prints is accepted, and changes nothing."""
    assert parse_settings(template()) == Settings()


def test_all_faults_are_told_at_once() -> None:
    """Three faults in three sections, each with its line."""
    faults = faults_of("[store]\nbatch_rows = 0\n[page]\nhots = 'x'\n[mqt]\n")
    assert faults == [
        "fleet.toml:2 store.batch_rows = 0: must be 1..20000",
        "fleet.toml:4 page.hots: unknown key; did you mean host?",
        "fleet.toml:5 mqt: unknown section; did you mean mqtt?",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[page]\nhost = '0.0.0.0'", "others could read logins"),
        ("[page]\nhost = '::'", "others could read logins"),
        ("[page]\ncert_file = 'a'", "both or not at all"),
        ("[store]\nurl = 'mysql://x/y'", "must be empty, sqlite:///FILE"),
        ("[store]\nurl = 'postgresql://u:secret@h/d'", "a password does not belong here"),
        ("[mqtt]\nsite = 'a/b'", "must be 1 to 64 letters"),
        ("[mqtt]\npassword_file = 'a'", "needs mqtt.username"),
    ],
)
def test_each_unsafe_or_bad_value_is_one_sentence(text: str, part: str) -> None:
    """The sentence says what is allowed, and never shows a password."""
    (fault,) = faults_of(text)
    assert part in fault and "secret" not in fault


@pytest.mark.parametrize(
    "text",
    [
        "[page]\nhost = '127.0.0.1'",
        "[page]\nhost = '::1'",
        "[page]\nhost = 'localhost'",
        "[page]\nhost = '0.0.0.0'\nbehind_proxy = true",
        "[page]\nhost = '0.0.0.0'\ncert_file = 'a'\nkey_file = 'b'",
        "[store]\nurl = 'postgresql://u@h/d'",
        "[mqtt]\nsite = 'north'",
    ],
)
def test_each_safe_value_is_accepted(text: str) -> None:
    """Loopback, TLS, or a proxy that speaks it."""
    parse_settings(text)


def test_one_line_changes_the_database() -> None:
    """The same monitor on PostgreSQL: store.url; pictures then lie in the state folder."""
    settings = parse_settings('[store]\nurl = "postgresql://u@h/d"')
    assert settings.database_url == "postgresql+psycopg://u@h/d"
    assert parse_settings('[store]\nurl = "sqlite:////a/b.db"').picture_folder == Path(
        "/a/pictures"
    )


def test_the_command_line_tells_faults_and_templates() -> None:
    """Exit 2 with every fault for a bad file; the template on standard output."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["fleet", *arguments])

    assert run("template").output == template()
    missing = run("check-config", "--config", "/nowhere/fleet.toml")
    assert isinstance(missing.exception, ConfigError)
    assert re.search(r"cannot be read .* smartbin fleet template", str(missing.exception))


def test_users_are_made_on_the_command_line(tmp_path: Path) -> None:
    """A password comes by a pipe or a terminal, never as an argument; short ones are refused."""
    config = tmp_path / "fleet.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/f.db"\n')

    def run(*arguments: str, given: str = "") -> Result:
        command = ["fleet", "user", *arguments, "--config", str(config)]
        return CliRunner().invoke(app, command, input=given)

    assert run("add", "ann", "--role", "operator", given="long-enough-1\n").exit_code == 0
    assert run("add", "bob", given="long-enough-2\n").output == "bob may log in as viewer\n"
    assert run("list").output == "ann\toperator\nbob\tviewer\n"
    short = run("add", "eve", given="short\n")
    assert isinstance(short.exception, UsageError)
    assert "10 characters or more" in str(short.exception)
    king = run("add", "eve", "--role", "king", given="long-enough-3\n")
    assert isinstance(king.exception, UsageError)
    assert run("remove", "bob").exit_code == 0
    assert isinstance(run("remove", "bob").exception, UsageError)
    assert b"long-enough" not in (tmp_path / "f.db").read_bytes()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_is_locked_down() -> None:
    """systemd itself rates its exposure at 2.0 of 10 or less, and finds no fault in it."""
    unit = ROOT / "systemd" / "smartbin-fleet.service"
    command = ["systemd-analyze", "security", "--offline=true", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, timeout=200).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", rated)
    assert found and float(found[1]) <= 2.0, rated[-300:]
