"""From the monitor's export to what a batch gained, and each wrong export in a sentence."""

from __future__ import annotations

import csv
import hashlib
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError, UsageError
from tests.trainer.synthetic import COLOURS, TINY_RECIPE, make_photo, write_photos
from trainer.gather import NEEDED, gather

pytestmark = pytest.mark.trainer
CLASSES = tuple(COLOURS)


def export(folder: Path, per_class: int = 4, *, tone: float = 1.0, seed: int = 1) -> Path:
    """What the monitor exports: one folder a class, labels.csv with the hash of each picture."""
    rows, dice = [], np.random.default_rng(seed)
    for number, label in enumerate(CLASSES * per_class):
        pixels, _ = make_photo(COLOURS[label], dice)
        dark = np.asarray(pixels * tone, np.uint8)
        good, jpeg = cv2.imencode(".jpg", dark[..., ::-1])
        assert good
        data = jpeg.tobytes()
        sha256 = hashlib.sha256(data).hexdigest()
        path = folder / label / f"{sha256[:16]}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        event = f"0123456789ab-{10 * number + 1}"
        rows.append([f"{label}/{path.name}", "plant", "bin-1", event, label, sha256])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([NEEDED, *rows])
    return folder


def edited(folder: Path, change: object) -> None:
    """Rewrite labels.csv row by row."""
    path = folder / "labels.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        change(number, row)  # type: ignore[operator]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, NEEDED)
        writer.writeheader()
        writer.writerows(rows)


def test_an_export_becomes_folders_with_provenance(tmp_path: Path) -> None:
    """Zip or folder; every picture has its row and its group; what fits no class lies apart."""
    folder = export(tmp_path / "out")

    def one_fits_none(number: int, row: dict[str, str]) -> None:
        if number == 0:
            row["label"] = "none of these"

    edited(folder, one_fits_none)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    found = gather(tmp_path / "labels.zip", tmp_path / "batch", CLASSES)
    assert sum(found.pictures.values()) == 11
    assert found.unknown == 1
    assert found.groups == 12
    assert len(list((tmp_path / "batch" / "images").rglob("*.jpg"))) == 11
    assert len((tmp_path / "batch" / "provenance.csv").read_text().splitlines()) == 13
    assert len((tmp_path / "batch" / "groups.csv").read_text().splitlines()) == 12


def test_items_close_in_number_are_one_group(tmp_path: Path) -> None:
    """Pictures of one item never stand on two sides of a split; other labels are other items."""
    folder = export(tmp_path / "out", per_class=2)

    def close(number: int, row: dict[str, str]) -> None:
        row["event"] = f"0123456789ab-{number + 1}"

    edited(folder, close)
    assert gather(folder, tmp_path / "batch", CLASSES).groups == len(CLASSES)


def test_all_faults_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    """Unknown class, missing picture, exchanged picture: each with its line, in one go."""
    folder = export(tmp_path / "out")

    def spoil(number: int, row: dict[str, str]) -> None:
        if number == 0:
            row["label"] = "violet"
        if number == 1:
            row["file"] = "green/nothing.jpg"
        if number == 2:
            row["sha256"] = "0" * 64
        if number == 3:
            row["file"] = "../../outside.jpg"

    edited(folder, spoil)
    with pytest.raises(ConfigError) as error:
        gather(folder, tmp_path / "batch", CLASSES)
    text = "\n".join(error.value.faults)
    assert "labels.csv:2 label = 'violet': unknown class; known are" in text
    assert "labels.csv:3 file = 'green/nothing.jpg': this picture is missing" in text
    assert "labels.csv:4" in text
    assert "not the picture that was labelled" in text
    assert "labels.csv:5" in text
    assert not (tmp_path / "batch").exists()


def test_one_picture_under_two_labels_is_a_fault(tmp_path: Path) -> None:
    """Two people, two answers: somebody must decide."""
    folder = export(tmp_path / "out")
    with (folder / "labels.csv").open(newline="") as file:
        first = next(iter(csv.DictReader(file)))
    with (folder / "labels.csv").open("a", newline="") as file:
        csv.DictWriter(file, NEEDED).writerow({**first, "label": "red"})
    with pytest.raises(ConfigError, match="labelled blue and red; decide on one"):
        gather(folder, tmp_path / "batch", CLASSES)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    """A file that is no archive, a folder without labels, a target that is in use."""
    (tmp_path / "x.zip").write_bytes(b"x")
    with pytest.raises(UsageError, match="export it again"):
        gather(tmp_path / "x.zip", tmp_path / "batch", CLASSES)
    with pytest.raises(UsageError, match=r"no readable labels.csv"):
        gather(tmp_path, tmp_path / "batch", CLASSES)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a").touch()
    with pytest.raises(UsageError, match="is not empty"):
        gather(export(tmp_path / "out"), tmp_path / "used", CLASSES)


