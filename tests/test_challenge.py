"""The challenge pictures are those that the plan and its seeds name, and split as they say."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.render import plan

CHALLENGE = Path(__file__).parent / "data" / "challenge"
CATALOGUE = json.loads((CHALLENGE / "catalogue.json").read_text("utf-8"))
PICTURES = CATALOGUE["pictures"]
SEQUENCES = CATALOGUE["sequences"]
BYTES_MAX = 4_000_000
LEVELS = 24  # noise alone moves next to no pixel of a lit picture by more


def pixels_of(name: str) -> np.ndarray:
    pixels = cv2.imread(str(CHALLENGE / name))
    assert pixels is not None, f"{name} does not decode"
    return pixels


def frames_of(sequence: dict) -> list[np.ndarray]:
    folder = CHALLENGE / sequence["folder"]
    names = sorted(path.name for path in folder.glob("*.jpg"))
    assert names == [f"{number:03d}.jpg" for number in range(sequence["frames"])]
    return [pixels_of(f"{sequence['folder']}/{name}") for name in names]


def changed(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of pixels that differ by more than noise does."""
    return float((np.abs(first.astype(np.int16) - second).max(axis=2) > LEVELS).mean())


def of_group(group: str) -> list[dict]:
    return [picture for picture in PICTURES if picture["group"] == group]


def test_catalogue_is_the_plan():
    """catalogue.json is what the plan says today: same files, kinds, surfaces, seeds, splits."""
    frames = {sequence["folder"]: sequence["frames"] for sequence in SEQUENCES}
    assert plan.catalogue(frames) == CATALOGUE


def test_files_are_those_of_the_catalogue():
    """No file is missing, none is left over, and all of them together stay small."""
    named = {CHALLENGE / "catalogue.json"} | {CHALLENGE / entry["file"] for entry in PICTURES}
    for sequence in SEQUENCES:
        folder = CHALLENGE / sequence["folder"]
        named |= {folder / f"{number:03d}.jpg" for number in range(sequence["frames"])}
    found = {path for path in CHALLENGE.rglob("*") if path.is_file()}
    assert found == named
    assert sum(path.stat().st_size for path in found) < BYTES_MAX


def test_pictures_have_their_size_and_differ():
    """Every still is a colour picture of 320x240, and no two are the same file."""
    width, height = CATALOGUE["size"]
    seen = set()
    for entry in PICTURES:
        assert pixels_of(entry["file"]).shape == (height, width, 3), entry["file"]
        seen.add((CHALLENGE / entry["file"]).read_bytes())
    assert len(seen) == len(PICTURES)


def test_there_are_enough_of_each():
    """So many pictures that a share of them means something, on both sides of the split."""
    counts = Counter((entry["group"], entry["split"]) for entry in PICTURES)
    assert counts == {
        ("unknown", "test"): 84,
        ("unknown", "tune"): 98,
        ("empty", "test"): 40,
        ("empty", "tune"): 24,
        ("factorial", "test"): 96,
        ("items", "tune"): 80,
    }
    assert Counter(entry["split"] for entry in SEQUENCES) == {"test": 4, "tune": 2}


def test_nothing_is_tuned_on_what_is_measured():
    """No unknown kind, nor surface of an empty scene, is on both sides of the split."""
    for group, key in (("unknown", "kind"), ("unknown", "item"), ("empty", "surface")):
        sides = defaultdict(set)
        for entry in of_group(group):
            sides[entry[key]].add(entry["split"])
        assert all(len(splits) == 1 for splits in sides.values()), sides


def test_factorial_set_changes_the_surface_alone():
    """Each item, two of each class, lies on all surfaces once, its seed and label unchanged."""
    surfaces, facts = defaultdict(list), defaultdict(set)
    for entry in of_group("factorial"):
        surfaces[entry["item"]].append(entry["surface"])
        facts[entry["item"]].add((entry["label"], entry["seed"], entry["light"]))
    assert set(map(tuple, surfaces.values())) == {plan.SURFACES}
    assert all(len(found) == 1 for found in facts.values())
    labels = Counter(next(iter(found))[0] for found in facts.values())
    assert len(labels) == 6
    assert set(labels.values()) == {2}


def test_items_to_tune_by_are_pieces_of_their_own():
    """Each lies on every surface, as another piece each time, and none is one that is measured."""
    pieces, surfaces = Counter(), defaultdict(set)
    for entry in of_group("items"):
        pieces[entry["item"], entry["seed"]] += 1
        surfaces[entry["item"]].add(entry["surface"])
    assert set(pieces.values()) == {1}
    assert all(found == set(plan.SURFACES) for found in surfaces.values())
    assert not set(pieces) & {(entry["item"], entry["seed"]) for entry in of_group("factorial")}


def test_dark_scenes_are_dark():
    """Of each surface the dark picture is much darker than the lit one, and not black."""
    means = {entry["file"]: float(pixels_of(entry["file"]).mean()) for entry in of_group("empty")}
    for surface in plan.SURFACES:
        lit, dark = means[f"empty/{surface}_lit.jpg"], means[f"empty/{surface}_dark.jpg"]
        assert 2 < dark < 0.6 * lit, f"{surface}: {dark:.1f} of {lit:.1f}"


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda entry: Path(entry["folder"]).name)
def test_sequence_leaves_nothing_behind(sequence):
    """A shadow or a hand passes; before and after it the frames differ by noise alone."""
    frames = frames_of(sequence)
    assert changed(frames[0], frames[-1]) < 0.002
    assert max(changed(frames[0], frame) for frame in frames) > 0.02
