"""Signs bundles for bins: a TUF repository in a folder that any web server can hold up.

Four ed25519 keys (The Update Framework, specification 1.0): `root` and `targets` sign what lasts,
and belong on a stick in a drawer; `snapshot` and `timestamp` only say that the list is fresh, and
may lie where a nightly `--refresh` runs. A bin needs nothing but root.json.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from edge.bundle import Bundle, load_bundle
from edge.errors import UsageError

ROLES = ("root", "targets", "snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Validity:
    """How long signatures hold; a bin refuses what has expired."""

    lasting_days: int = 365  # root and targets
    fresh_days: int = 30  # snapshot and timestamp: longest that old metadata can be held up


class Keys:
    """The private keys of a repository, one PEM file a role, mode 0600."""

    def __init__(self, folder: Path, passphrase: str) -> None:
        """`passphrase` encrypts them; empty leaves them plain."""
        self._folder, self._passphrase = folder, passphrase.encode() or None

    def make(self) -> None:
        """Four new keys; raises UsageError where one is there already."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in ROLES:
            path = self._path(role)
            if path.exists():
                raise UsageError(f"{path}: a key is there already; it is never overwritten")
            _write_secret(path, _pem(CryptoSigner.generate_ed25519(), self._encryption()))

    def signer(self, role: str) -> CryptoSigner:
        """The key of a role; raises UsageError where it cannot be had."""
        path = self._path(role)
        try:
            key = load_pem_private_key(path.read_bytes(), self._passphrase)
            return CryptoSigner(key)  # type: ignore[arg-type]
        except FileNotFoundError as error:
            raise UsageError(
                f"{path}: no such key; name the folder of the repository's keys, or begin a new "
                "repository with --new-keys"
            ) from error
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{path}: cannot be opened; the passphrase is another, or the file is damaged"
            ) from error

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}.pem"

    def _encryption(self) -> KeySerializationEncryption:
        return BestAvailableEncryption(self._passphrase) if self._passphrase else NoEncryption()


