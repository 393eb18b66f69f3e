"""What the arm64 test takes from the host, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness import ROOT
from tools.arm64.checks import dev_tools, left_out, read_report, selection
from tools.arm64.commands import Fault, run
from tools.arm64.host import ca_bundle, check_host, mirror_of, pip_environment
from tools.arm64.root import mounts_below, workplace
from tools.arm64.sides import check_bundle

PIP_LISTING = """\
:env:.cert='{cert}'
global.cert='/nowhere.pem'
global.extra-index-url='file:///packages/simple https://more.example/simple'
global.find-links='/wheels'
global.index-url='https://first.example/simple'
install.index-url='https://second.example/simple'
"""


def test_pip_inside_has_the_indexes_of_the_host_but_not_its_folders() -> None:
    """What lies on the host's disk is not there inside."""
    env = pip_environment(PIP_LISTING)
    assert env["PIP_INDEX_URL"] == "https://second.example/simple"
    assert env["PIP_EXTRA_INDEX_URL"] == "https://more.example/simple"
    assert "PIP_FIND_LINKS" not in env
    assert env["PIP_CERT"].startswith("/etc/ssl/")


def test_ca_bundle_is_the_one_that_pip_trusts(tmp_path: Path) -> None:
    """The variable wins over the file; one that is not there is passed over."""
    cert = tmp_path / "ca.pem"
    cert.touch()
    assert ca_bundle(PIP_LISTING.format(cert=cert)) == cert
    assert ca_bundle(PIP_LISTING.format(cert="/nowhere.pem")) != cert


def test_mirror_is_debians_own_archive() -> None:
    """Not the security archive, which has no whole suite, nor somebody else's."""
    listed = (
        "https://other.example/apt Other Other\n"
        "http://mirror.example/debian-security/ Debian Debian-Security\n"
        "http://mirror.example/debian/ Debian Debian\n"
    )
    assert mirror_of(listed) == "http://mirror.example/debian/"
    assert mirror_of("https://other.example/apt Other Other\n") is None


def test_command_that_fails_or_hangs_is_a_sentence() -> None:
    """With the end of what it said, and within its time."""
    with pytest.raises(Fault, match="listing: exit code 3\nno such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"], what="listing", limit_s=10)
    with pytest.raises(Fault, match=r"waiting: not done after 0 s"):
        run(["sleep", "60"], what="waiting", limit_s=0.2)


def test_without_root_it_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it has touched anything."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Fault, match="needs root") as refused:
        check_host()
    assert refused.value.code == 2


def test_missing_network_is_a_sentence(tmp_path: Path) -> None:
    """Before it has touched anything."""
    with pytest.raises(Fault, match=r"nowhere\.onnx is not there") as refused:
        check_bundle(tmp_path / "nowhere.onnx")
    assert refused.value.code == 2


def test_folder_of_somebody_else_is_never_deleted(tmp_path: Path) -> None:
    """--work on a folder with things in it is refused, and they stay."""
    precious = tmp_path / "precious"
    precious.touch()
    with pytest.raises(Fault, match="--work"), workplace(tmp_path, keep=False):
        pass
    assert precious.exists()


def test_mounts_are_found_by_folder(tmp_path: Path) -> None:
    """/proc is a mount of its own, an empty folder has none."""
    assert Path("/proc") in mounts_below(Path("/proc"))
    assert mounts_below(tmp_path) == []


def test_test_files_that_do_not_run_are_named_with_a_reason() -> None:
    """None is left out in silence; a file that nobody listed runs by --all."""
    there = ["test_layers.py", "test_new.py", "test_wire.py"]
    named = left_out(there, everything=False)
    assert set(named) == {"test_layers.py", "test_new.py"}
    assert "--all" in named["test_new.py"]
    assert set(left_out(there, everything=True)) == {"test_layers.py"}


def test_selection_is_what_is_not_left_out() -> None:
    """pytest gets files, and in the quick run the words that a name must hold."""
    there = ["test_daemon.py", "test_layers.py", "test_new.py", "test_wire.py"]
    words = selection(there, everything=False)
    assert words[:2] == ["/smartbin/tests/test_daemon.py", "/smartbin/tests/test_wire.py"]
    assert words[-1].endswith(" or test_wire.py")
    assert "/smartbin/tests/test_new.py" in selection(there, everything=True)


def test_tools_for_tests_are_those_of_the_project() -> None:
    """The extra `dev`, without what only lints."""
    names = " ".join(dev_tools((ROOT / "pyproject.toml").read_text()))
    assert "pytest" in names and "hypothesis" in names
    assert "ruff" not in names and "smartbin" not in names


def test_report_of_pytest_is_counted(tmp_path: Path) -> None:
    """One failure of three is bad; no test at all is bad too."""
    report = tmp_path / "junit.xml"
    line = '<testsuites><testsuite tests="{}" failures="{}" errors="0" skipped="1"/></testsuites>'
    report.write_text(line.format(3, 1))
    assert read_report(report).finding == "1 passed, 1 failed, 1 left out"
    assert not read_report(report).good
    report.write_text(line.format(3, 0))
    assert read_report(report).good
    report.write_text(line.format(1, 0))
    assert not read_report(report).good
