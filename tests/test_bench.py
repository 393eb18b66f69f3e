"""The choice of how to run the network: measured, remembered for this hardware, and used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bench import Timed, as_text, bench, best, engines
from edge.bundle import load_bundle
from edge.choice import Choice, chosen, fingerprint, recall, remember, siblings
from edge.config import parse_config
from edge.parts import model_of
from edge.runtime import CPU, Engine, providers

FRAMES = [np.full((48, 64, 3), rgb, np.uint8) for rgb in ((220, 30, 30), (30, 200, 30))]


def timed(precision: str, p50_ms: float, agreement: float = 1.0, **engine: object) -> Timed:
    return Timed(precision, Engine(**engine), p50_ms, p50_ms, p50_ms, agreement, 1.0)  # type: ignore[arg-type]


def test_every_variant_is_timed_and_agrees(write_bundle: Callable[..., Path]) -> None:
    """Threads, spinning, arena and each provider; the reference agrees with itself."""
    found = bench({"fp32": load_bundle(write_bundle())}, FRAMES, rounds=10)
    assert [one.engine for one in found] == engines()
    assert all(one.p10_ms <= one.p50_ms <= one.p90_ms for one in found)
    assert all(one.agreement == 1 for one in found)
    assert providers()[0] == CPU


@pytest.mark.parametrize(
    ("variants", "choice"),
    [
        ([timed("int8", 2.0), timed("fp32", 4.0)], Choice("int8", Engine())),
        ([timed("int8", 9.0), timed("fp32", 4.0)], Choice("fp32", Engine())),
        ([timed("int8", 2.0), timed("int8", 1.9, threads=2)], Choice("int8", Engine())),
        ([timed("int8", 2.0), timed("int8", 1.1, threads=2)], Choice("int8", Engine(threads=2))),
        ([timed("int8", 2.0), timed("fp32", 0.1, 0.5)], Choice("int8", Engine())),
        (
            [timed("int8", 2.0), timed("int8", 1.0, threads=2, spinning=True)],
            Choice("int8", Engine()),
        ),
    ],
)
def test_the_winner_is_fast_agrees_and_wastes_nothing(
    variants: list[Timed], choice: Choice
) -> None:
    """A second thread must pay, spinning never does, and other labels are no choice."""
    assert best(variants) == choice


def test_int8_slower_than_fp32_is_said() -> None:
    """On an old ARM core fp32 is taken, and the table says why."""
    variants = [timed("int8", 9.0), timed("fp32", 4.0)]
    assert "int8 is slower here than fp32" in as_text(variants, best(variants))


def test_the_choice_is_void_on_other_hardware(
    write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Remembered for this fingerprint, unknown for any other, and never an obstacle."""
    memory = tmp_path / "state" / "runtime.json"
    bundle = load_bundle(write_bundle())
    mark = fingerprint([bundle])
    choice = Choice("fp32", Engine(threads=2))
    remember(memory, mark, choice)
    assert recall(memory, mark) == choice
    assert recall(memory, "0" * 16) is None
    other = dataclasses.replace(bundle, onnx=bundle.onnx + b"x")
    assert fingerprint([other]) != mark
    memory.write_text("{")
    assert recall(memory, mark) is None
    assert recall(tmp_path / "nowhere.json", mark) is None


def test_run_uses_the_winner(
    write_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both forms stand beside each other; the daemon's model is the remembered one, or as set."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    plain = write_bundle()
    for precision in ("int8", "fp32"):
        target = plain.with_name(f"tiny.{precision}.onnx")
        target.write_bytes(plain.read_bytes())
        target.with_suffix(".json").write_text(plain.with_suffix(".json").read_text())
    named = plain.with_name("tiny.int8.onnx")
    bundles = [load_bundle(path) for path in siblings(named).values()]
    config = parse_config(f"[model]\npath = {json.dumps(str(named))}\n")
    assert model_of(config)[0].name == "tiny.int8"
    choice = Choice("fp32", Engine(threads=2))
    remember(tmp_path / "state" / "runtime.json", fingerprint(bundles), choice)
    bundle, engine = model_of(config)
    assert (bundle.name, engine) == ("tiny.fp32", Engine(threads=2))
    fixed = parse_config(f"[model]\npath = {json.dumps(str(named))}\nchoose = false\n")
    assert model_of(fixed)[0].name == "tiny.int8"
    assert chosen(named, tmp_path / "none")[1] is None