class TufRepository:
    """The folder: metadata/ and targets/, and root.json for the bins."""

    def __init__(self, folder: Path, keys: Keys, validity: Validity = Validity()) -> None:
        self._folder, self._keys, self._validity = folder, keys, validity
        self._metadata, self._targets = folder / "metadata", folder / "targets"

    @property
    def exists(self) -> bool:
        """Whether it was begun."""
        return (self._metadata / "timestamp.json").exists()

    def begin(self) -> None:
        """The first root, which names the four keys, and empty lists."""
        self._metadata.mkdir(parents=True, exist_ok=True)
        self._targets.mkdir(parents=True, exist_ok=True)
        root = Root(expires=self._until(self._validity.lasting_days), consistent_snapshot=True)
        for role in ROLES:
            root.add_key(self._keys.signer(role).public_key, role)
        self._save("root", Metadata(root))
        (self._folder / "root.json").write_bytes((self._metadata / "1.root.json").read_bytes())
        targets = Targets(expires=self._until(self._validity.lasting_days))
        self._save("targets", Metadata(targets))
        self._freshen(targets.version, first=True)

    def rotate(self, keys: Keys) -> int:
        """Four other keys from now on; returns the version of the root that says so.

        That root is signed by the old root key, so that bins follow, and by the new one. Every root
        stays: a bin walks from the one it has to the newest, one by one (specification 5.3). What
        the old keys sign later is refused.
        """
        root, targets = self._load("root", Root), self._load("targets", Targets)
        old = self._keys.signer("root")
        for role in ROLES:
            for key_id in list(root.signed.roles[role].keyids):
                root.signed.revoke_key(key_id, role)
            root.signed.add_key(keys.signer(role).public_key, role)
        root.signed.version += 1
        targets.signed.version += 1
        root.signed.expires = targets.signed.expires = self._until(self._validity.lasting_days)
        root.sign(old)
        root.sign(keys.signer("root"), append=True)
        self._keys = keys
        self._save("targets", targets)  # which no list names before the new root is there
        data = root.to_bytes()
        _write_whole(self._metadata / f"{root.signed.version}.root.json", data)
        _write_whole(self._folder / "root.json", data)  # for bins to come
        self._freshen(targets.signed.version)
        return int(root.signed.version)

    def release(self, onnx_path: Path) -> Bundle:
        """Add a bundle, signed; raises UsageError where its version was released before."""
        bundle = load_bundle(onnx_path)
        listed = self._listed(bundle.name)
        if any(entry["version"] >= bundle.version for entry in listed):
            raise UsageError(
                f"{bundle.model_id}: the repository has version {listed[-1]['version']} already; "
                "a release needs a higher version, as `smartbin-train quantize` gives it"
            )
        targets = self._load("targets", Targets)
        files = {
            f"{bundle.name}/{bundle.version}/{bundle.name}{suffix}": path.read_bytes()
            for suffix, path in ((".onnx", onnx_path), (".json", onnx_path.with_suffix(".json")))
        }
        onnx, card = files
        listed.append({"version": bundle.version, "onnx": onnx, "card": card})
        files[f"{bundle.name}/releases.json"] = json.dumps({"releases": listed}).encode()
        for name, data in files.items():
            info = TargetFile.from_data(name, data, ["sha256"])
            targets.signed.targets[name] = info
            place = self._targets / Path(name).parent / f"{info.hashes['sha256']}.{Path(name).name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(place, data)
        targets.signed.version += 1
        targets.signed.expires = self._until(self._validity.lasting_days)
        self._save("targets", targets)
        self._freshen(targets.signed.version)
        return bundle

    def refresh(self) -> datetime.datetime:
        """New dates on the online roles; returns until when they hold."""
        self._freshen(self._load("targets", Targets).signed.version)
        return self._until(self._validity.fresh_days)

    def _listed(self, name: str) -> list[dict[str, object]]:
        info = self._load("targets", Targets).signed.targets.get(f"{name}/releases.json")
        if info is None:
            return []
        place = self._targets / name / f"{info.hashes['sha256']}.releases.json"
        return list(json.loads(place.read_bytes())["releases"])

    def _freshen(self, targets_version: int, *, first: bool = False) -> None:
        until = self._until(self._validity.fresh_days)
        if first:
            snapshot, timestamp = (
                Metadata(Snapshot(expires=until)),
                Metadata(Timestamp(expires=until)),
            )
        else:
            snapshot = self._load("snapshot", Snapshot)
            timestamp = self._load("timestamp", Timestamp)
            snapshot.signed.version += 1
            timestamp.signed.version += 1
        snapshot.signed.expires = timestamp.signed.expires = until
        snapshot.signed.meta["targets.json"] = MetaFile(version=targets_version)
        self._save("snapshot", snapshot)
        timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
        self._save("timestamp", timestamp)

    def _load(self, role: str, kind: type) -> Metadata:  # type: ignore[type-arg]
        path = self._newest(role)
        try:
            return Metadata[kind].from_file(str(path))  # type: ignore[valid-type]
        except (RepositoryError, OSError) as error:
            raise UsageError(
                f"{path}: cannot be read as signed metadata ({error}); restore the folder"
            ) from error

    def _newest(self, role: str) -> Path:
        if role == "timestamp":
            return self._metadata / "timestamp.json"
        found = sorted(
            self._metadata.glob(f"*.{role}.json"), key=lambda p: int(p.name.split(".")[0])
        )
        if not found:
            raise UsageError(f"{self._metadata}: no {role} metadata; begin with --new-keys")
        return found[-1]

    def _save(self, role: str, metadata: Metadata) -> None:  # type: ignore[type-arg]
        metadata.sign(self._keys.signer(role))
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        _write_whole(self._metadata / name, metadata.to_bytes())

    @staticmethod
    def _until(days: int) -> datetime.datetime:
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return now + datetime.timedelta(days=days)


def _pem(signer: CryptoSigner, encryption: KeySerializationEncryption) -> bytes:
    key = load_pem_private_key(signer.private_bytes, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _write_secret(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _write_whole(path: Path, data: bytes) -> None:
    """A web server never holds half a file up."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
