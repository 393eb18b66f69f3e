"""Recipes side by side: one split, one budget, and weights that are never quietly made up."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edge.errors import MissingExtraError  # noqa: E402
from tests.trainer.runs import source_in, tiny  # noqa: E402
from trainer import pipeline  # noqa: E402
from trainer.compare import Budget, budgeted, compare  # noqa: E402
from trainer.recipe import Recipe, find_recipe  # noqa: E402

pytestmark = pytest.mark.trainer


def named(name: str, **settings: object) -> Recipe:
    return replace(tiny(settings), name=name)


def run(tmp_path: Path, recipes: list[Recipe], budget: Budget) -> list:
    folders = pipeline.Folders(tmp_path / "runs", tmp_path / "cache", None)
    return compare(
        recipes, source_in(tmp_path), folders, budget, device="cpu", say=lambda text: None
    )


def test_all_get_the_same_epochs_and_pictures(tmp_path: Path) -> None:
    """Two networks, two epochs each, the same photos; the table is written as CSV and Markdown."""
    recipes = [named("lite"), named("pairs", **{"network.family": "cnn-pairs"})]
    rows = run(tmp_path, recipes, Budget(2, size_px=32))
    assert {(row.epochs, row.px, row.train, row.val) for row in rows} == {(2, 32, 18, 6)}
    assert [row.recipe for row in rows] == ["lite", "pairs"]
    assert all(0 <= row.low <= row.accuracy <= row.high <= 1 for row in rows)
    assert all(row.seconds > 0 for row in rows)
    with (tmp_path / "runs" / "compare.csv").open(newline="") as file:
        assert [row["recipe"] for row in csv.DictReader(file)] == ["lite", "pairs"]
    table = (tmp_path / "runs" / "compare.md").read_text()
    assert "| `pairs` | cnn-pairs | scratch | 0.29 M |" in table


def test_a_finished_comparison_is_not_run_again(tmp_path: Path) -> None:
    """The second call reads what the first trained, to the second."""
    recipes = [named("lite")]
    first = run(tmp_path, recipes, Budget(2))
    assert run(tmp_path, recipes, Budget(2)) == first


def test_missing_weights_stop_before_the_first_training() -> None:
    """A start from nothing must be asked for, and is then told in the recipe."""
    recipe = tiny({"network.family": "cnn-pairs", "network.weights": "package"})
    with pytest.raises(MissingExtraError, match="--scratch lets it start from nothing"):
        budgeted(recipe, Budget(2))
    assert budgeted(recipe, Budget(2, scratch=True)).network.weights == "scratch"


def test_phases_keep_their_proportion() -> None:
    """Of 20 epochs 8 are the head's: of 5, two are; and at least one is left for all of it."""
    recipe = find_recipe("resnet50-two-phase", {"network.weights": "scratch"})
    assert budgeted(recipe, Budget(5)).training.head_epochs == 2
    assert budgeted(recipe, Budget(2)).training.head_epochs == 1
    assert budgeted(recipe, Budget(1)).training.head_epochs == 0
