"""Who may import whom: edge runs without torch, and each wire or hardware library has one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

EDGE = sorted((ROOT / "edge").rglob("*.py"))
TRAINER = sorted((ROOT / "trainer").rglob("*.py"))
# A library and the only modules that may import it.
DOORS = {
    "paho": {"edge/mqtt.py", "edge/fleet/subscriber.py"},  # a bin's, and the monitor's own
    "uvicorn": {"edge/fleet/server.py"},
    "prometheus_client": {"edge/fleet/figures.py"},
    "onnxruntime": {"edge/runtime.py"},
    "picamera2": {"edge/cameras/picam.py"},
    "amqtt": {"edge/broker.py"},
    "sqlite3": {"edge/store.py"},
    "gpiozero": {"edge/actuator/gpio.py"},
    "tuf": {"edge/update/repository.py", "edge/update/fetcher.py"},
    "rembg": {"edge/segmenters/rembg_child.py"},
    "PIL": {"edge/segmenters/rembg_child.py"},
}
# Steps of the flow: each knows values, never another step.
STEPS = {"triggers", "segmenters", "classifier", "decide", "cameras", "capture"}
MAY_KNOW_ALL = {
    "daemon",
    "mind",  # the part of the daemon that is replaced in flight
    "parts",
    "cli",
    "bench",  # times the classifier
    "update",  # opens and compares models
    "demo",
    "beltsim",
    "doctor",
    "judge",
    "classify",
    "cli_tray",
    "explain",
    "config",
    "watch",
}
TRAINER_MAY_USE = {
    "errors",
    "values",
    "bundle",
    "preprocess",
    "runtime",
    "classifier",
    "decide",
    "evidence",
    "pictures",
    "segmenters",
    "shipped",
}


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_edge_never_imports_the_trainer_or_torch() -> None:
    """Not even lazily."""
    for path in EDGE:
        tops = {name.split(".")[0] for name in imports_of(path)}
        assert not tops & {"torch", "torchvision", "timm", "trainer"}, relative(path)


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    """One importer for each hardware or wire library."""
    users = {relative(p) for p in EDGE if library in {n.split(".")[0] for n in imports_of(p)}}
    assert users == DOORS[library]


def test_only_one_module_captures_with_opencv() -> None:
    """cv2 resizes in many places; it opens cameras in one."""
    users = {relative(path) for path in EDGE if "VideoCapture" in path.read_text()}
    assert users == {"edge/cameras/opencv.py"}


def test_a_step_never_imports_a_step() -> None:
    """Parts meet in the daemon, not in each other."""
    for path in EDGE:
        part = path.relative_to(ROOT / "edge").parts[0].removesuffix(".py")
        if part in MAY_KNOW_ALL or part.startswith("cli_"):
            continue
        known = {n.split(".")[1] for n in imports_of(path) if n.startswith("edge.")}
        allowed = {part, "cameras"} if part == "capture" else {part}
        assert not (known & STEPS) - allowed, relative(path)


def test_only_the_daemon_and_the_command_line_see_the_config() -> None:
    """A part takes what it uses, not the configuration."""
    seers = {relative(path) for path in EDGE if "edge.config" in imports_of(path)}
    seers = {seer for seer in seers if not seer.startswith(("edge/cli_", "edge/parts/"))}
    assert seers <= {
        "edge/daemon.py",
        "edge/mind.py",
        "edge/cli.py",
        "edge/cli_tray.py",
        "edge/demo.py",
        "edge/beltsim/daemon.py",
        "edge/doctor.py",
    }


def test_the_trainer_uses_only_what_both_sides_share() -> None:
    """One definition of preprocessing, runtime and classifier, and nothing of the daemon."""
    assert TRAINER
    for path in TRAINER:
        known = {n.split(".")[1] for n in imports_of(path) if n.startswith("edge.")}
        assert known <= TRAINER_MAY_USE, relative(path)


def test_importing_the_daemon_loads_no_torch_and_no_camera_library() -> None:
    """What is heavy is loaded only where it is used."""
    code = (
        "import sys, edge.daemon, edge.cli;"
        "bad = {'torch', 'torchvision', 'picamera2', 'amqtt', 'gpiozero', 'trainer'};"
        "print(sorted(bad & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_daemon_knows_nothing_of_the_fleet() -> None:
    """Only the command line does, and even it loads none of the monitor's packages by itself."""
    for path in EDGE:
        part = relative(path)
        if not part.startswith(("edge/cli", "edge/fleet/")):
            assert not any(name.startswith("edge.fleet") for name in imports_of(path)), part
    code = (
        "import sys, edge.daemon, edge.cli;"
        "bad = {'sqlalchemy', 'starlette', 'uvicorn', 'jinja2', 'prometheus_client', 'psycopg'};"
        "print(sorted(bad & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"
