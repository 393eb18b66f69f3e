"""The demo page: what it says of a picture, and that it is served here and nowhere else."""

from __future__ import annotations

import builtins
import importlib.util
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.errors import MissingExtraError, SmartbinError, UsageError
from tests.harness import ROOT, free_port
from trainer import page

with_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None,
    reason="gradio is not installed; like torch it is of the trainer's environment",
)
RED = np.full((48, 64, 3), (220, 30, 30), np.uint8)


@pytest.fixture
def eye(write_bundle: Callable[..., Path]) -> page.Eye:
    return page.Eye(load_bundle(write_bundle()))


@pytest.fixture
def address(eye: page.Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page, served."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "dropped"))
    blocks = page.build(eye)
    yield page.launch(blocks, free_port())
    blocks.close(verbose=False)


def test_a_look_has_verdict_time_and_map(eye: page.Eye) -> None:
    """A red picture: sorted as red, the map as wide as the page wants it."""
    look = eye.look(RED)
    assert look.decision.outcome == "sorted"
    assert look.decision.label == "red"
    assert look.milliseconds > 0
    assert look.map_rgb is not None
    assert look.map_rgb.shape == (page.MAP_PX * 3 // 4, page.MAP_PX, 3)
    assert page.map_title(look) == "Evidence for red"
    assert page.verdict_text(look.decision).startswith("### sorted\nred ")


def test_an_unsure_look_says_where_it_goes(eye: page.Eye) -> None:
    """Grey is every colour alike: the reason, and the safe way."""
    look = eye.look(np.full((48, 64, 3), 127, np.uint8))
    assert look.decision.outcome == "ambiguous"
    assert "goes the safe way" in page.verdict_text(look.decision)


def test_without_gradio_one_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback: what to install."""
    usual = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "gradio":
            raise ImportError(name)
        return usual(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="pip install 'gradio"):
        page.gradio()


def test_onnxruntime_is_told_to_be_quiet_before_it_is_loaded() -> None:
    """In a process of its own: the switch is set when the first import of onnxruntime begins."""
    code = (
        "import builtins, os; usual = builtins.__import__; seen = []\n"
        "def spy(name, *rest, **options):\n"
        "    if name == 'onnxruntime': seen.append(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "    return usual(name, *rest, **options)\n"
        "builtins.__import__ = spy; import trainer.cli, trainer.page; print(seen[0])"
    )
    bare = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bare,
        timeout=200,
    )
    assert done.stdout.strip() == "1", done.stderr


def test_a_strange_port_is_refused(write_bundle: Callable[..., Path]) -> None:
    """Before anything is loaded."""
    from trainer.cli_report import demo

    with pytest.raises(UsageError, match="--port 70000: must be 1 to 65535"):
        demo(write_bundle(), 70000)


@with_gradio
@pytest.mark.trainer
def test_the_page_builds_without_analytics(eye: page.Eye) -> None:
    """Gradio's own switch is off, in the page and in the environment."""
    blocks = page.build(eye)
    assert blocks.analytics_enabled is False
    texts = str(blocks.get_config_file())
    assert "tiny@3" in texts
    assert "Segmentation:** none" in texts


@with_gradio
@pytest.mark.trainer
def test_the_page_answers_on_loopback_under_its_policy(address: str) -> None:
    """127.0.0.1 alone; nothing from elsewhere may load; another host's name is refused."""
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=200) as answer:
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    strange = urllib.request.Request(address, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(strange, timeout=200)


@with_gradio
@pytest.mark.trainer
def test_a_taken_port_is_one_sentence(eye: page.Eye, address: str) -> None:
    """Two pages on one port: the second says what to do."""
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(SmartbinError, match=f"--port {port}: cannot be listened on"):
        page.launch(page.build(eye), port)
