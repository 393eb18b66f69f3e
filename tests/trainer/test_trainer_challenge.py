"""The public challenge: the same pictures for everyone, honest counts, pages that open offline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import UsageError
from edge.pictures import read_picture
from tests.harness import COLOURS, write_picture
from tests.trainer.synthetic import write_photos
from tests.trainer.test_trainer_evaluate import train_cli
from trainer import background, background_page, factorial, factorial_page, rendered
from trainer.background_views import ALL, KINDS, SAME_CLASS, covered, leaves_plain
from trainer.compose import compose
from trainer.data import scan
from trainer.surfaces import challenge_surface

Write = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path, per_class=4)


def album_of(root: Path) -> background.Album:
    return background.album_of(scan(root), root.parent / "masks")


def test_the_swaps_are_the_ones_ever_published(photos: Path) -> None:
    """Drawn by the file's name alone: figures of other years and places stay comparable."""
    album = album_of(photos)
    pixels = read_picture(album.photos.paths[5])
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([2026, number, *album.photos.paths[5].name.encode()])
        expected = compose(pixels, album.masks[5], challenge_surface(kind, rng), rng)
        assert np.array_equal(album.view(5, kind), expected)


def test_every_view_is_drawn_again_alike(photos: Path) -> None:
    """Two runs, and a longer list of other classes, give the same pictures."""
    album = album_of(photos)
    fewer = album_of(photos)
    for kind in ALL:
        assert np.array_equal(album.view(2, kind), fewer.view(2, kind))


