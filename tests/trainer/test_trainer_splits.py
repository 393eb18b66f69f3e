"""Splits part pictures without parting groups, and cross-validation runs each fold once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from edge.errors import UsageError
from tests.trainer.synthetic import TINY_RECIPE, write_photos
from trainer import audit_run, splits
from trainer.data import PhotoSet, scan
from trainer.splits import Plan, Split


def photos_in(tmp_path: Path, per_class: int = 12) -> PhotoSet:
    return scan(write_photos(tmp_path, per_class=per_class))


def in_threes(photos: PhotoSet) -> splits.Ints:
    """Neighbours of one class, three to a group."""
    return np.arange(len(photos), dtype=np.int64) // 3


def sides(found: list[Split]) -> list[tuple[int, int]]:
    return [(len(one.train), len(one.val)) for one in found]


def test_folds_judge_every_picture_once(tmp_path: Path) -> None:
    """The validation sides make up the whole, each class spread evenly."""
    photos = photos_in(tmp_path)
    found = splits.split(photos, Plan("random", folds=4, seed=1))
    assert sides(found) == [(27, 9)] * 4
    assert sorted(np.concatenate([one.val for one in found]).tolist()) == list(range(36))
    for one in found:
        assert np.bincount(photos.targets[one.val]).tolist() == [3, 3, 3]


@pytest.mark.parametrize("folds", [1, 2, 4])
def test_no_group_is_on_two_sides(tmp_path: Path, folds: int) -> None:
    """Whatever the number of folds; classes stay as even as whole groups allow."""
    photos = photos_in(tmp_path)
    groups = in_threes(photos)
    for seed in range(5):
        plan = Plan("grouped", folds=folds, seed=seed, val_share=0.25)
        for one in splits.split(photos, plan, groups):
            assert not set(groups[one.train]) & set(groups[one.val])
            counts = np.bincount(photos.targets[one.val], minlength=3)
            assert counts.tolist() == [12 // max(folds, 4 if folds == 1 else 1)] * 3


def test_a_large_group_goes_to_either_side(tmp_path: Path) -> None:
    """Else what judges would never be what was photographed often."""
    photos = photos_in(tmp_path, per_class=20)
    groups = np.where(np.arange(60) < 5, 0, np.arange(60)).astype(np.int64)
    judged = [
        0 in groups[splits.split(photos, Plan("grouped", seed=seed, val_share=0.25), groups)[0].val]
        for seed in range(12)
    ]
    assert any(judged) and not all(judged)


def test_the_same_seed_gives_the_same_split(tmp_path: Path) -> None:
    """And another seed another one."""
    photos = photos_in(tmp_path)
    vals = [splits.split(photos, Plan("random", seed=s))[0].val.tolist() for s in (3, 3, 4)]
    assert vals[0] == vals[1] != vals[2]


def test_a_group_on_two_sides_is_never_let_through(tmp_path: Path) -> None:
    """The last check is an assertion of its own, whoever made the sides."""
    photos = photos_in(tmp_path)
    rows = np.arange(36)
    torn = Split(rows[rows % 2 == 0], rows[rows % 2 == 1])
    with pytest.raises(AssertionError, match="on two sides"):
        splits.check_sides(photos, torn, in_threes(photos))


@pytest.mark.parametrize(
    ("groups", "sentence"), [(True, "in 4 groups of this class, 5 sides"), (False, "grouped: give")]
)
def test_what_cannot_be_grouped_is_refused(tmp_path: Path, groups: bool, sentence: str) -> None:
    """Fewer groups than folds, or no groups at all."""
    photos = photos_in(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        splits.split(photos, Plan("grouped", folds=5), in_threes(photos) if groups else None)


@pytest.mark.parametrize(
    "plan",
    [{"kind": "best"}, {"folds": 0}, {"folds": 999}, {"val_share": 1.0}, {"seed": -1}],
)
def test_a_plan_out_of_bounds_is_refused(plan: dict[str, object]) -> None:
    """Each names its option and what is allowed."""
    with pytest.raises(UsageError, match=r"^--\S+ \S+: must be"):
        Plan(**{"kind": "random", **plan})  # type: ignore[arg-type]


def test_official_folds_leave_the_official_validation_alone(tmp_path: Path) -> None:
    """Only the training list is parted."""
    photos = photos_in(tmp_path)
    rows = np.arange(36)
    lists = Split(rows[rows % 3 > 0], rows[rows % 3 == 0])
    found = splits.split(photos, Plan("official", folds=4), lists=lists)
    for one in found:
        assert not (set(one.train) | set(one.val)) & set(lists.val)
    once = splits.split(photos, Plan("official"), lists=lists)
    assert once[0].val.tolist() == lists.val.tolist()


def test_lists_that_share_a_picture_are_refused(tmp_path: Path) -> None:
    """The picture is named."""
    photos = photos_in(tmp_path)
    both = Split(np.arange(36), np.array([5]))
    with pytest.raises(UsageError, match=r"blue3\.png: in the training and the validation list"):
        splits.split(photos, Plan("official"), lists=both)


def test_a_class_that_is_only_judged_is_refused(tmp_path: Path) -> None:
    """A class in validation that is not in training."""
    photos = photos_in(tmp_path)
    with pytest.raises(UsageError, match="class red is in validation and has no picture"):
        splits.split(photos, Plan("official"), lists=Split(np.arange(24), np.arange(24, 36)))


def test_lists_are_read_back_as_written(tmp_path: Path) -> None:
    """With the class before a name that two classes have; split.json counts and hashes."""
    photos = photos_in(tmp_path)
    (photos.root / "red" / "blue0.png").write_bytes((photos.root / "red/red0.png").read_bytes())
    photos = scan(photos.root)
    plan = Plan("random", folds=3, seed=2)
    found = splits.split(photos, plan)
    card = splits.write(photos, plan, found, tmp_path / "out")
    for k, one in enumerate(found):
        again = scan(photos.root, tmp_path / "out" / f"fold{k + 1}" / "val.txt")
        assert sorted(again.paths) == sorted(photos.paths[i] for i in one.val)
    assert json.loads((tmp_path / "out" / "split.json").read_text()) == card
    assert card["data_sha256"] == photos.sha256()
    assert card["splits"][0]["val"]["per_class"]["red"] in (4, 5)
    with pytest.raises(Exception, match="holds a split already"):
        splits.write(photos, plan, found, tmp_path / "out")


def test_a_name_with_a_blank_is_listed_and_read_back(tmp_path: Path) -> None:
    """Within the name a blank is part of it; before it, it would be lost."""
    photos = photos_in(tmp_path, per_class=2)
    photos.paths[0].rename(photos.paths[0].with_name("my photo.png"))
    photos = scan(photos.root)
    names = tmp_path / "names.txt"
    names.write_text(splits.list_text(photos, np.arange(len(photos))))
    assert scan(photos.root, names).names == photos.names
    photos.paths[1].rename(photos.paths[1].with_name(" led.png"))
    photos = scan(photos.root)
    with pytest.raises(UsageError, match=r" led\.png: a list of names holds no leading blank or #"):
        splits.list_text(photos, np.arange(len(photos)))


def test_groups_are_read_as_the_audit_wrote_them(tmp_path: Path) -> None:
    """Twins have one number; a picture that the file does not know is an error."""
    photos = photos_in(tmp_path, per_class=3)
    (photos.root / "red" / "copy.png").write_bytes((photos.root / "red/red0.png").read_bytes())
    photos = scan(photos.root)
    limits = audit_run.Limits()
    found = audit_run.audit(photos.root, tmp_path, limits, device=None, say=lambda text: None)
    path = tmp_path / "groups.csv"
    path.write_text(audit_run.groups_csv(found))
    groups = splits.read_groups(path, photos)
    assert groups[photos.names.index("copy.png")] == groups[photos.names.index("red0.png")]
    (photos.root / "red" / "late.png").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"1 of 11 pictures are not in it.*late\.png"):
        splits.read_groups(path, scan(photos.root))
    path.write_text("nonsense\n1,2\n")
    with pytest.raises(UsageError, match="not a groups file"):
        splits.read_groups(path, photos)


def test_the_split_command_refuses_options_it_would_ignore(tmp_path: Path) -> None:
    """A groups file does nothing for a random split: say so, do not pass it over."""
    from typer.testing import CliRunner

    from trainer.cli import app

    photos = photos_in(tmp_path, per_class=4)
    base = ["split", "--data", str(photos.root), "--out", str(tmp_path / "s"), "--kind", "random"]
    refused = CliRunner().invoke(app, [*base, "--groups", "groups.csv"])
    assert "takes no --groups" in str(refused.exception)
    done = CliRunner().invoke(app, [*base, "--json"])
    assert json.loads(done.stdout)["splits"][0]["val"]["n"] == 3


@pytest.mark.trainer
def test_crossval_runs_each_fold_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its third training it goes on there; run again, it trains nothing."""
    pytest.importorskip("torch")
    from trainer import crossval, pipeline
    from trainer.recipe import parse_recipe

    photos = photos_in(tmp_path, per_class=6)
    recipe = parse_recipe(TINY_RECIPE, where="tiny", overrides={"training.epochs": 1})
    plan = Plan("grouped", folds=2)
    groups = np.arange(18, dtype=np.int64) // 2
    job = crossval.Job(recipe, photos, plan, (0, 1), tmp_path / "cv", groups=groups)
    trained: list[Path] = []
    train = pipeline.train

    def counted(*args: object, **options: object) -> Path:
        if len(trained) == 2 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        path: Path = train(*args, **options)  # type: ignore[arg-type]
        trained.append(path)
        return path

    killed: list[bool] = []
    monkeypatch.setattr(pipeline, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        crossval.crossval(job, lambda text: None)
    result = crossval.crossval(job, lambda text: None)
    assert crossval.crossval(job, lambda text: None) == result and len(trained) == 4
    accuracies = [row["accuracy"] for row in result["runs"]]
    assert result["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert result["accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert [sum(row["val"] for row in result["runs"][i : i + 2]) for i in (0, 2)] == [18, 18]
    with (tmp_path / "cv" / "crossval.csv").open() as file:
        assert [row["fold"] for row in csv.DictReader(file)] == ["1", "2", "1", "2"]
    assert not (tmp_path / "cv" / "seed0" / "fold1" / "cache").exists()


@pytest.mark.trainer
def test_crossval_refuses_the_folds_of_another_recipe(tmp_path: Path) -> None:
    """Figures of two recipes are never averaged."""
    pytest.importorskip("torch")
    from trainer import crossval
    from trainer.recipe import parse_recipe

    photos = photos_in(tmp_path, per_class=4)
    for lr in (3e-3, 1e-3):
        overrides = {"training.epochs": 1, "training.lr": lr}
        recipe = parse_recipe(TINY_RECIPE, where="tiny", overrides=overrides)
        job = crossval.Job(recipe, photos, Plan("random", val_share=0.25), (0,), tmp_path / "cv")
        if lr == 3e-3:
            result = crossval.crossval(job, lambda text: None)
            assert result["accuracy"]["sd"] is None and result["accuracy"]["n"] == 1
            continue
        with pytest.raises(UsageError, match="another recipe, data or split"):
            crossval.crossval(job, lambda text: None)
    with pytest.raises(UsageError, match="--seeds 1,1: must be different"):
        crossval.Job(recipe, photos, Plan("random"), (1, 1), tmp_path / "cv")
