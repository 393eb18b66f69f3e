"""`smartbin model`, `smartbin pictures` and `smartbin-train release`, as people type them."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge import cli_model, cli_pictures
from edge.errors import ConfigError, SmartbinError, UsageError
from edge.uncertain.store import PictureStore
from edge.update.store import ModelStore
from tests import updates
from tests.harness import write_picture
from trainer import cli_release

PASSPHRASE = {cli_release.VARIABLE: "correct horse"}


class Device:
    """A configuration, a repository on a web server, and tiny bundles."""

    def __init__(self, folder: Path, server: updates.Server) -> None:
        self.folder, self.web = folder, folder / "web"
        self.bundle = updates.tiny_bundle(folder / "made", 3)
        self.config = folder / "config.toml"
        self.config.write_text(
            f"""
[model]
path = "{self.bundle}"
[routes.by_class]
red = "left"
[outbox]
path = "{folder / "outbox.db"}"
[update]
url = "{server.url}"
root = "{self.web / "root.json"}"
bundle = "tiny"
store = "{folder / "store"}"
[pictures]
folder = "{folder / "pictures"}"
"""
        )

    def model(self, *words: str) -> Result:
        return CliRunner().invoke(cli_model.app, [*words, "--config", str(self.config)])

    def pictures(self, *words: str) -> Result:
        return CliRunner().invoke(cli_pictures.app, [*words, "--config", str(self.config)])

    def release(self, *words: str, **environment: str) -> Result:
        places = ["--repo", str(self.web), "--keys", str(self.folder / "keys")]
        env = environment or PASSPHRASE
        return CliRunner().invoke(cli_release.app, [*words, *places], env=env)

    def released(self, version: int, **changed: object) -> Path:
        path = updates.tiny_bundle(self.folder / "made", version, **changed)  # type: ignore[arg-type]
        made = self.release("--bundle", str(path))
        assert made.exit_code == 0, made.exception
        return path

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.folder / "store")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        made = Device(tmp_path, server)
        assert made.release("--new-keys").exit_code == 0
        yield made


def test_a_model_is_installed_listed_verified_and_rolled_back(device: Device) -> None:
    """By hand, with the daemon stopped; each command says what is so from the next start."""
    path = device.released(4)
    assert (
        "tiny@4: on trial from the next start" in device.model("install", "--version", "4").output
    )
    assert "runs       tiny@4 (on trial)" in device.model("list").output
    assert json.loads(device.model("list", "--json").output)["current"]["version"] == 4
    assert "is what was signed" in device.model("verify", str(path)).output
    rolled = device.model("rollback")
    assert "version 4 is left; tiny@3 runs" in rolled.output
    assert "refused    4: rolled back by hand" in device.model("list").output
    assert isinstance(device.model("rollback").exception, UsageError)


def test_verify_tells_a_changed_bundle_from_the_signed_one(device: Device) -> None:
    """Whole, and it opens, but not what was signed."""
    path = device.released(4)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "min_margin": 0.1}))
    assert "not the file that was signed" in str(device.model("verify", str(path)).exception)


def test_install_refuses_what_is_older_missing_or_of_other_classes(device: Device) -> None:
    """Each with its sentence, and nothing changes."""
    device.released(4)
    assert "not among the signed releases" in str(
        device.model("install", "--version", "9").exception
    )
    other = {"labels": ["red", "green", "violet"]}
    device.released(5, **other, thresholds=dict.fromkeys(other["labels"], 0.6))
    fault = device.model("install", "--version", "5").exception
    assert isinstance(fault, SmartbinError)
    assert "labels are red, green, violet" in str(fault)
    assert device.store.state.current is None
    assert device.model("install", "--version", "5", "--new-labels").exit_code == 0
    assert "a downgrade" in str(device.model("install", "--version", "4").exception)


def test_a_person_may_install_what_the_bin_refused_over_the_air(device: Device) -> None:
    """Other classes are refused by wish for good, and installed by hand with --new-labels."""
    labels = ["red", "green", "violet"]
    device.released(5, labels=labels, thresholds=dict.fromkeys(labels, 0.6))
    device.store.refuse(5, "labels are others")
    said = device.model("install", "--version", "5", "--new-labels")
    assert said.exit_code == 0, said.exception
    assert "was refused before: labels are others" in said.output
    assert device.store.state.refused == {}


def test_keys_are_secret_and_encrypted(device: Device) -> None:
    """Mode 0600, a passphrase that is asked for, and nothing is overwritten."""
    for role in ("root", "targets", "snapshot", "timestamp"):
        path = device.folder / "keys" / f"{role}.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"ENCRYPTED" in path.read_bytes()
    assert stat.S_IMODE((device.folder / "keys").stat().st_mode) == 0o700
    wrong = device.release("--refresh", **{cli_release.VARIABLE: "another"})
    assert "the passphrase is another" in str(wrong.exception)
    empty = device.release("--refresh", **{cli_release.VARIABLE: " "})
    assert "must not be empty" in str(empty.exception)
    assert "a repository is there already" in str(device.release("--new-keys").exception)


def test_refresh_needs_the_online_keys_alone(device: Device) -> None:
    """root.pem and targets.pem lie in a drawer; then no model can be signed."""
    device.released(4)
    for role in ("root", "targets"):
        (device.folder / "keys" / f"{role}.pem").rename(device.folder / f"{role}.pem")
    assert "fresh until" in device.release("--refresh").output
    assert device.model("install", "--version", "4").exit_code == 0
    path = updates.tiny_bundle(device.folder / "made", 5)
    fault = device.release("--bundle", str(path)).exception
    assert "targets.pem: no such key" in str(fault)
    assert "fresh until" in device.release("--refresh").output


def test_a_missing_root_is_a_fault_of_the_configuration(device: Device) -> None:
    """`smartbin check-config` says so before the first update does."""
    from edge.config import load_config
    from edge.parts import check_all

    (device.web / "root.json").rename(device.folder / "elsewhere.json")
    with pytest.raises(ConfigError, match=r"update.root.*cannot be read"):
        check_all(load_config(device.config))


def canary_faults(device: Device, own: Path) -> list[str]:
    """What `smartbin check-config` says of a folder of the owner's pictures."""
    from edge.config import load_config
    from edge.parts import check_all

    text = device.config.read_text()
    path = device.config.with_name("canaries.toml")
    path.write_text(text.replace("[update]", f'[update]\ncanaries = "{own}"'))
    try:
        check_all(load_config(path))
    except ConfigError as error:
        return list(error.faults)
    return []