def test_json_keeps_the_contract_and_adds_to_it(photos: Path, write_bundle: Write) -> None:
    """The keys that outside programs read, and beside them intervals, classes, nothing-but-ground.

    The tiny network knows colours, so plain card and wood are what it must not be sure of.
    """
    bundle, masks = write_bundle(), photos.parent / "masks"
    done = train_cli("background", "--bundle", bundle, "--data", photos, "--masks", masks, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    contract = background.challenge(bundle, scan(photos), masks)
    assert set(contract) == {"n", "original", "brown", "random", "cardboard", "gap"}
    assert {key: found[key] for key in contract} == contract
    assert found["original"] == 100 and found["n"] == 12
    assert found["wilson_95"]["original"][0] == pytest.approx(75.75, abs=0.1)  # of 12 of 12
    assert found["per_class"]["red"]["n"] == 4
    assert found["same_class"] == 100
    whole = found["whole_items"]
    assert whole["own_ground"] == whole["original"] == 100 and 0 < whole["n"] <= found["n"]
    assert set(whole) == {"n", "original", "brown", "random", "cardboard", "own_ground"}
    assert found["background_only"]["chance"] == pytest.approx(100 / 3, abs=0.01)
    assert set(found["background_only"]) == {
        "chance",
        "bare_brown",
        "bare_random",
        "bare_cardboard",
        "covered",
    }
    # Brown is nearest to red, so the colour network calls every brown table red: a third is right.
    assert found["background_only"]["bare_brown"]["accuracy"] == pytest.approx(33.33, abs=0.01)


def test_a_covered_item_leaves_nothing_of_itself(photos: Path) -> None:
    """No pixel keeps the item's colour, and what lies around it is untouched."""
    album = album_of(photos)
    pixels, mask = read_picture(album.photos.paths[9]), album.masks[9]  # a red one
    empty = covered(pixels, mask, np.random.default_rng(1))
    saturation = np.ptp(empty.astype(int), axis=-1)
    assert np.ptp(pixels.astype(int), axis=-1).max() > 140 and saturation.max() < 60
    assert np.array_equal(empty[:5, :5], pixels[:5, :5])


def test_half_a_mask_is_not_covered(photos: Path) -> None:
    """Where the mask holds half of the item, the rest would tell the class: not shown so."""
    album = album_of(photos)
    pixels, mask = read_picture(album.photos.paths[0]), album.masks[0].copy()
    assert leaves_plain(pixels, mask)
    columns = np.flatnonzero(mask.any(0))
    mask[:, columns[len(columns) // 2] :] = 0
    assert not leaves_plain(pixels, mask)


def test_backgrounds_are_borrowed_from_the_own_class(photos: Path) -> None:
    """One photo of a class has no other to borrow from, and is left out of this view alone."""
    for path in sorted((photos / "red").glob("*.png"))[1:]:
        path.unlink()
    album = album_of(photos)
    views = {row: album.view(row, SAME_CLASS) for row in album.rows()}
    lonely = [row for row, view in views.items() if view is None]
    assert [album.photos.paths[row].parent.name for row in lonely] == ["red"]


def test_a_segmenter_that_cuts_nothing_changes_nothing(photos: Path, write_bundle: Write) -> None:
    """`difference` without a learned tray judges whole frames, and the result says so."""
    album, bundle = album_of(photos), write_bundle()
    plain = background.run(bundle, album, kinds=("original", "brown", "random", "cardboard"))
    cut = background.run(
        bundle,
        album,
        kinds=("original", "brown", "random", "cardboard"),
        segmenter="difference",
    )
    assert plain.contract() == cut.contract()
    assert not cut.answers["brown"].cut.any()
    with pytest.raises(UsageError, match="segmenter 'magic': allowed are none, difference"):
        background.run(bundle, album, segmenter="magic")


def offline(page: str) -> bool:
    """No address of elsewhere: pictures and styles stand in the file."""
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    return all(source.startswith(("data:", "#")) for source in sources)


def test_the_page_shows_pictures_and_opens_offline(photos: Path, write_bundle: Write) -> None:
    """Every swap of an example of each class, and the worst losses, in one file."""
    album = album_of(photos)
    result = background.run(write_bundle(), album)
    page = background_page.write(photos.parent / "page.html", result, album).read_text()
    assert offline(page) and "default-src 'none'" in page
    assert page.count("data:image/jpeg") >= 3 * 5
    assert "gap" in page and "on the background of another photo of its own class" in page


def write_factorial(root: Path) -> Path:
    """Two items on three surfaces; on `b` the second item looks green though it is red."""
    entries = []
    shown = {"can": {"a": "red", "b": "red", "c": "red"}, "jar": {"a": "red", "b": "green"}}
    for item, surfaces in shown.items():
        for surface, colour in surfaces.items():
            file = f"{item}_{surface}.png"
            write_picture(root / file, COLOURS[colour])
            entries.append(
                {"file": file, "item": item, "surface": surface, "seed": 1, "label": "red"}
            )
    write_picture(root / "lone.png", COLOURS["blue"])
    lone = {"file": "lone.png", "item": "lone", "surface": "a", "seed": 2, "label": "blue"}
    (root / "catalogue.json").write_text(json.dumps({"pictures": [*entries, lone]}))
    return root


def test_factorial_counts_what_the_surface_changes(tmp_path: Path, write_bundle: Write) -> None:
    """By hand: `can` never changes, `jar` in its one pair, so half of the items; `lone` is out."""
    found = factorial.run(write_bundle(), write_factorial(tmp_path / "f")).as_dict()
    assert (found["n"], found["items"], found["items_changed"]) == (5, 2, 1)
    assert found["accuracy"] == 80.0
    assert found["label_changes"] == 50.0
    assert found["flips"]["a"]["b"] == 50.0 and found["flips"]["a"]["c"] == 0.0
    assert found["flips"]["a"]["a"] is None
    assert found["per_item"]["jar 1"]["said"] == {"a": "red", "b": "green"}
    assert found["per_surface"]["b"]["accuracy"] == 50.0


def test_factorial_page_opens_offline(tmp_path: Path, write_bundle: Write) -> None:
    """All five pictures, none of elsewhere."""
    result = factorial.run(write_bundle(), write_factorial(tmp_path / "f"))
    page = factorial_page.write(tmp_path / "out" / "f.html", result).read_text()
    assert offline(page) and page.count("data:image/jpeg") == 5


def test_factorial_command_prints_json_alone(tmp_path: Path, write_bundle: Write) -> None:
    """For programs; without torch."""
    folder = write_factorial(tmp_path / "f")
    done = train_cli("factorial", "--bundle", write_bundle(), "--frames", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items_changed"] == 1


def test_a_catalogue_that_lies_is_refused(tmp_path: Path) -> None:
    """A picture that is listed and not there, and a folder with nothing in it: one sentence."""
    folder = write_factorial(tmp_path / "f")
    (folder / "jar_a.png").unlink()
    with pytest.raises(UsageError, match=r"lists jar_a\.png, which is not there; 1 missing"):
        rendered.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no picture"):
        rendered.load(tmp_path / "empty")
    (folder / "catalogue.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        rendered.load(folder)


def test_items_on_one_surface_are_no_factorial(tmp_path: Path, write_bundle: Write) -> None:
    """Nothing can change, so nothing is reported."""
    write_picture(tmp_path / "f" / "a.png", COLOURS["red"])
    entry = {"file": "a.png", "item": "can", "surface": "a", "seed": 1, "label": "red"}
    (tmp_path / "f" / "catalogue.json").write_text(json.dumps([entry]))
    with pytest.raises(UsageError, match="no item lies on two surfaces"):
        factorial.run(write_bundle(), tmp_path / "f")


def test_pictures_without_a_catalogue_are_named_by_their_folder(tmp_path: Path) -> None:
    """test/hand/1.png is a hand of the test split."""
    path = tmp_path / "unknown" / "test" / "hand" / "1.png"
    path.parent.mkdir(parents=True)
    assert cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    (found,) = rendered.load(tmp_path / "unknown")
    assert (found.item, found.split) == ("hand", rendered.TEST)
