"""The benchmark's own arithmetic and words; with -m slow, a short run of all of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tools.bench.limits import Limits, count, kinds_of
from tools.bench.timing import Spent, allocated, interleaved, summary

pytest.importorskip("torch", reason="torch: the networks compared are made with it")

from tools.bench import document, targets
from tools.bench.child import Alone
from tools.bench.measure import Measured
from tools.bench.path import Row
from tools.bench.picture import frontier
from tools.bench.runners import Contender
from tools.bench.score import Score

pytestmark = pytest.mark.trainer


def spent(ms: float) -> Spent:
    return Spent(ms, ms, ms, ms, ms, 10)


def row(name: str, runtime: str, ms: float, hits: int, *, ours: bool = False) -> Measured:
    contender = Contender(name, runtime, "int8", Path(__file__), trained="here", ours=ours)
    score = Score(100, hits, hits / 100, gap=5.0, worst=hits - 5.0)
    return Measured(contender, spent(ms), spent(ms), spent(ms), Alone(90.0, 50.0), score)


LIMITS = Limits(
    macs=200_000_000,
    weight_bytes=10**6,
    activation_bytes=10**7,
    int8_gmacs=400.0,
    copy_gbs=40.0,
    p50_ms=1.0,
    by_kind={"1x1": (0.6, 180.0), "depthwise": (0.4, 20.0), "other": (0.0, 0.0)},
)


def test_contenders_take_turns_and_each_counts_alike() -> None:
    """One call a round each, in an order that turns; warm rounds are made but not counted."""
    called: list[str] = []
    steps = {name: lambda n=name: called.append(n) for name in "abc"}
    found = interleaved(steps, rounds=4, warm=2)
    assert called[:6] == ["a", "b", "c", "b", "c", "a"]
    assert len(called) == 18
    assert {one.n for one in found.values()} == {4}


def test_what_runs_again_is_timed_the_second_time() -> None:
    """The first call after the others pays for their traces in the caches, the second does not."""
    state = {"first": True}

    def step() -> None:
        if state["first"]:
            time.sleep(0.02)
        state["first"] = not state["first"]

    found = interleaved({"x": step}, rounds=3, warm=0, again=True)
    assert found["x"].p99 < 10


def test_the_median_and_the_spread_are_told() -> None:
    """Percentiles of the times, not their mean: one bad moment does not move the figure."""
    found = summary([1.0] * 98 + [500.0] * 2, cpu_ms=1.0)
    assert found.p50 == found.p90 == 1.0
    assert found.p99 > 400
    assert found.text == "1.00 (1.00 to 1.00)"


def test_memory_of_a_call_is_seen() -> None:
    """An array of 8 MB that is let go of again is the peak of its call, and leaves nothing."""
    peak_mb, left_kb = allocated(lambda: np.zeros(10**6))
    assert 7.9 < peak_mb < 8.5
    assert left_kb < 10


def test_products_are_counted_by_kind_of_layer() -> None:
    """A depthwise and a 1x1 convolution on 4x4 places, and a last layer."""
    shapes = {"d": [8, 1, 3, 3], "p": [16, 8, 1, 1], "w": [16, 6]}
    weights = [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "d"], ["a"], name="deep", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "p"], ["b"], name="point"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="end"),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 4, 4])
    told = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])
    graph = helper.make_graph(nodes, "g", [given], [told], weights)
    model = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    )
    assert kinds_of(model) == {
        "deep": ("depthwise", 8 * 9 * 16),
        "point": ("1x1", 8 * 16 * 16),
        "end": ("last", 96),
    }
    assert count(model)[0] == 8 * 9 * 16 + 8 * 16 * 16 + 96


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    """200 M products at 400 G a second are 0.5 ms; 11 MB at 40 GB a second are 0.275 ms."""
    assert LIMITS.arithmetic_ms == pytest.approx(0.5)
    assert LIMITS.memory_ms == pytest.approx(0.275)
    assert LIMITS.floor_ms == pytest.approx(0.5)


def test_a_target_that_is_missed_is_printed_as_lost() -> None:
    """Twice as fast is not three times, and fewer right are not more."""
    rows = [
        row("our student", "onnxruntime", 1.0, 90, ours=True),
        row("EfficientNet-Lite0 (plain)", "LiteRT", 2.0, 94),
    ]
    speed, right, floor = targets.network_targets(rows, LIMITS)
    assert (speed.verdict, right.verdict, floor.verdict) == ("**lost**", "**lost**", "pass")
    assert "2.00 times" in speed.found
    assert "90.0% against 94.0%" in right.found


def test_what_could_not_be_measured_is_neither_pass_nor_lost() -> None:
    """Without LiteRT there is no figure, and the table says so."""
    found = targets.network_targets([row("our student", "onnxruntime", 1.0, 90, ours=True)], LIMITS)
    assert found[0].verdict == "not measured"


def test_scripts_are_compared_from_the_same_picture() -> None:
    """JPEG with JPEG and raw with raw; ten times is asked only of the one with rembg."""
    rows = [
        Row("ours, JPEG 512x384", spent(4.0), 1.0),
        Row("ours, raw 1280x720", spent(2.0), 1.0),
        Row("script with Lite0, JPEG 512x384", spent(9.0), 1.0),
        Row("script with Lite0, raw 1280x720", spent(3.0), 1.0),
        Row("script with rembg u2netp and Lite0, JPEG 512x384", spent(36.0), 1.0),
    ]
    found = [target.verdict for target in targets.path_targets(rows, "one core")]
    assert found == ["pass", "**lost**", "**lost**"]


def test_networks_are_listed_fastest_first_and_the_absent_say_why() -> None:
    """A contender that cannot be had here is a row with its reason, in as many columns."""
    absent = Contender("EfficientNetV2-S", "onnxruntime", "fp32", Path("none.onnx"))
    rows = [
        row("slow", "onnxruntime", 5.0, 80),
        Measured(absent, why_not="timm is not installed"),
        row("our student", "onnxruntime", 1.0, 90, ours=True),
    ]
    text = document.networks(rows, "100 pictures.")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "**our student**",
        "slow",
        "EfficientNetV2-S",
    ]
    assert "not here: timm is not installed" in lines[-1]
    assert len({line.count("|") for line in lines}) == 1


def test_no_network_of_the_frontier_is_beaten_in_both() -> None:
    """A slower one stays only where it is more right."""
    points = [(2.0, 90.0), (1.0, 88.0), (3.0, 89.0), (4.0, 95.0), (1.0, 80.0)]
    assert frontier(points) == [(1.0, 88.0), (2.0, 90.0), (4.0, 95.0)]


def test_only_what_lies_between_the_marks_is_replaced(tmp_path: Path) -> None:
    """What a person has written around the tables stays."""
    from tools.bench.__main__ import BEGIN, END, placed

    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    assert placed(page, "new") == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"


def test_a_row_is_frozen() -> None:
    """A figure cannot be changed after it was measured."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        row("x", "ncnn", 1.0, 50).one = None  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.mosquitto
@pytest.mark.timeout(900)
def test_a_quick_run_prints_every_table(tmp_path: Path) -> None:
    """From converted networks to the daemon under load; what is not installed says so."""
    page = tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "--quick", f"--work={tmp_path}", f"--out={page}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "U2NET_HOME": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text()
    for heading in ("Targets", "Networks", "Whole path", "Limits", "Growth", "Import"):
        assert f"## {heading}" in text
    student = next(
        line for line in text.splitlines() if line.startswith("| **our student** | int8")
    )
    assert "onnxruntime" in student
    assert "within 3 times of the arithmetic floor" in text
