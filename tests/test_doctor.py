"""`smartbin doctor` names what is wrong, with a remedy, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import load_config
from edge.doctor import CHECKS
from edge.health import throttle_bits
from edge.segmenters.rembg import RembgSegmenter
from tests.harness import Mosquitto, free_port
from tests.test_cli import smartbin

Write = Callable[..., Path]
Findings = dict[str, dict[str, str]]


def examine(config: Path) -> tuple[int, Findings]:
    result = smartbin("doctor", "--json", "--config", config)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert "Traceback" not in result.stderr
    return result.returncode, {row["name"]: row for row in rows}


@pytest.mark.mosquitto
def test_healthy_host_has_no_fault(mosquitto: Mosquitto, write_config: Write) -> None:
    """Camera, model, broker (published and received) and disk are good; exit 0."""
    code, found = examine(write_config(mosquitto.port))
    assert code == 0, found
    for name in ("camera", "model", "broker", "disk"):
        assert found[name]["grade"] == "good", found[name]
    assert "published and received" in found["broker"]["detail"]
    assert "64x48" in found["camera"]["detail"] and "tiny@3" in found["model"]["detail"]


def test_each_fault_is_named_with_a_remedy(tmp_path: Path, write_config: Write) -> None:
    """No camera, a damaged model, no broker: three faults at once, exit 1."""
    config = write_config(free_port(), source=f"folder:{tmp_path}/none")
    (tmp_path / "models" / "tiny.onnx").write_bytes(b"x")
    code, found = examine(config)
    assert code == 1
    faults = {name for name, row in found.items() if row["grade"] == "fault"}
    assert faults == {"camera", "model", "broker"}
    assert "does not answer" in found["broker"]["detail"] and found["broker"]["remedy"]
    assert "damaged or swapped" in found["model"]["detail"]


def test_unknown_host_is_a_matter_of_dns(write_config: Write) -> None:
    """What does not resolve is told apart from what does not answer."""
    config = write_config(1883)
    config.write_text(config.read_text().replace("[mqtt]", "[mqtt]\nhost = 'nowhere.invalid'"))
    _, found = examine(config)
    assert "nowhere.invalid does not resolve" in found["broker"]["detail"]


@pytest.mark.mosquitto
def test_refused_login_is_the_brokers_word(tmp_path: Path, write_config: Write) -> None:
    """A broker that lets nobody in is not taken for one that is away."""
    (tmp_path / "passwords").write_text("")
    extra = ("allow_anonymous false", f"password_file {tmp_path}/passwords")
    broker = Mosquitto(tmp_path, *extra).start()
    code, found = examine(write_config(broker.port))
    broker.stop()
    assert code == 1 and "refuses the connection" in found["broker"]["detail"]


def test_throttle_bits_are_none_where_no_firmware_tells_them() -> None:
    """Elsewhere than on a Pi the figure is missing, not zero."""
    pi = Path("/sys/devices/platform/soc/soc:firmware/get_throttled").exists()
    assert (throttle_bits() is not None) == pi


def test_a_segmenter_that_will_not_work_here_is_said(write_config: Write, tmp_path: Path) -> None:
    """difference without a tray to compare with; a network that is not there; none is good."""
    extra = '[segmenter]\nkind = "difference"'
    _, found = examine(write_config(free_port(), extra=extra))
    assert found["segmenter"]["grade"] == "warning"
    assert "smartbin tray" in found["segmenter"]["remedy"]
    extra = f'[segmenter]\nkind = "tiny"\nmodel = "{tmp_path}/absent.onnx"'
    code, found = examine(write_config(free_port(), extra=extra))
    assert code == 1 and "segmenter.model" in found["segmenter"]["detail"]
    _, found = examine(write_config(free_port()))
    assert found["segmenter"]["grade"] == "good"


def test_a_rembg_that_does_not_start_is_no_good_segmenter(
    write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process says why it failed, and every later frame says so again."""
    broken = RembgSegmenter(session="broken", patient=True, child="tests.rembg_stand_in")
    monkeypatch.setattr("edge.doctor.segmenter_of", lambda *_args, **_options: broken)
    config = load_config(write_config(free_port(), extra='[segmenter]\nkind = "rembg"'))
    finding = CHECKS["segmenter"](config)
    assert finding.grade == "warning" and "no such session" in finding.detail
