"""The two installations of one wheel, x86 and arm64, that answer the same questions."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.arm64.commands import Fault, run, say
from tools.arm64.plan import COMPARED, LIMIT_INSTALL_S, LIMIT_RUN_S, PI_4, SOURCES, Board
from tools.arm64.root import Root

INSIDE = "/smartbin"  # what is copied into the root
VERSIONS = """
import importlib.metadata
for found in importlib.metadata.distributions():
    print(f"{found.name}=={found.version}")
"""


@dataclass(frozen=True, slots=True)
class Side:
    """An environment with smartbin; `run` takes what stands behind `python`, and a board."""

    name: str
    folder: str  # of the environment, as programs there see it
    files: str  # where wheel and judge.py lie, as programs there see it
    execute: Callable[..., str]

    def run(self, *words: str, what: str, limit_s: float = LIMIT_RUN_S, board: Board = PI_4) -> str:
        """Run the environment's Python; returns its standard output."""
        argv = [f"{self.folder}/bin/python", *words]
        return self.execute(argv, what=f"{what} on {self.name}", limit_s=limit_s, board=board)

    def pip(self, *words: str) -> None:
        """Install from wheels and nothing else."""
        argv = ("-m", "pip", "install", "-q", "--only-binary=:all:", *words)
        self.run(*argv, what="pip install", limit_s=LIMIT_INSTALL_S)

    def install(self, wheel: str, *words: str, again: bool) -> None:
        """Install the wheel with the demo extra; `again` where one of the same version may be."""
        say(f"installing the wheel with the demo extra on {self.name}, from wheels only")
        if again:
            self.pip("--force-reinstall", "--no-deps", f"{self.files}/{wheel}")
        self.pip(*words, f"{self.files}/{wheel}[demo]")

    def versions(self) -> dict[str, str]:
        """Every installed distribution, in lower case, and its version."""
        lines = self.run("-P", "-c", VERSIONS, what="listing what is installed").lower().split()
        return dict(line.split("==", 1) for line in lines)

    def judge(self, *, board: Board = PI_4) -> dict[str, dict[str, Any]]:
        """What it makes of every sample still."""
        answer = json.loads(self.run(f"{self.files}/judge.py", what="judging stills", board=board))
        stills: dict[str, dict[str, Any]] = answer["stills"]
        return stills

    def demo(self) -> list[dict[str, Any]]:
        """The rows of `smartbin demo --once --json`."""
        say(f"smartbin demo --once --json on {self.name}")
        argv = [f"{self.folder}/bin/smartbin", "demo", "--once", "--json"]
        what = f"smartbin demo on {self.name}"
        out = self.execute(argv, what=what, limit_s=LIMIT_RUN_S)
        return [json.loads(line) for line in out.splitlines()]


def check_bundle(onnx: Path) -> None:
    """Refuse early where there is no network to test."""
    for path in (onnx, onnx.with_suffix(".json")):
        if not path.is_file():
            raise Fault(f"{path} is not there; train a student, or name another: --model", code=2)


def copy_source(repository: Path, to: Path, onnx: Path) -> Path:
    """A copy of what is tested, so that edits meanwhile change nothing; with this bundle in it."""
    say("copying the working tree")
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for name in SOURCES:
        if (repository / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(repository / name, to / name, ignore=ignored)
        else:
            shutil.copy(repository / name, to / name)
    shutil.rmtree(to / "models")
    (to / "models").mkdir()
    for suffix in (".onnx", ".json"):
        shutil.copy(onnx.with_suffix(suffix), to / "models" / f"student.int8{suffix}")
    return to


def x86_side(folder: Path, repository: Path) -> Side:
    """An environment of this machine's own architecture, with nothing in it yet."""
    if not (folder / "bin/python").exists():
        argv = ["sh", f"{repository}/tools/make-venv.sh", sys.executable, str(folder)]
        run(argv, what="making an environment", limit_s=LIMIT_INSTALL_S)

    def execute(argv: list[str], *, what: str, limit_s: float, board: Board = PI_4) -> str:
        return run(argv, what=what, limit_s=limit_s, env={**os.environ, "PYTHONPATH": ""})

    return Side("x86_64", str(folder), str(folder), execute)


def build_wheel(x86: Side, source: Path) -> Path:
    """The project's wheel; it holds no machine code, so one is for both sides."""
    say("building the wheel of the project")
    into = Path(x86.files)
    for old in into.glob("*.whl"):
        old.unlink()
    argv = ("-m", "pip", "wheel", "-q", "--no-deps", "-w", str(into), str(source))
    x86.run(*argv, what="pip wheel", limit_s=LIMIT_INSTALL_S)
    shutil.copy(Path(__file__).with_name("judge.py"), into)
    return next(into.glob("*.whl"))


def arm_side(root: Root, source: Path, wheel: Path) -> Side:
    """An environment inside the root as the README makes it on a Pi, with nothing in it yet."""
    inside = root.path / INSIDE.strip("/")
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir()
    shutil.copy(wheel, inside)
    shutil.copy(Path(__file__).with_name("judge.py"), inside)
    # The tests' files, but no code of ours: what runs is what the wheel brought.
    for name in ("docs", "systemd", "tests", "edge/samples"):
        shutil.copytree(source / name, inside / name)
    for name in ("config.toml", "pyproject.toml"):
        shutil.copy(source / name, inside)
    plugin = inside / "tools/arm64/patience.py"
    plugin.parent.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("patience.py"), plugin)
    side = Side("arm64", "/opt/smartbin", INSIDE, root.run)
    if not (root.path / "opt/smartbin/bin/python").exists():
        argv = ["python3", "-m", "venv", side.folder]
        root.run(argv, what="making an environment", limit_s=LIMIT_INSTALL_S)
    return side


def constraints(versions: dict[str, str], folder: Path) -> str:
    """A file that holds pip on one side to what decides a picture on the other."""
    path = folder / "constraints.txt"
    path.write_text("".join(f"{name}=={versions[name]}\n" for name in COMPARED))
    return str(path)
