"""A bundle is whole and agrees with itself, or it is refused by a sentence that says which part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.classifier import Classifier
from edge.errors import BundleError
from edge.preprocess import Preprocessing, prepare, resize_down, squeeze
from tests.harness import COLOURS

Write = Callable[..., Path]


def test_bundle_is_loaded_with_its_card(write_bundle: Write) -> None:
    """Labels, thresholds and version come from the JSON."""
    bundle = load_bundle(write_bundle())
    assert bundle.labels == tuple(COLOURS)
    assert bundle.model_id == "tiny@3"
    assert bundle.thresholds == (0.6, 0.6, 0.6)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"sha256": "0" * 64}, "damaged or swapped"),
        ({"format": 2}, "format = 2: this smartbin reads 1"),
        ({"labels": ["a", "a", "b"], "thresholds": {"a": 0.5, "b": 0.5}}, "stands twice"),
        ({"labels": ["red"], "thresholds": {"red": 0.5}}, "2 to 1000"),
        ({"thresholds": {"red": 0.5}}, "'green' is missing"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "warm"}, "wrong kind"),
        ({"thresholds": {"red": 0.5, "green": 7, "blue": 0.5}}, "thresholds: 0 to 1"),
        ({"preprocessing": {"size_px": 32}}, "'mean' is missing"),
    ],
)
def test_disagreeing_bundle_is_refused(
    write_bundle: Write, changed: dict[str, object], part: str
) -> None:
    """The sentence names the file and the part at fault."""
    with pytest.raises(BundleError, match=part) as caught:
        load_bundle(write_bundle(**changed))
    assert "tiny." in str(caught.value)


def test_truncated_network_is_refused_by_its_hash(write_bundle: Write) -> None:
    """A half-copied file never reaches onnxruntime."""
    path = write_bundle()
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BundleError, match="sha256 is"):
        load_bundle(path)


def test_missing_and_unreadable_cards_are_refused(write_bundle: Write) -> None:
    """Both files are needed, and the JSON must be one."""
    path = write_bundle()
    path.with_suffix(".json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        load_bundle(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(BundleError, match=r"NAME\.onnx with NAME\.json"):
        load_bundle(path)


def test_wrong_number_of_labels_is_refused(write_bundle: Write) -> None:
    """Four labels for a network with three outputs belong to another network."""
    labels = [*COLOURS, "grey"]
    path = write_bundle(labels=labels, thresholds=dict.fromkeys(labels, 0.5))
    with pytest.raises(BundleError, match="4 labels for a network with 3 outputs"):
        Classifier(load_bundle(path))


def test_wrong_input_size_is_refused(write_bundle: Write) -> None:
    """Preprocessing that gives another shape than the network takes is caught at start."""
    spec = {"size_px": 48, "mean": [0, 0, 0], "std": [1, 1, 1], "max_aspect": 2}
    with pytest.raises(BundleError, match=r"preprocessing gives \(1, 3, 48, 48\)"):
        Classifier(load_bundle(write_bundle(preprocessing=spec)))


def test_network_that_is_no_onnx_is_refused(write_bundle: Write) -> None:
    """Right hash, wrong content: onnxruntime's word in our sentence."""
    import hashlib

    path = write_bundle(sha256=hashlib.sha256(b"no network").hexdigest())
    path.write_bytes(b"no network")
    with pytest.raises(BundleError, match="onnxruntime cannot open"):
        Classifier(load_bundle(path))


@pytest.mark.parametrize(("index", "name"), list(enumerate(COLOURS)))
def test_classifier_knows_colours(write_bundle: Write, index: int, name: str) -> None:
    """The tiny network says the brightest channel, and probabilities sum to one."""
    pixels = np.full((90, 160, 3), COLOURS[name], np.uint8)
    probs = Classifier(load_bundle(write_bundle())).classify(pixels).probs
    assert int(probs.argmax()) == index
    assert float(probs.sum()) == pytest.approx(1, abs=1e-5)


def test_temperature_softens(write_bundle: Write) -> None:
    """A higher temperature gives the same order and less confidence."""
    pixels = np.full((32, 32, 3), COLOURS["red"], np.uint8)
    sharp = Classifier(load_bundle(write_bundle())).classify(pixels).probs
    soft = Classifier(load_bundle(write_bundle(temperature=5.0))).classify(pixels).probs
    assert sharp.argmax() == soft.argmax() and soft.max() < sharp.max()


SPEC = Preprocessing(size_px=32, mean=(127, 127, 127), std=(128, 128, 128))


def test_prepare_gives_normalised_planes() -> None:
    """255 becomes 1.0 in the plane of its colour; shape and type are the network's."""
    tensor = prepare(np.full((96, 128, 3), (255, 127, 0), np.uint8), SPEC)
    assert tensor.shape == (1, 3, 32, 32) and tensor.dtype == np.float32
    assert tensor[0, :, 5, 5] == pytest.approx([1.0, 0.0, -127 / 128])


def test_wide_pictures_lose_their_ends_not_their_proportions() -> None:
    """Of 16:9 only the middle 4:3 is seen."""
    wide = np.zeros((90, 160, 3), np.uint8)
    wide[:, 20:140] = 200
    assert squeeze(wide, SPEC).min() == 200


def test_resize_down_averages_instead_of_skipping() -> None:
    """Fine stripes become grey: no aliasing, whatever the factor."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_down(stripes, 64, 64)
    assert small.shape == (64, 64, 3)
    assert small.min() > 100 and small.max() < 155
