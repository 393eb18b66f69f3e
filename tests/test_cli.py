"""The command line: exit codes, sentences, and output that a program can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import __version__
from tests.harness import ROOT

Write = Callable[..., Path]


def smartbin(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)


def test_version_and_help() -> None:
    """--version says it; without a command the help lists them."""
    assert smartbin("--version").stdout == f"smartbin {__version__}\n"
    for command in ("run", "demo", "classify", "check-config"):
        assert command in smartbin("--help").stdout


def test_unknown_command_and_option_are_bad_usage() -> None:
    """Exit code 2, nothing on standard output."""
    for arguments in (["clasify"], ["run", "--confg", "x"], ["classify"]):
        result = smartbin(*arguments)
        assert result.returncode == 2 and result.stdout == "" and result.stderr


def test_classify_prints_one_object_a_picture(write_bundle: Write, colour_folder: Path) -> None:
    """The keys of the contract, the picture's own path, the top three."""
    pictures = sorted(colour_folder.iterdir())
    result = smartbin("classify", "--json", "--model", write_bundle(), *pictures)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert [row["label"] for row in rows] == ["red", "green", "blue"]
    assert [row["path"] for row in rows] == [str(path) for path in pictures]
    assert set(rows[0]) == {"path", "outcome", "label", "confidence", "top"}
    assert rows[0]["top"][0] == ["red", rows[0]["confidence"]]


def test_classify_goes_on_behind_a_broken_picture(write_bundle: Write, colour_folder: Path) -> None:
    """One sentence for the broken one, exit 1, and the others are still judged."""
    broken = colour_folder / "b-green.png"
    broken.write_bytes(broken.read_bytes()[:60])
    missing = colour_folder / "z.png"
    pictures = [*sorted(colour_folder.iterdir()), missing]
    result = smartbin("classify", "--json", "--model", write_bundle(), *pictures)
    assert result.returncode == 1
    labels = [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert labels == ["red", "blue"]
    first, second = result.stderr.splitlines()
    assert first == f"{broken}: the picture is truncated; copy it again"
    assert second.startswith(f"{missing}: cannot be read")


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"sha256": "0" * 64}, "damaged or swapped"),
        (
            {"labels": ["red", "blue"], "thresholds": {"red": 0, "blue": 0}},
            "2 labels for a network",
        ),
    ],
)
def test_bad_model_is_one_sentence(
    write_bundle: Write, colour_folder: Path, changed: dict[str, object], part: str
) -> None:
    """Exit 1 and no traceback."""
    path = write_bundle(**changed)
    result = smartbin("classify", "--model", path, colour_folder / "a-red.png")
    assert result.returncode == 1 and result.stdout == ""
    assert part in result.stderr and len(result.stderr.splitlines()) == 1


def test_unknown_segmenter_is_bad_usage(colour_folder: Path) -> None:
    """Exit 2, and what is known."""
    result = smartbin("classify", "--segment", "magic", colour_folder / "a-red.png")
    assert result.returncode == 2 and "none, difference, tiny, rembg" in result.stderr


def test_check_config_tells_every_fault(write_config: Write) -> None:
    """Good files exit 0; a file with two faults gives both and exits 2."""
    path = write_config(1883)
    good = smartbin("check-config", "--config", path)
    assert good.returncode == 0 and "tiny@3" in good.stdout
    path.write_text(path.read_text().replace("port = 1883", "port = 0\nhots = 'x'"))
    bad = smartbin("check-config", "--config", path)
    assert bad.returncode == 2 and len(bad.stderr.splitlines()) == 2
    assert "did you mean host?" in bad.stderr


def test_check_config_finds_what_the_file_points_to(write_config: Write) -> None:
    """A CA that is not there is told before the daemon needs it."""
    path = write_config(1883)
    path.write_text(
        path.read_text().replace("[mqtt]", "[mqtt]\ntls = true\nca_file = '/no/ca.pem'")
    )
    result = smartbin("check-config", "--config", path)
    assert result.returncode == 2 and "/no/ca.pem: no such file" in result.stderr


def test_shipped_config_is_good() -> None:
    """The file that users copy passes its own check."""
    result = smartbin("check-config", "--config", ROOT / "config.toml")
    assert result.returncode == 0, result.stderr


def test_nothing_is_reported_to_anyone(tmp_path: Path, colour_folder: Path) -> None:
    """onnxruntime's usage reports are off: no file of theirs appears in an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import time; from pathlib import Path; from edge.classify import PictureClassifier;"
        f"PictureClassifier(None).classify(Path({str(colour_folder / 'a-red.png')!r}));"
        "import os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'; time.sleep(1)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", code], env={**environment, "HOME": str(home)}, cwd=ROOT, check=True
    )
    assert list(home.rglob("*")) == []


def test_picture_over_the_limit_is_refused_unseen(tmp_path: Path) -> None:
    """20,000 x 20,000 pixels of a few bytes are not decoded, whatever was imported first."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 2501 * 20_000, 9))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b""))
    result = smartbin("classify", bomb)
    assert result.returncode == 1 and "100 megapixels" in result.stderr


def test_pipes_and_devices_are_no_pictures(tmp_path: Path) -> None:
    """A FIFO would wait for ever and /dev/zero never end."""
    os.mkfifo(tmp_path / "fifo.png")
    for path in (tmp_path / "fifo.png", Path("/dev/zero"), tmp_path):
        result = smartbin("classify", path)
        assert result.returncode == 1 and "not a file" in result.stderr
    result = smartbin("check-config", "--config", "/dev/zero")
    assert result.returncode == 2 and "not a file" in result.stderr


def test_passwords_of_cameras_are_masked_in_faults(write_config: Write) -> None:
    """However the address is misspelt."""
    for source in ("rtps://u:s3cret@h", "rtsp:/u:s3cret@h", "htp://h/x?password=s3cret&a=1"):
        result = smartbin("check-config", "--config", write_config(1, source=source))
        assert result.returncode == 2 and "s3cret" not in result.stderr
        assert "camera.source = " in result.stderr


def test_password_file_that_others_can_read_is_refused(write_config: Write, tmp_path: Path) -> None:
    """As ssh refuses a key; the remedy is a command."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    path = write_config(1)
    login = f"[mqtt]\nusername = 'u'\npassword_file = '{secret}'\n"
    path.write_text(path.read_text().replace("[mqtt]\n", login))
    result = smartbin("check-config", "--config", path)
    assert result.returncode == 2 and f"chmod 600 {secret}" in result.stderr
    secret.chmod(0o600)
    assert smartbin("check-config", "--config", path).returncode == 0


def test_full_disk_behind_the_output_is_a_sentence(colour_folder: Path) -> None:
    """No traceback where the answer cannot be written."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "edge.cli", "classify", str(colour_folder / "a-red.png")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert result.returncode == 1
    assert "No space left" in result.stderr and "Traceback" not in result.stderr
