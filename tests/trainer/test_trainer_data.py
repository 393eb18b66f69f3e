"""Folders of labelled pictures: found, listed, split, decoded once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import PictureError, UsageError
from tests.trainer.synthetic import write_photos
from trainer.data import (
    CACHE_H,
    CACHE_W,
    check_classes,
    load_masks,
    load_pixels,
    scan,
    split_random,
    thin_out,
)


def test_classes_are_the_folders_sorted(tmp_path: Path) -> None:
    """Any set of folders is a set of classes; nothing else names them."""
    photos = scan(write_photos(tmp_path, per_class=2))
    assert photos.classes == ("blue", "green", "red")
    assert photos.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_list_keeps_its_names_and_all_classes(tmp_path: Path) -> None:
    """A list picks pictures, in its order; the classes stay those of the folders."""
    root = write_photos(tmp_path)
    names = tmp_path / "val.txt"
    names.write_text("red1.png\nblue/blue0.png\n\n")
    photos = scan(root, names)
    assert photos.names == ("red1.png", "blue0.png")
    assert photos.targets.tolist() == [2, 0]
    assert len(photos.classes) == 3


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    """A class folder without a picture is an error that names the folder."""
    root = write_photos(tmp_path)
    (root / "yellow").mkdir()
    with pytest.raises(UsageError, match="yellow: no picture"):
        scan(root)


def test_a_class_of_unread_files_says_which_are_read(tmp_path: Path) -> None:
    """A telephone's .heic photos are no pictures here: the sentence shows one and what would do."""
    root = write_photos(tmp_path)
    (root / "yellow").mkdir()
    (root / "yellow" / "IMG_1.HEIC").write_bytes(b"x")
    (root / "yellow" / ".DS_Store").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"yellow: no picture.*\(1\), as IMG_1\.HEIC: .*\.jpg"):
        scan(root)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    """There is nothing to tell apart in one class."""
    with pytest.raises(UsageError, match="at least 2"):
        scan(write_photos(tmp_path, colours=("red",)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("nothing.png\n", "the first is nothing.png"), ("\n", "no name in it")],
)
def test_a_bad_list_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """A name that is not there, or a list without names, is one clear sentence."""
    names = tmp_path / "names.txt"
    names.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        scan(write_photos(tmp_path), names)


def test_a_name_in_two_classes_is_refused(tmp_path: Path) -> None:
    """A name that two classes hold must be written with its class."""
    root = write_photos(tmp_path)
    (root / "red" / "blue0.png").write_bytes((root / "blue" / "blue0.png").read_bytes())
    names = tmp_path / "names.txt"
    names.write_text("blue0.png\n")
    with pytest.raises(UsageError, match=r"two classes; write CLASS/blue0\.png"):
        scan(root, names)


def test_a_class_only_in_validation_is_refused(tmp_path: Path) -> None:
    """What was never trained on cannot be validated."""
    photos = scan(write_photos(tmp_path, per_class=2))
    with pytest.raises(UsageError, match="class red is in validation"):
        check_classes(photos.subset([0, 2]), photos.subset([1, 4]))


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    """Decoding stops at the first damaged file and says which."""
    root = write_photos(tmp_path)
    whole = (root / "red" / "red3.png").read_bytes()
    (root / "red" / "red3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match=r"red3\.png: the picture is truncated"):
        load_pixels(scan(root), tmp_path / "cache")


def test_pictures_are_decoded_once(tmp_path: Path) -> None:
    """The second call reads the cache; a changed picture makes another."""
    root, ticks = write_photos(tmp_path, per_class=2), []
    first = load_pixels(scan(root), tmp_path / "cache", lambda: ticks.append(1))
    again = load_pixels(scan(root), tmp_path / "cache", lambda: ticks.append(1))
    assert first.shape == (6, CACHE_H, CACHE_W, 3)
    assert np.array_equal(first, again)
    assert len(ticks) == 6
    cv2.imwrite(str(root / "red" / "red0.png"), np.zeros((96, 128, 3), np.uint8))
    changed = load_pixels(scan(root), tmp_path / "cache")
    assert changed[4].max() == 0


def test_the_data_hash_knows_bytes_not_order(tmp_path: Path) -> None:
    """The hash in a model card names the pictures, whatever their order in a list."""
    photos = scan(write_photos(tmp_path))
    assert photos.sha256() == photos.subset(range(len(photos) - 1, -1, -1)).sha256()
    assert photos.sha256() != photos.subset(range(len(photos) - 1)).sha256()


def test_splits_keep_every_class_on_both_sides(tmp_path: Path) -> None:
    """A random split is by class, seeded, and has no picture on two sides."""
    photos = scan(write_photos(tmp_path))
    train, val = split_random(photos, 0.15, seed=1)
    assert set(train.paths).isdisjoint(val.paths)
    assert len(train) + len(val) == len(photos)
    assert set(train.targets) == set(val.targets) == {0, 1, 2}
    assert split_random(photos, 0.15, seed=1)[1].names == val.names


def test_a_class_of_one_picture_cannot_be_split(tmp_path: Path) -> None:
    """One picture can be trained on or validated with, not both."""
    root = write_photos(tmp_path)
    for path in sorted((root / "green").iterdir())[1:]:
        path.unlink()
    with pytest.raises(UsageError, match="green: 1 picture"):
        split_random(scan(root), 0.2, seed=0)


def test_thinning_keeps_the_classes_in_proportion(tmp_path: Path) -> None:
    """500 pictures for a quick run are still of all classes."""
    thin = thin_out(scan(write_photos(tmp_path)), 9, seed=0)
    assert np.bincount(thin.targets).tolist() == [3, 3, 3]


def test_a_missing_mask_is_not_a_good_one(tmp_path: Path) -> None:
    """A photo without a mask is trained on as it is; a clean ellipse is cut out."""
    root = write_photos(tmp_path, per_class=2)
    (tmp_path / "masks" / "red" / "red1.png").unlink()
    masks, good = load_masks(scan(root), tmp_path / "masks")
    assert good.tolist() == [True] * 5 + [False]
    assert masks[5].max() == 0
