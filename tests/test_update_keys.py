"""Keys change: bins follow a root that the old key signed, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.errors import UsageError
from edge.update.errors import UpdateError
from edge.update.repository import Repository
from tests import updates
from trainer import cli_release
from trainer.release import Keys, TufRepository, Validity


class Field:
    """A repository, and bins that were given its first root.json."""

    def __init__(self, folder: Path, server: updates.Server) -> None:
        self.folder, self.server = folder, server
        self.repository = updates.begin(folder / "web")
        self.first_root = (folder / "web" / "root.json").read_bytes()

    def keys(self, name: str) -> Keys:
        made = Keys(self.folder / name, "")
        made.make()
        return made

    def with_keys(self, folder: Path, **validity: int) -> TufRepository:
        """The same repository, in the hands of who has these keys."""
        return TufRepository(self.folder / "web", Keys(folder, ""), Validity(**validity))

    def release(self, version: int, repository: TufRepository | None = None) -> None:
        made = updates.tiny_bundle(self.folder / "made", version)
        (repository or self.repository).release(made)

    def seen_by(self, name: str, root: bytes | None = None) -> list[int]:
        """The versions that a bin trusts; raises UpdateError where it trusts nothing."""
        repository = Repository(
            url=self.server.url, root=root or self.first_root, folder=self.folder / name
        )
        found = repository.releases(updates.NAME)
        for release in found:
            repository.fetch(release)
        return [release.version for release in found]


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        yield Field(tmp_path, server)


def test_a_bin_with_the_old_root_follows_to_the_new_keys(field: Field) -> None:
    """What was released before the change and what comes after it, both signed anew."""
    field.release(4)
    assert field.seen_by("old-bin") == [4]
    assert field.repository.rotate(field.keys("second")) == 2
    assert field.seen_by("old-bin") == [4]
    field.release(5)
    assert field.seen_by("old-bin") == [4, 5]


def test_a_bin_that_slept_over_two_changes_walks_through_both(field: Field) -> None:
    """It has the first root alone; a new bin gets the newest and needs no walk."""
    field.release(4)
    field.repository.rotate(field.keys("second"))
    assert field.repository.rotate(field.keys("third")) == 3
    field.release(5)
    assert field.seen_by("sleeper") == [4, 5]
    newest = (field.folder / "web" / "root.json").read_bytes()
    assert newest == (field.folder / "web" / "metadata" / "3.root.json").read_bytes()
    assert field.seen_by("new-bin", newest) == [4, 5]


def test_a_first_root_that_has_expired_is_still_the_way_to_the_next(tmp_path: Path) -> None:
    """Only the newest root must be fresh: a bin may lie in a box for longer than a year."""
    (tmp_path / "web").mkdir()
    with updates.serving(tmp_path / "web") as server:
        field = Field(tmp_path, server)
        shutil.rmtree(tmp_path / "web")
        (tmp_path / "web").mkdir()
        expired = field.with_keys(tmp_path / "web-keys", lasting_days=-1)
        expired.begin()
        field.first_root = (tmp_path / "web" / "root.json").read_bytes()
        with pytest.raises(UpdateError, match="has expired"):
            field.seen_by("bin")
        fresh = field.with_keys(tmp_path / "web-keys")
        fresh.rotate(field.keys("second"))
        field.release(4, fresh)
        assert field.seen_by("bin") == [4]


def test_what_the_old_keys_sign_after_the_change_is_refused(field: Field) -> None:
    """The keys were stolen, so they were changed; the thief still has the old ones."""
    field.release(4)
    field.repository.rotate(field.keys("second"))
    assert field.seen_by("bin") == [4]
    field.release(5, field.with_keys(field.folder / "web-keys"))
    with pytest.raises(UpdateError, match="not signed by the keys that this bin trusts"):
        field.seen_by("bin")


def test_a_root_that_the_old_key_did_not_sign_is_refused(field: Field) -> None:
    """Whoever holds the server up names his own keys; the bin stays with what it has seen."""
    field.release(4)
    assert field.seen_by("bin") == [4]
    field.keys("thief")
    thief = field.with_keys(field.folder / "thief")
    shutil.copytree(field.folder / "web" / "metadata", field.folder / "honest")
    thief.rotate(field.keys("thief-too"))  # signed by the thief's key in the old one's place
    with pytest.raises(UpdateError, match="not signed by the keys that this bin trusts"):
        field.seen_by("bin")
    shutil.rmtree(field.folder / "web" / "metadata")
    shutil.copytree(field.folder / "honest", field.folder / "web" / "metadata")
    assert field.seen_by("bin") == [4]


def test_a_root_that_the_new_key_did_not_sign_is_refused(field: Field) -> None:
    """Both sign: whoever names a key must hold it, or the bins would be locked out."""
    from tuf.api.metadata import Metadata, Root

    field.release(4)
    field.repository.rotate(field.keys("second"))
    path = field.folder / "web" / "metadata" / "2.root.json"
    root = Metadata[Root].from_file(str(path))
    root.sign(Keys(field.folder / "web-keys", "").signer("root"))  # and by nobody else
    path.write_bytes(root.to_bytes())
    with pytest.raises(UpdateError, match="not signed by the keys that this bin trusts"):
        field.seen_by("bin")


def test_the_command_makes_the_keys_and_says_what_to_do(field: Field) -> None:
    """Two passphrases, one of the old keys and one of the new; the old folder is left alone."""
    places = ["--repo", str(field.folder / "web"), "--keys", str(field.folder / "web-keys")]
    second = field.folder / "second"
    said = CliRunner().invoke(cli_release.app, [*places, "--rotate", str(second), "--plain-keys"])
    assert said.exit_code == 0, said.exception
    assert "root 2 names the keys in" in said.output
    assert {path.name for path in second.iterdir()} == {
        "root.pem", "targets.pem", "snapshot.pem", "timestamp.pem",
    }  # fmt: skip
    field.release(4, field.with_keys(second))
    assert field.seen_by("bin") == [4]
    again = CliRunner().invoke(cli_release.app, [*places, "--rotate", str(second), "--plain-keys"])
    assert isinstance(again.exception, UsageError)
    assert "a key is there already" in str(again.exception)
