"""Recipes: every fault at once, and what is saved reads back."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError, UsageError
from trainer.recipe import find_recipe, parse_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_read_back_equal(name: str) -> None:
    """The copy saved beside a result is the recipe."""
    recipe = find_recipe(name)
    assert parse_recipe(recipe.to_toml(), where="copy") == recipe


def test_all_faults_are_told_together() -> None:
    """An unknown key with the nearest one, a value out of range, a wrong type, a wrong word."""
    text = "[training]\nepoch = 3\nlr = 9.0\nbatch = 2.5\n"
    text += "[network]\nfamily = 'vgg'\n[augment]\nblur = true\n"
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, where="r.toml")
    told = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 5
    assert "r.toml: training.epoch: unknown, did you mean epochs?" in told
    assert "training.lr = 9.0: must be 1e-07..1" in told
    assert "training.batch = 2.5: must be a whole number" in told
    assert "network.family = 'vgg': must be one of lite0, lite1, lite2" in told
    assert "augment.blur = True: must be a number" in told


def test_overrides_are_checked_like_the_file() -> None:
    """--set training.epochs=3 is a value of the recipe, with the same bounds."""
    assert find_recipe("smartbin", {"training.epochs": 3}).training.epochs == 3
    with pytest.raises(ConfigError, match=r"training\.epochs = 0"):
        find_recipe("smartbin", {"training.epochs": 0})


def test_an_unknown_recipe_names_the_known_ones() -> None:
    """A wrong name is bad usage."""
    with pytest.raises(UsageError, match=r"known are .*smartbin"):
        find_recipe("smartbun")
