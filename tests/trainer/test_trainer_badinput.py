"""What users bring: each fault is one clear sentence, each odd picture is read for what it is."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.bundle import load_bundle  # noqa: E402
from edge.errors import BundleError, PictureError, SmartbinError, UsageError  # noqa: E402
from tests.harness import ROOT  # noqa: E402
from tests.trainer.runs import run, states_equal, tiny  # noqa: E402
from tests.trainer.synthetic import TINY_RECIPE, write_photos  # noqa: E402
from tests.trainer.test_trainer_audit import ODD  # noqa: E402
from trainer import checkpoint  # noqa: E402
from trainer.data import load_pixels, scan  # noqa: E402
from trainer.memory import is_memory, memory_advice  # noqa: E402
from trainer.train import Run  # noqa: E402

pytestmark = pytest.mark.trainer


def cli(*arguments: str, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """smartbin-train in a process of its own; no file may grow beyond `most_bytes`."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.run(
        [sys.executable, "-m", "trainer.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The last line on standard error of a command that failed without a traceback."""
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def training(tmp_path: Path) -> list[str]:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE)
    arguments = ["distill", "--recipe", str(recipe), "--device", "cpu"]
    arguments += ["--data", str(tmp_path / "images"), "--run", str(tmp_path / "run")]
    return [*arguments, "--cache", str(tmp_path / "cache")]


@pytest.mark.parametrize("trait", ODD)
def test_odd_pictures_are_decoded_for_training(tmp_path: Path, trait: str) -> None:
    """CMYK, 16-bit, palette, turned, animated, grey, transparent: all fill their place."""
    root = write_photos(tmp_path, per_class=2)
    name, data = ODD[trait]
    (root / "red" / f"odd {name}").write_bytes(data)
    photos = scan(root)
    pixels = load_pixels(photos, tmp_path / "cache")
    row = [path.name for path in photos.paths].index(f"odd {name}")
    assert pixels[row].shape == pixels[0].shape
    assert pixels[row].std((0, 1)).max() < 2  # of one colour, as they were made


def test_a_16_bit_picture_keeps_its_brightness(tmp_path: Path) -> None:
    """Half of 65,535 is half of 255."""
    root = write_photos(tmp_path, per_class=2)
    grey = np.full((60, 80, 3), 32768, np.uint16)
    assert cv2.imwrite(str(root / "red" / "deep.png"), grey)
    photos = scan(root)
    row = [path.name for path in photos.paths].index("deep.png")
    assert abs(float(load_pixels(photos, tmp_path / "cache")[row].mean()) - 128) < 2


@pytest.mark.parametrize("part", [0.2, 0.6, 0.98])
def test_a_truncated_jpeg_is_named(tmp_path: Path, part: float) -> None:
    """A photo whose copy broke off is not trained on half grey."""
    root = write_photos(tmp_path, per_class=2)
    found, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (90, 120, 3)))
    assert found
    (root / "red" / "cut.jpg").write_bytes(data.tobytes()[: int(len(data) * part)])
    with pytest.raises(PictureError, match=r"cut\.jpg: the picture is truncated"):
        load_pixels(scan(root), tmp_path / "cache")


def test_names_with_blanks_and_class_numbers(tmp_path: Path) -> None:
    """Only a class number at the end is cut off a line; blanks belong to the name."""
    root = write_photos(tmp_path, per_class=2)
    (root / "red" / "red0.png").rename(root / "red" / "red can 7.png")
    names = tmp_path / "names.txt"
    names.write_text("# ours\nred can 7.png 3\n  blue0.png\t1 \ngreen/green1.png\n")
    assert scan(root, names).names == ("red can 7.png", "blue0.png", "green1.png")


def test_suffixes_in_upper_case_are_pictures(tmp_path: Path) -> None:
    """Cameras write .JPG; the same list finds it."""
    root = write_photos(tmp_path, per_class=2)
    (root / "red" / "red0.png").rename(root / "red" / "RED0.PNG")
    assert "RED0.PNG" in scan(root).names


def test_a_name_in_other_case_is_pointed_at(tmp_path: Path) -> None:
    """Where a list was written on a machine that does not tell cases apart."""
    names = tmp_path / "names.txt"
    names.write_text("Red0.PNG\n")
    with pytest.raises(UsageError, match=r"Red0\.PNG; red0\.png is there: upper and lower"):
        scan(write_photos(tmp_path), names)


def test_a_class_in_two_spellings_is_refused(tmp_path: Path) -> None:
    """Glass and glass would be two classes of one thing."""
    root = write_photos(tmp_path)
    (root / "Red").mkdir()
    (root / "Red" / "r.png").write_bytes((root / "red" / "red0.png").read_bytes())
    with pytest.raises(UsageError, match=r"are one class in two spellings"):
        scan(root)


def test_the_commands_say_it_in_one_sentence(tmp_path: Path) -> None:
    """Empty class, single picture, class only in validation: exit 2, no traceback."""
    root = write_photos(tmp_path, per_class=3)
    (root / "yellow").mkdir()
    assert "yellow: no picture in this class" in sentence(cli(*training(tmp_path)))
    (root / "yellow" / "only.png").write_bytes((root / "red" / "red0.png").read_bytes())
    assert "yellow: 1 picture in this class" in sentence(cli(*training(tmp_path)))
    for name, text in (
        ("train.txt", "red0.png\nblue0.png\ngreen0.png\n"),
        ("val.txt", "only.png\n"),
    ):
        (tmp_path / name).write_text(text)
    lists = ["--train-names", str(tmp_path / "train.txt"), "--val-names", str(tmp_path / "val.txt")]
    told = sentence(cli(*training(tmp_path), *lists))
    assert "class yellow is in validation and has no picture to train on; add some" in told


