"""`smartbin demo` with the shipped student, sample frames and embedded broker."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.harness import ROOT

ACCEPTANCE = {
    f"{item}_{surface}.jpg"
    for item in ("can", "beer", "pet", "paper", "cardboard", "wrapper")
    for surface in ("white", "wood")
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """The demo as a program sees it."""
    result = subprocess.run(
        [sys.executable, "-m", "edge.cli", "demo", "--once", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_picture_gives_one_decision_through_the_broker(rows: list[dict[str, object]]) -> None:
    """No picture is lost, none is told twice, and the order is the folder's."""
    pictures = sorted(path.name for path in (ROOT / "edge/samples/stills").glob("*.jpg"))
    assert [row["picture"] for row in rows] == pictures
    assert len({row["id"] for row in rows}) == len(rows)


def test_ten_of_the_twelve_acceptance_frames_are_right(rows: list[dict[str, object]]) -> None:
    """Six items on white card and on a brown table."""
    right = [row["picture"] for row in rows if row["picture"] in ACCEPTANCE and row["right"]]
    assert len(right) >= 10, sorted(ACCEPTANCE - set(map(str, right)))


def test_demo_tells_the_truth(rows: list[dict[str, object]]) -> None:
    """`right` is what the truth in samples.json says, and only a sorted item moved the flap."""
    listing = json.loads((ROOT / "edge/samples/samples.json").read_text())
    truth = {still["file"].split("/")[-1]: still["label"] for still in listing["stills"]}
    for row in rows:
        assert row["truth"] == truth[str(row["picture"])]
        assert row["right"] == (row["outcome"] == "sorted" and row["label"] == row["truth"])
        assert row["ack"] == ("done" if row["outcome"] == "sorted" else "home")