def test_a_batch_of_a_dark_site_gains_there_and_keeps_what_was_known(tmp_path: Path) -> None:
    """Before and after on the same held-out pictures, no group on both sides of the split."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from trainer import pipeline
    from trainer.bundles import Source
    from trainer.checkpoint import load_trained
    from trainer.data import scan, split_random
    from trainer.learn import (
        MOST_LOSS,
        SHARES,
        as_text,
        change,
        groups_of,
        in_order,
        last_epoch,
        learn,
        parted,
    )
    from trainer.recipe import parse_recipe

    photos = scan(write_photos(tmp_path, per_class=12))
    old = Source("made up", "MIT", *split_random(photos, 0.3, 0), None, None)
    folders = pipeline.Folders(tmp_path / "base", tmp_path / "cache", tmp_path / "masks")
    gentle = {"augment.exposure": 1.0, "augment.gamma": 1.0, "training.epochs": 25}
    first = parse_recipe(TINY_RECIPE, where="tiny", overrides=gentle)
    base = pipeline.train(first, old, folders, device="cpu", say=lambda text: None)
    gather(export(tmp_path / "out", per_class=16, tone=0.22), tmp_path / "batch", CLASSES)
    again = {**gentle, "soft.alpha": 0.3, "training.epochs": 25}
    recipe = parse_recipe(TINY_RECIPE, where="tiny", overrides=again)
    learned = learn(
        base,
        old,
        [tmp_path / "batch"],
        pipeline.Folders(tmp_path / "run", tmp_path / "cache", tmp_path / "masks"),
        recipe,
        device="cpu",
        say=lambda text: None,
    )[0]
    assert learned.taught + learned.site.n == 48
    kept = learned.share == SHARES[-1] or learned.old.gain >= -MOST_LOSS
    assert kept, as_text([learned])
    assert learned.site.low <= learned.site.gain <= learned.site.high
    start, whole = load_trained(base), load_trained(last_epoch(tmp_path / "run" / "batch1"))
    batch = in_order(scan(tmp_path / "batch" / "images"), start.classes, tmp_path / "batch")
    held = parted(batch, tmp_path / "batch", recipe.training.seed)[1]
    groups = groups_of(held, tmp_path / "batch")
    assert change(start, whole, held, groups).gain >= 0.1
    assert "of the way kept" in as_text([learned])
    shutil.rmtree(tmp_path / "run")


def test_a_blend_takes_the_share_that_validation_likes_best(tmp_path: Path) -> None:
    """Ends are the trainings themselves; the best is written; other networks are refused."""
    pytest.importorskip("torch")
    from tests.trainer.runs import run, tiny
    from trainer.blend import averaged, blend, mixed
    from trainer.checkpoint import load_trained
    from trainer.data import scan
    from trainer.pipeline import preprocessing_of
    from trainer.val import build_val

    first = run(tmp_path, "first", tiny(epochs=2))
    second = run(tmp_path, "second", tiny(epochs=20))
    photos = scan(write_photos(tmp_path / "judge", per_class=5))
    val = build_val(photos, preprocessing_of(load_trained(first).recipe))
    tried = blend(first, second, val, tmp_path / "blend", shares=(0.0, 0.5, 1.0))
    assert [one.share for one in tried] == [0.0, 0.5, 1.0]
    best = max(tried, key=lambda one: one.score.rank)
    kept, ends = averaged(tmp_path / "blend" / "best.pt"), (averaged(first), averaged(second))
    wanted = mixed(*ends, best.share)
    assert all((kept[name] == wanted[name]).all() for name in kept)
    assert load_trained(tmp_path / "blend" / "best.pt").classes == CLASSES
    with pytest.raises(UsageError, match="different networks"):
        mixed(ends[0], {}, 0.5)


def test_a_blend_of_blends_tells_each_training_it_comes_from(tmp_path: Path) -> None:
    """Shares multiply; seeds, epochs and what a recipe set otherwise stand in the card's notes."""
    pytest.importorskip("torch")
    from dataclasses import replace

    from tests.trainer.runs import run, tiny
    from trainer.blend import blend
    from trainer.checkpoint import load_trained
    from trainer.data import scan
    from trainer.pipeline import preprocessing_of
    from trainer.val import build_val

    plain = tiny(epochs=1)
    other = replace(plain, training=replace(plain.training, lr=1e-4, seed=7))
    first, second = run(tmp_path, "first", plain), run(tmp_path, "second", other)
    photos = scan(write_photos(tmp_path / "judge", per_class=1))
    val = build_val(photos, preprocessing_of(load_trained(first).recipe))
    halves, quarters = tmp_path / "halves", tmp_path / "quarters"
    blend(first, second, val, halves, shares=(0.5,))
    blend(halves / "best.pt", second, val, quarters, shares=(0.25,))
    told = load_trained(quarters / "best.pt").notes["blend"]["trainings"]
    assert [(one["share"], one["seed"]) for one in told] == [(0.375, 0), (0.375, 7), (0.25, 7)]
    assert [one["differs"] for one in told] == [{}, {"training.lr": 1e-4}, {"training.lr": 1e-4}]
    assert {one["epochs"] for one in told} == {1}
