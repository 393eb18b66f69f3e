"""The sheet of `classify --explain`: what it draws is what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.canvas import Canvas, width_of
from edge.classify import PictureClassifier
from edge.errors import PictureError
from edge.explain import AGAINST, CELLS, FOR, HEIGHT, WIDTH, draw_evidence, evidence_of, explain
from edge.pictures import read_picture
from edge.segmenters.tiny import TinySegmenter, load_mask_net
from tests.masknets import write_mask_net
from tests.test_cli import smartbin


def two_colours() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey with a large red part on the left and a green one on the right."""
    pixels = np.full((90, 120, 3), 127, np.uint8)
    pixels[20:70, 5:45] = (240, 20, 20)
    pixels[20:70, 85:115] = (20, 200, 20)
    return pixels


def test_evidence_is_where_the_class_is(write_bundle: Any) -> None:
    """Red speaks for red, green against it; grey says nothing, being what covers."""
    classifier = PictureClassifier(write_bundle()).classifier
    evidence = evidence_of(two_colours(), 0, classifier.classify)
    assert evidence.shape == (CELLS, CELLS)
    middle = evidence[CELLS // 2]
    assert middle[:3].min() > 0.1 and middle[-2:].max() < -0.1
    assert abs(evidence[0, CELLS // 2]) < 0.05


def test_evidence_is_drawn_red_for_and_blue_against() -> None:
    """As the legend says."""
    evidence = np.zeros((CELLS, CELLS), np.float32)
    evidence[:, :3], evidence[:, -3:] = 2.0, -2.0
    drawn = draw_evidence(np.full((90, 90, 3), 127, np.uint8), evidence)
    assert np.abs(drawn[45, 5] - FOR).sum() < np.abs(drawn[45, 5] - AGAINST).sum()
    assert np.abs(drawn[45, 85] - AGAINST).sum() < np.abs(drawn[45, 85] - FOR).sum()
    assert np.ptp(drawn[45, 45].astype(int)) < 12


@pytest.mark.parametrize("cut", [True, False])
def test_a_sheet_is_drawn_with_and_without_a_mask(
    cut: bool, write_bundle: Any, tmp_path: Path
) -> None:
    """Of its fixed size; what was cut out is shown on grey."""
    pixels = np.full((480, 640, 3), 40, np.uint8)
    cv2.circle(pixels, (320, 240), 90, (255, 190, 190), -1)
    path = tmp_path / "item.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    segmenter = TinySegmenter(load_mask_net(write_mask_net(tmp_path / "net"))) if cut else None
    classifier = PictureClassifier(write_bundle(), segmenter=segmenter)
    look = classifier.look(path)
    assert (look.crop.segmenter == "tiny") == cut
    sheet = explain(
        look,
        labels=classifier.bundle.labels,
        preprocessing=classifier.bundle.preprocessing,
        classify=classifier.classifier.classify,
        model_id="tiny@3",
    )
    assert sheet.pixels.shape == (HEIGHT, WIDTH, 3)
    yellow = (sheet.pixels == (255, 196, 0)).all(axis=2).sum()
    assert (yellow > 200) == cut  # the item's box and outline


def test_the_command_line_draws_one_sheet_or_a_folder(
    colour_folder: Path, write_bundle: Any, tmp_path: Path
) -> None:
    """The answer itself is the same as without."""
    model, one = write_bundle(), colour_folder / "a-red.png"
    out = tmp_path / "why.png"
    plain = smartbin("classify", "--model", model, "--json", one)
    drawn = smartbin("classify", "--model", model, "--json", "--explain", out, one)
    assert drawn.returncode == 0, drawn.stderr
    assert json.loads(drawn.stdout) == json.loads(plain.stdout)
    assert read_picture(out).shape == (HEIGHT, WIDTH, 3)
    pictures = sorted(colour_folder.glob("*.png"))
    folder = tmp_path / "sheets"
    result = smartbin("classify", "--model", model, "--explain", folder, *pictures)
    assert result.returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == [p.name for p in pictures]


def test_a_segmenters_note_stands_in_the_answer(
    colour_folder: Path, write_bundle: Any, tmp_path: Path
) -> None:
    """A picture judged whole although it was to be cut says so."""
    net = write_mask_net(tmp_path / "net")
    result = smartbin(
        "classify", "--model", write_bundle(), "--json", "--segment", "tiny",
        "--segment-model", net, colour_folder / "c-blue.png",
    )  # fmt: skip
    row = json.loads(result.stdout)
    assert row["segmenter"] == "none"
    assert row["note"].startswith("tiny: ") and row["note"].endswith("whole frame judged")


def test_words_are_broken_at_the_width() -> None:
    """No line leaves its column, whatever the font's letters are."""
    canvas = Canvas(400, 300)
    below = canvas.paragraph(
        "Sure enough: the item goes the way of its class. " * 4, 10, 40, width=200
    )
    assert below > 40 + 4 * 15
    assert (canvas.pixels[:, 10 + 200 + 4 :] == canvas.pixels[0, 0]).all()
    assert width_of("wider", 20) > width_of("wide", 20)


def test_a_sheet_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder that is not there, a name that is no picture's."""
    with pytest.raises(PictureError, match="cannot be written"):
        Canvas(10, 10).save(tmp_path / "nowhere" / "why.png")
    with pytest.raises(PictureError, match=r"name a \.png"):
        Canvas(10, 10).save(tmp_path / "why.doc")
