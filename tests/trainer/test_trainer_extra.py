"""Checked extra photos lie beside the data, those of the field check apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import UsageError
from tests.trainer.synthetic import write_photos
from trainer.data import scan
from trainer.extra import assemble

pytestmark = pytest.mark.trainer
HEAD = "name,folder,label,part,photo\n"


def test_checked_photos_train_or_judge_and_the_rest_is_left_out(tmp_path: Path) -> None:
    """The list's label counts, not the folder's; the field part is in no training list."""
    data = write_photos(tmp_path / "own", per_class=3)
    photos = write_photos(tmp_path / "more", per_class=2)
    table = tmp_path / "list.csv"
    table.write_text(
        HEAD + "blue0.png,blue,red,train,1\nblue1.png,blue,blue,field,2\nred0.png,red,,,3\n"
    )
    out = tmp_path / "both"
    counts = assemble(data, scan(data).names, photos, table, out, "more")
    assert counts == {"train": 1, "field": 1}
    both = scan(out / "images", out / "train.txt")
    assert len(both) == 10
    assert (out / "images" / "red" / "more_blue0.png").exists()
    assert [p.name for p in (out / "field").rglob("*.png")] == ["more_blue1.png"]
    with pytest.raises(UsageError, match="is there already"):
        assemble(data, [], photos, table, out, "more")


def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path) -> None:
    """A part that is none, and a photo that is missing."""
    data = write_photos(tmp_path / "own", per_class=3)
    table = tmp_path / "list.csv"
    for row, message in (
        ("blue0.png,blue,red,test,1\n", r"list.csv:2 part = 'test'"),
        ("gone.png,blue,red,train,1\n", r"list.csv:2: .* is missing"),
        ("blue0.png,blue,violet,train,1\n", "class violet has no folder"),
    ):
        table.write_text(HEAD + row)
        with pytest.raises(UsageError, match=message):
            assemble(data, [], data, table, tmp_path / "both", "more")