def test_own_canaries_that_no_update_could_use_are_faults(device: Device) -> None:
    """Missing, a file, empty, a class that the model does not know, a picture that is none."""
    own = device.folder / "own"
    assert "is not there; name a folder" in canary_faults(device, own)[0]
    assert "is a file; name a folder" in canary_faults(device, device.config)[0]
    own.mkdir()
    assert "no picture is in it" in canary_faults(device, own)[0]
    for name in ("red", "violet"):
        write_picture(own / name / "a.png", (1, 2, 3))
    assert "violet is no class of the model" in "".join(canary_faults(device, own))
    (own / "violet").rename(own / "green")
    assert canary_faults(device, own) == []
    (own / "red" / "b.png").write_bytes(b"x")
    assert ["b.png" in fault for fault in canary_faults(device, own)] == [True]


def test_every_fault_that_an_update_would_meet_is_told_at_once(device: Device) -> None:
    """root.json and the canaries together, not one after the other."""
    (device.web / "root.json").rename(device.folder / "elsewhere.json")
    told = canary_faults(device, device.folder / "nowhere")
    assert ["update.root" in told[0], "update.canaries" in told[1]] == [True, True]


def kept(device: Device) -> PictureStore:
    store = PictureStore(device.folder / "pictures", max_bytes=10**6, max_age_s=10**6)
    for number in (1, 2):
        note = {"why": "unknown", "label": "red", "confidence": 0.4, "blur": "hands", "site": "s"}
        store.add(f"0123456789ab-{number}", b"jpeg %d" % number, note)
    return store


def test_kept_pictures_are_listed_exported_and_deleted(device: Device) -> None:
    """The owner sees what is kept, takes it along and removes it."""
    kept(device)
    assert "2 pictures" in device.pictures("list").output
    rows = [json.loads(line) for line in device.pictures("list", "--json").output.splitlines()]
    assert [row["why"] for row in rows] == ["unknown", "unknown"]
    out = device.folder / "mine.zip"
    assert device.pictures("export", str(out)).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with zipfile.ZipFile(out) as archive:
        assert archive.read("pictures/0123456789ab-1.jpg") == b"jpeg 1"
        assert "labels.csv" not in archive.namelist()
    assert "is there already" in str(device.pictures("export", str(out)).exception)
    assert "removed" in device.pictures("delete", "0123456789ab-1").output
    assert "no such picture" in str(device.pictures("delete", "../../config").exception)
    assert "1 pictures removed" in device.pictures("delete", "all").output
    assert "nothing to export" in str(device.pictures("export", str(out)).exception)


def test_the_command_beside_a_daemon_removes_nothing_half_written(device: Device) -> None:
    """A picture whose note is about to come is the daemon's, not ours to tidy."""
    kept(device)
    half = device.folder / "pictures" / "0123456789ab-3.jpg"
    half.write_bytes(b"half")
    device.pictures("list")
    assert half.exists()
