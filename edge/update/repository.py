"""Fetches releases whose signatures hold; with `fetcher` the only importer of python-tuf.

A TUF repository is a folder of signed JSON and of files named by their hashes, on any web server
(specification 1.0; Samuel et al., "Survivable key compromise in software update systems", CCS
2010). Whoever holds the server cannot forge (signatures), replay (versions), freeze (expiry), mix
(snapshot) or flood (signed lengths); whoever holds the online keys alone cannot sign a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from tuf.api import exceptions as tuf
from tuf.ngclient.updater import Updater

from edge.update.errors import UpdateError
from edge.update.fetcher import ResumingFetcher

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MISMATCHES = (tuf.DownloadLengthMismatchError, tuf.LengthOrHashMismatchError)
# The first that fits is what the error means to a person.
SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (
        tuf.UnsignedMetadataError,
        "not signed by the keys that this bin trusts ({error}); a changed key needs a new root "
        "signed with the old one",
    ),
    (
        tuf.ExpiredMetadataError,
        "the metadata has expired ({error}); somebody may hold an old copy up, or nobody ran "
        "`smartbin-train release --refresh`",
    ),
    (
        tuf.BadVersionNumberError,
        "older metadata than this bin has seen ({error}); an old copy is refused",
    ),
    (
        tuf.LengthOrHashMismatchError,
        "not the file that was signed ({error}); it was tampered with, swapped or cut",
    ),
    (
        tuf.DownloadLengthMismatchError,
        "longer than its signed length ({error}); the download was stopped",
    ),
    (tuf.SlowRetrievalError, "the server is too slow ({error}); tried again later"),
    (tuf.DownloadHTTPError, "the server refuses ({error}); see update.url"),
    (tuf.DownloadError, "cannot be fetched ({error}); see update.url"),
    (urllib3.exceptions.HTTPError, "cannot be fetched ({error}); see update.url"),
    (tuf.RepositoryError, "the metadata does not hold ({error}); the running model stays"),
    (OSError, "cannot be kept on the disk ({error}); the running model stays"),
)


@dataclass(frozen=True, slots=True)
class Release:
    """One signed bundle that the repository offers."""

    name: str
    version: int
    onnx: str  # target paths
    card: str


class Repository:
    """One refresh of a repository's metadata, and what can be fetched by it."""

    def __init__(
        self,
        *,
        url: str,
        root: bytes,
        folder: Path,
        ca_file: str = "",
        step: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`root` is the root.json that the owner put on the bin; `folder` keeps what was seen.

        Raises UpdateError where the metadata cannot be had or does not hold.
        """
        self._url, self._step = url.rstrip("/"), step
        self._partials = folder / "partial"
        with _in_words(self._url):
            for needed in (folder / "metadata", self._partials):
                needed.mkdir(parents=True, exist_ok=True)
            self._fetcher = ResumingFetcher(
                self._partials, targets_url=f"{self._url}/targets/", ca_file=ca_file
            )
            self._updater = Updater(
                metadata_dir=str(folder / "metadata"),
                metadata_base_url=f"{self._url}/metadata/",
                target_dir=str(self._partials),
                target_base_url=f"{self._url}/targets/",
                fetcher=self._fetcher,
                bootstrap=root,
            )
            step("refresh metadata")
            self._updater.refresh()

    def releases(self, name: str) -> list[Release]:
        """Signed releases of a bundle, oldest first."""
        path = f"{name}/releases.json"
        try:
            content = json.loads(self._target(path))
            found = [_release(name, entry) for entry in content["releases"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UpdateError(
                f"{self._url}: {path} is not a list of releases ({error}); "
                "write it with `smartbin-train release`"
            ) from error
        return sorted(found, key=lambda release: release.version)

    def release(self, name: str, version: int) -> Release:
        """One of them; raises UpdateError where it is not signed."""
        offered = self.releases(name)
        for release in offered:
            if release.version == version:
                return release
        there = ", ".join(str(release.version) for release in offered[-5:]) or "none"
        raise UpdateError(
            f"version {version}: not among the signed releases of {name}; there are {there}"
        )

    def fetch(self, release: Release) -> dict[str, bytes]:
        """The files of a release by suffix; each is what was signed."""
        self._step("download .onnx")
        onnx = self._target(release.onnx)
        self._step("download .json")
        files = {".onnx": onnx, ".json": self._target(release.card)}
        self._fetcher.forget()  # what was begun of versions that nobody wants any more
        return files

    def _target(self, path: str) -> bytes:
        place = self._partials / "whole"
        with _in_words(f"{self._url}: {path}"):
            info = self._updater.get_targetinfo(path)
            if info is None:
                raise UpdateError(
                    f"{self._url}: no signed file {path} in this repository; see update.bundle"
                )
            try:
                self._updater.download_target(info, str(place))
                return place.read_bytes()
            except MISMATCHES:
                self._fetcher.forget()
                raise
            finally:
                place.unlink(missing_ok=True)


def _release(name: str, entry: dict[str, Any]) -> Release:
    paths = str(entry["onnx"]), str(entry["card"])
    for path in paths:
        if not all(NAME.fullmatch(part) for part in path.split("/")):
            raise ValueError(f"target path {path!r}")
    return Release(name, int(entry["version"]), *paths)


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    """python-tuf's exceptions as one sentence each."""
    kinds = tuple(kind for kind, _ in SENTENCES)
    try:
        yield
    except kinds as error:
        sentence = next(text for kind, text in SENTENCES if isinstance(error, kind))
        raise UpdateError(f"{what}: {sentence.format(error=_innermost(error))}") from error


def _innermost(error: BaseException) -> str:
    """The cause behind all wrapping, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or type(error).__name__
