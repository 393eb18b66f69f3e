"""The curve by the number of pictures: what is drawn, what the law says, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edge.errors import UsageError
from tests.trainer.synthetic import TINY_RECIPE, write_photos
from trainer.curve import Law, as_text, fitted, part_of
from trainer.data import scan

pytestmark = pytest.mark.trainer

TARGETS = np.repeat(np.arange(3, dtype=np.int64), 20)


def test_a_part_has_its_share_of_every_class_and_whole_groups() -> None:
    """A quarter of 20 pictures a class, in groups of 5: one group of each."""
    groups = np.arange(60, dtype=np.int64) // 5
    rows = np.arange(60, dtype=np.int64)
    part = part_of(rows, TARGETS, 0.25, 3, groups)
    assert [int((TARGETS[part] == label).sum()) for label in range(3)] == [5, 5, 5]
    assert all(
        len(set(part.tolist()) & set(rows[groups == g].tolist())) in (0, 5) for g in range(12)
    )
    assert part_of(rows, TARGETS, 0.25, 3, groups).tolist() == part.tolist()
    assert part_of(rows, TARGETS, 0.25, 4, groups).tolist() != part.tolist()


def test_the_whole_share_is_the_whole_list_and_the_least_one_picture() -> None:
    """Rows that are not in the list stay out."""
    rows = np.arange(0, 60, 2, dtype=np.int64)
    assert part_of(rows, TARGETS, 1, 0).tolist() == rows.tolist()
    assert len(part_of(rows, TARGETS, 0.001, 0)) == 3
    with pytest.raises(UsageError, match="over 0 and at most 1"):
        part_of(rows, TARGETS, 1.5, 0)


def test_the_law_is_found_again() -> None:
    """Points of a known law give its numbers, and the pictures that a target needs."""
    law = Law(2.0, 0.5)
    sizes = [100, 400, 1600]
    found = fitted(sizes, [law.error(size) for size in sizes])
    assert found.factor == pytest.approx(2.0) and found.power == pytest.approx(0.5)
    assert found.needed(0.05) == pytest.approx(1600)
    assert Law(0.1, -0.1).needed(0.05) == Law(0.5, 1e-3).needed(0.05) == float("inf")
    with pytest.raises(UsageError, match="at least 3"):
        fitted([100, 400], [0.2, 0.1])
    with pytest.raises(UsageError, match="without any error"):
        fitted(sizes, [0.2, 0.1, 0.0])


def test_the_command_trains_each_part_once_for_as_many_steps(tmp_path: Path) -> None:
    """Three sizes of made-up pictures; run again, nothing is trained."""
    from typer.testing import CliRunner

    from trainer.cli import app

    command = ["curve", *prepared(tmp_path), "--out", str(tmp_path / "curve"), "--json"]
    command += ["--shares", "0.25,0.5,1", "--set", "training.epochs=1", "--set", "training.batch=4"]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert [(p["share"], p["epochs"]) for p in result["points"]] == [(0.25, 4), (0.5, 2), (1, 1)]
    assert result["law"]["factor"] > 0 and "error = " in as_text(result)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "curve").rglob("last.pt")}
    again = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert json.loads(again.stdout.strip().splitlines()[-1]) == result
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "curve").rglob("last.pt")} == stamps
    assert len(stamps) == 3


def test_what_no_curve_can_be_drawn_of_is_refused_before_any_training(tmp_path: Path) -> None:
    """Two sizes, or a share over 1, cost no hours first."""
    from typer.testing import CliRunner

    from trainer.cli import app

    command = ["curve", *prepared(tmp_path), "--out", str(tmp_path / "curve"), "--device", "cpu"]
    for shares, why in (("0.5,1,1", "2 different"), ("0.5,1,1.5", "over 0 and at most 1")):
        refused = CliRunner().invoke(app, [*command, "--shares", shares])
        assert isinstance(refused.exception, UsageError) and why in str(refused.exception)
    assert not (tmp_path / "curve").exists()


def prepared(folder: Path) -> list[str]:
    """Made-up photos in two lists; one is in validation under two labels: none is right of both."""
    data = write_photos(folder / "data", per_class=16)
    first, second = sorted(path for path in data.iterdir() if path.is_dir())[:2]
    shutil.copy(sorted(first.iterdir())[1], second / "other.jpg")
    names = [path.name for path in scan(data).paths if path.name != "other.jpg"]
    (folder / "train.txt").write_text("\n".join(names[::2]))
    (folder / "val.txt").write_text("\n".join([*names[1::2], "other.jpg"]))
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    lists = ["--train-names", str(folder / "train.txt"), "--val-names", str(folder / "val.txt")]
    return ["--data", str(data), *lists, "--recipe", str(folder / "tiny.toml")]
