"""The shipped recipes: what their systems stated, listed by a line each, and runnable by name."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from edge.errors import UsageError
from trainer.cli import app
from trainer.presets import Preset, preset_of
from trainer.recipe import Recipe, find_recipe, recipe_summaries, shipped_recipes

PUBLISHED = (
    "kd-inception-resnet-v2",
    "resnet50-two-phase",
    "efficientnet-v2-s",
    "resnet18",
    "cnn-scratch",
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_of_an_earlier_system_says_its_figure(name: str) -> None:
    """Whoever reads the list sees what its author published."""
    assert "published:" in recipe_summaries()[name]


def test_recipes_are_listed_a_line_each() -> None:
    """`recipes` names every shipped recipe, for people and for programs."""
    told = CliRunner().invoke(app, ["recipes"]).stdout.splitlines()
    assert [line.split()[0] for line in told] == shipped_recipes()
    assert json.loads(CliRunner().invoke(app, ["recipes", "--json"]).stdout) == recipe_summaries()


def stated(recipe: Recipe, **values: object) -> None:
    spec = recipe.training
    assert {key: getattr(spec, key) for key in values} == values


def test_the_recipes_are_as_stated() -> None:
    """Optimizers, rates, schedules and losses are those that the systems published."""
    kd = find_recipe("kd-inception-resnet-v2")
    assert (kd.soft.temperature, kd.soft.alpha, kd.network.dropout) == (2.0, 0.7, 0.5)
    assert find_recipe(kd.soft.teacher).network.family == "timm:inception_resnet_v2"
    v2 = find_recipe("efficientnet-v2-s")
    stated(v2, optimizer="adamw", lr=1e-5, schedule="plateau", class_weight_power=1.0, fp16=1)
    assert v2.training.clip_norm > 0
    stated(find_recipe("resnet18"), lr=1e-3, lr_floor=0.1, schedule="cosine")
    scratch = find_recipe("cnn-scratch")
    stated(scratch, optimizer="adam", lr=1e-4, schedule="step", step_epochs=5, lr_drop=0.85)
    assert scratch.network.dropout == 0.15
    two = find_recipe("resnet50-two-phase").training
    assert 0 < two.head_epochs < two.epochs
    assert two.tune_lr < two.lr


def test_presets_name_recipes_that_are_shipped() -> None:
    """quick, dev and full each have their recipe; custom takes yours."""
    for name in ("quick", "dev", "full"):
        assert find_recipe(preset_of(name, None, None).recipe)
    assert preset_of("quick", None, None).pictures == 500
    assert preset_of("custom", "mine.toml", 40) == Preset("mine.toml", 40)
    assert preset_of("dev", "resnet18", None) == Preset("resnet18", 1500)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("slow", "must be one of quick, dev, full, custom"), ("custom", "name its --recipe")],
)
def test_a_wrong_preset_is_bad_usage(name: str, sentence: str) -> None:
    """The presets are named, and what custom needs."""
    with pytest.raises(UsageError, match=sentence):
        preset_of(name, None, None)