def test_labels_of_a_teacher_that_differ(tmp_path: Path) -> None:
    """Any of several teachers with other labels, or another order, stops the run by its name."""
    good = run(tmp_path, "good", tiny(epochs=1))
    bad = tmp_path / "bad.pt"
    checkpoint.save(bad, {**checkpoint.load(good), "classes": ["glass", "paper", "trash"]})
    with pytest.raises(UsageError, match=r"bad\.pt: the teacher's labels are glass, paper, trash"):
        run(tmp_path, "student", tiny(), teacher=[good, bad])


def test_two_teachers_are_asked_as_one(tmp_path: Path) -> None:
    """An ensemble teaches otherwise than either of its members, and twice the same is that one."""
    recipe = tiny(epochs=2)
    one = run(tmp_path, "one", tiny(epochs=2, seed=1))
    two = run(tmp_path, "two", tiny(epochs=2, seed=2))
    by_one = run(tmp_path, "by-one", recipe, teacher=one)
    assert states_equal(by_one, run(tmp_path, "twice", recipe, teacher=[one, one]))
    assert not states_equal(by_one, run(tmp_path, "both", recipe, teacher=[one, two]))


def test_a_disk_that_fills_while_decoding(tmp_path: Path) -> None:
    """The room for all decoded pictures is taken at once: a sentence, and no half cache."""
    write_photos(tmp_path)
    told = sentence(cli(*training(tmp_path), most_bytes=500_000))
    assert "MB of decoded pictures cannot be written" in told
    assert "--cache" in told
    assert not list((tmp_path / "cache").iterdir())


def test_a_disk_that_fills_while_saving(tmp_path: Path) -> None:
    """A checkpoint that does not fit leaves none, or the one before, and no partial file."""
    write_photos(tmp_path)
    whole = cli(*training(tmp_path))
    assert whole.returncode == 0, whole.stderr
    assert checkpoint.load(tmp_path / "run" / "last.pt")["epoch"] == 3
    (tmp_path / "run").rename(tmp_path / "before")
    told = sentence(cli(*training(tmp_path), most_bytes=20_000))
    assert "checkpoint cannot be written" in told
    assert "free some space" in told
    left = {path.suffix for path in (tmp_path / "run").iterdir()}
    assert left <= {".toml", ".csv"}


def test_out_of_memory_names_the_knobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own refusal of an allocation becomes batch, size and network, in this order."""
    monkeypatch.setattr(Run, "_step", lambda *args: torch.empty(10**15).sum())
    with pytest.raises(SmartbinError, match=r"out of memory with training\.batch = 8 and network"):
        run(tmp_path, "big", tiny())


def test_other_faults_are_not_called_memory() -> None:
    """Only what means memory is said to be that."""
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(tiny()):
        raise RuntimeError("shapes do not match")
    assert is_memory(MemoryError())
    assert is_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_memory(ValueError("out of memory"))


KILLED = """
import os, signal, sys
import onnx
from pathlib import Path
from tests.harness import tiny_card, tiny_network
from trainer import bundles
at, count = int(sys.argv[2]), 0
move, write = Path.replace, bundles._write_beside
def step(then):
    def stepped(*args):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return then(*args)
    return stepped
Path.replace, bundles._write_beside = step(move), step(write)
model = onnx.load_from_string(tiny_network())
model.producer_name = "version " + sys.argv[3]
network = model.SerializeToString()
bundles.write_pair(Path(sys.argv[1]), network, tiny_card(network) | {"version": int(sys.argv[3])})
"""


def write_killed(path: Path, at: int, version: int) -> int:
    command = [sys.executable, "-c", KILLED, str(path), str(at), str(version)]
    return subprocess.run(command, cwd=ROOT, timeout=200).returncode


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_kill_while_packaging_leaves_no_half_bundle(tmp_path: Path, at: int) -> None:
    """SIGKILL before each file is written and before each is moved: none, or a whole one."""
    path = tmp_path / "s.int8.onnx"
    assert write_killed(path, at, 1) == -signal.SIGKILL
    assert not path.exists()
    assert write_killed(path, 99, 1) == 0  # the next start clears up and writes
    assert load_bundle(path).version == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.int8.json", "s.int8.onnx"]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_kill_while_replacing_never_mixes_two_bundles(tmp_path: Path, at: int) -> None:
    """The old bundle stands, or the edge refuses the pair until the next start finishes it."""
    path = tmp_path / "s.int8.onnx"
    assert write_killed(path, 99, 1) == 0
    assert write_killed(path, at, 2) == -signal.SIGKILL
    if at < 4:
        assert load_bundle(path).version == 1
    else:  # between the two moves
        with pytest.raises(BundleError, match="sha256"):
            load_bundle(path)
    from trainer.bundles import finish

    finish(path)
    assert load_bundle(path).version == (1 if at < 4 else 2)
