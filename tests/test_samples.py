"""The shipped sample frames are complete, small, and what their index says they are."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

SAMPLES = Path(__file__).parents[1] / "edge" / "samples"
INDEX = json.loads((SAMPLES / "samples.json").read_text())
STILLS = INDEX["stills"]
SEQUENCES = INDEX["drops"]
CLASSES = {"cardboard", "glass", "metal", "paper", "plastic", "trash"}
BYTES_MAX = 3_000_000
# Measured: noise alone moves no pixel by more than 24 levels; the smallest item, a clear bottle
# on steel, changes 4.5 % of the picture by more than that.
LEVELS, SHARE_MIN = 24, 0.03


def frames_of(entry: dict) -> list[np.ndarray]:
    paths = sorted((SAMPLES / entry["folder"]).glob("*.jpg"))
    return [cv2.imread(str(path)) for path in paths]


def changed(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of pixels that differ by more than noise does."""
    off = np.abs(first.astype(np.int16) - second).max(axis=2)
    return float((off > LEVELS).mean())


def only_noise(first: np.ndarray, second: np.ndarray) -> bool:
    return changed(first, second) < 0.001 and not np.array_equal(first, second)


def name_of(entry: dict) -> str:
    return Path(entry.get("file") or entry["folder"]).stem


@pytest.mark.parametrize("entry", STILLS, ids=name_of)
def test_still_decodes_at_its_size(entry):
    """Every still of the index is a colour picture of 512x384."""
    pixels = cv2.imread(str(SAMPLES / entry["file"]))
    assert pixels is not None
    assert pixels.shape == (384, 512, 3)


@pytest.mark.parametrize("entry", SEQUENCES, ids=name_of)
def test_sequence_decodes_frame_by_frame(entry):
    """Every sequence has the frames its index counts, numbered from 000, all of 320x240."""
    names = sorted(path.name for path in (SAMPLES / entry["folder"]).glob("*.jpg"))
    assert names == [f"{number:03d}.jpg" for number in range(entry["frames"])]
    assert {pixels.shape for pixels in frames_of(entry)} == {(240, 320, 3)}
    assert entry["fps"] == 10


def test_nothing_lies_beside_the_index():
    """Every file under samples/ is named by the index: none is forgotten, none is left over."""
    named = {SAMPLES / entry["file"] for entry in STILLS} | {SAMPLES / "samples.json"}
    for entry in SEQUENCES:
        named |= set((SAMPLES / entry["folder"]).glob("*.jpg"))
    assert {path for path in SAMPLES.rglob("*") if path.is_file()} == named


def test_all_samples_are_under_three_megabytes():
    """The frames travel with the package, so together they stay under 3 MB."""
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < BYTES_MAX


def test_stills_cover_classes_and_surfaces():
    """There are at least 24 stills, of all six classes, on at least four surfaces."""
    assert len(STILLS) >= 24
    assert {entry["label"] for entry in STILLS} == CLASSES
    assert len({entry["surface"] for entry in STILLS}) >= 4


def test_acceptance_set_shows_each_class_on_white_and_on_wood():
    """The twelve acceptance stills are one of each class on white card and one on wood."""
    shown = sorted((entry["label"], entry["surface"]) for entry in STILLS if entry["acceptance"])
    assert shown == sorted((label, surface) for label in CLASSES for surface in ("white", "wood"))


def test_sequences_cover_items_hand_and_light():
    """At least four classes fall in on four surfaces; one hand and one light change leave none."""
    dropped = [entry for entry in SEQUENCES if entry["label"]]
    assert len({entry["label"] for entry in dropped}) >= 4
    assert len({entry["surface"] for entry in dropped}) >= 4
    rest = sorted(entry["item"] for entry in SEQUENCES if not entry["label"])
    assert rest == ["hand", "light"]


@pytest.mark.parametrize("entry", [e for e in SEQUENCES if e["label"]], ids=name_of)
def test_item_comes_and_lies_still(entry):
    """Before the item the tray differs by noise alone, at rest too, and the two differ by more."""
    frames = frames_of(entry)
    seen, rest = entry["first_in_view"], entry["first_at_rest"]
    assert seen >= 4
    assert 2 <= rest - seen <= 4
    assert changed(frames[0], frames[seen]) >= 0.01
    assert len(frames) - rest >= 8
    for frame in frames[1:seen]:
        assert only_noise(frames[0], frame)
    for frame in frames[rest + 1 :]:
        assert only_noise(frames[rest], frame)
    assert changed(frames[0], frames[-1]) > SHARE_MIN


def test_hand_leaves_nothing_behind():
    """While the hand is there the picture changes; afterwards it is the empty tray again."""
    (entry,) = (entry for entry in SEQUENCES if entry["item"] == "hand")
    frames = frames_of(entry)
    assert max(changed(frames[0], frame) for frame in frames) > SHARE_MIN
    assert only_noise(frames[0], frames[-1])


def test_light_changes_once_and_stays():
    """The light comes on between two steady halves."""
    (entry,) = (entry for entry in SEQUENCES if entry["item"] == "light")
    levels = [float(frame.mean()) for frame in frames_of(entry)]
    half = len(levels) // 2
    assert max(levels[: half - 1]) < 0.7 * min(levels[half + 1 :])
    assert np.ptp(levels[: half - 1]) < 1
    assert np.ptp(levels[half + 1 :]) < 1


def test_index_says_licence_and_command():
    """Who receives the frames can read their licence and make them again."""
    assert INDEX["licence"].startswith("MIT")
    assert INDEX["made_with"] == "python -m tools.render samples --out edge/samples"
