"""These tests run in the root that `make test-cameras` makes, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cameras import virtual
from tests.cameras.taking import capture_processes

HERE = Path(__file__).resolve().parent
LANE = os.environ.get("SMARTBIN_CAMERAS", "")  # picamera2, pip-opencv or debian-opencv
INSIDE = bool(LANE) and Path("/smartbin-cameras").exists()
OUTSIDE = "these tests need a root with libcamera and GStreamer: make test-cameras"
Measured = Callable[[str], None]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Outside, a run of all tests leaves them out; who names them is told why they are skipped."""
    named = any("cameras" in Path(argument).parts for argument in config.invocation_params.args)
    return None if INSIDE or named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They change /usr/share/libcamera and take the loopback interface down."""
    for item in items:
        if not INSIDE and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=OUTSIDE))


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Called with what a test found, for the table."""
    return lambda text: request.node.user_properties.append(("measured", text))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """One line for the table from each test: its docstring, what it measured, the result."""
    report: pytest.TestReport = yield
    if INSIDE and (report.when == "call" or report.outcome != "passed"):
        what = (item.obj.__doc__ or item.name).splitlines()[0].rstrip(".")  # type: ignore[attr-defined]
        found = "; ".join(text for name, text in item.user_properties if name == "measured")
        result = "pass" if report.outcome == "passed" else "FAIL"
        with Path(f"/results/{LANE}.jsonl").open("a") as file:
            print(json.dumps({"what": what, "measured": found, "result": result}), file=file)
    return report


@pytest.fixture(scope="session")
def virtual_cameras() -> None:
    """Two of them: picam:0 counts its frames, picam:1 shows colour bars."""
    virtual.prepare()
    virtual.install()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test: no capture process."""
    yield
    assert not capture_processes(), "a capture process outlives its test"
