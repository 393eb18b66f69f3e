"""The bundles of a bin on its disk, and which of them runs: every change is one rename.

    DIR/state.json                 which version runs, which was the last good, which is refused
    DIR/versions/7/NAME.onnx, NAME.json
    DIR/incoming-7/                being written; never read, removed at the next start

A version is complete before its folder gets its name, and a folder is named before state.json
speaks of it. So whatever a power cut leaves, state.json names complete bundles. Files are checked
against the hashes in state.json whenever they are read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import Bundle, load_bundle
from edge.durable import sync
from edge.errors import BundleError
from edge.update.errors import UpdateError

FORMAT = 1
MOST_STARTS = 2  # of a model on trial that did not reach READY; then the last good one comes back
KEPT_REFUSALS = 50
SUFFIXES = (".onnx", ".json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One complete version in the store."""

    version: int
    name: str  # file name without suffix
    sha256: dict[str, str]  # by suffix, as they were when the signature was checked


@dataclass(frozen=True, slots=True)
class StoreState:
    """What state.json says."""

    current: Entry | None = None
    last_good: Entry | None = None  # comes back when `current` fails
    trial: bool = False  # `current` has not proved itself yet
    starts: int = 0  # of the daemon with the model on trial
    refused: dict[int, str] = dataclasses.field(default_factory=dict)  # version: why, for good
    note: str = ""  # of the last change, for people
    abstained_before: int = 0  # of the model before, in shadow
    items_before: int = 0


class ModelStore:
    """Used by one process at a time; the daemon holds the lock of its outbox anyway."""

    def __init__(self, folder: Path) -> None:
        """Never raises: a disk that cannot be written stops no bin, and says so when it matters."""
        self.folder = folder
        self._lock = threading.RLock()  # the loop tells READY while the updater's thread writes
        with contextlib.suppress(OSError):
            (folder / "versions").mkdir(parents=True, exist_ok=True)
        self.state = self._read_state()

    def clean(self) -> None:
        """Remove what a power cut left half-made, and versions that nothing names any more."""
        named = {str(e.version) for e in (self.state.current, self.state.last_good) if e}
        for path in self.folder.glob("incoming-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("versions/*"):
            if path.name not in named:
                shutil.rmtree(path, ignore_errors=True)

    def add(
        self, version: int, name: str, files: dict[str, bytes], step: Callable[[str], None]
    ) -> Entry:
        """Make `files` (by suffix) a complete version; `step` is told what is done next."""
        incoming = self.folder / f"incoming-{version}"
        final = self.folder / "versions" / str(version)
        try:
            shutil.rmtree(incoming, ignore_errors=True)
            final.parent.mkdir(parents=True, exist_ok=True)
            incoming.mkdir()
            for suffix in SUFFIXES:
                step(f"write {suffix}")
                _write_through(incoming / f"{name}{suffix}", files[suffix])
            sync(incoming)
            step("name the version")
            shutil.rmtree(final, ignore_errors=True)
            incoming.rename(final)
            sync(final.parent)
        except OSError as error:
            shutil.rmtree(incoming, ignore_errors=True)
            raise UpdateError(
                f"{self.folder}: version {version} cannot be written ({error.strerror}); "
                "free some space, the running model stays"
            ) from error
        hashes = {suffix: hashlib.sha256(files[suffix]).hexdigest() for suffix in SUFFIXES}
        return Entry(version, name, hashes)

    def load(self, entry: Entry) -> Bundle:
        """Read a version, checked against the hashes it was accepted with; raises BundleError."""
        path = self.path_of(entry)
        for suffix in SUFFIXES:
            part = path.with_suffix(suffix) if suffix != ".onnx" else path
            try:
                found = hashlib.sha256(part.read_bytes()).hexdigest()
            except OSError as error:
                raise BundleError(
                    f"{part}: cannot be read ({error.strerror}); the last good model is used"
                ) from error
            if found != entry.sha256[suffix]:
                raise BundleError(
                    f"{part}: changed since its signature was checked (sha256 {found[:12]}...); "
                    "the last good model is used"
                )
        return load_bundle(path)

    def path_of(self, entry: Entry) -> Path:
        """The .onnx of a version."""
        return self.folder / "versions" / str(entry.version) / f"{entry.name}.onnx"

    def start_trial(
        self, entry: Entry, note: str, *, abstained_before: int = 0, items_before: int = 0
    ) -> None:
        """`entry` runs from now on, and what ran before comes back should it fail.

        What the one before abstained on in shadow is kept, for a trial that goes over a restart.
        """
        with self._lock:
            good = self.state.last_good if self.state.trial else self.state.current
            refused = {k: v for k, v in self.state.refused.items() if k != entry.version}
            self._write_state(
                StoreState(entry, good, True, 0, refused, note, abstained_before, items_before)
            )

    def count_start(self) -> None:
        """One more start of the daemon with the model on trial."""
        with self._lock:
            if self.state.trial:
                self._write_state(dataclasses.replace(self.state, starts=self.state.starts + 1))

    def reached_ready(self) -> None:
        """The daemon works with it; only starts that never got this far count against it."""
        with self._lock:
            if self.state.trial and self.state.starts:
                self._write_state(dataclasses.replace(self.state, starts=0))

    def confirm(self, note: str) -> None:
        """The model on trial has proved itself."""
        with self._lock:
            if self.state.trial:
                self._write_state(dataclasses.replace(self.state, trial=False, starts=0, note=note))

    def roll_back(self, reason: str, *, refuse: bool = True) -> Entry | None:
        """Back to the last good version, or to the shipped model (None) where there is none.

        The version left is refused from now on, unless `refuse` is false.
        """
        with self._lock:
            self._write_state(self._without_current(reason, refuse=refuse))
            return self.state.current

    def leave(self, reason: str, *, refuse: bool = True) -> None:
        """As `roll_back`, in memory alone, where the disk cannot be written."""
        with self._lock:
            self.state = self._without_current(reason, refuse=refuse)

    def _without_current(self, reason: str, *, refuse: bool) -> StoreState:
        left, state = self.state.current, self.state
        refused = dict(state.refused)
        if left is not None and refuse:
            refused[left.version] = reason
        return StoreState(current=state.last_good, refused=_newest(refused), note=reason)

    def settle(self, entry: Entry | None) -> None:
        """In memory alone, where the disk cannot be written: `entry` runs, and is on no trial."""
        with self._lock:
            self.state = dataclasses.replace(self.state, current=entry, trial=False, starts=0)

    def refuse(self, version: int, reason: str) -> None:
        """Never try this version again."""
        with self._lock:
            refused = _newest({**self.state.refused, version: reason})
            self._write_state(dataclasses.replace(self.state, refused=refused))

    @property
    def failed_to_start(self) -> bool:
        """Whether the model on trial had its starts and reached READY in none."""
        return self.state.trial and self.state.starts >= MOST_STARTS

    def _read_state(self) -> StoreState:
        path = self.folder / "state.json"
        try:
            content = json.loads(path.read_text("utf-8"))
            return _state_of(content)
        except FileNotFoundError:
            return StoreState()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            # Nothing that it named can be trusted; the shipped model always can.
            return StoreState(note=f"state.json was unreadable ({type(error).__name__})")

    def _write_state(self, state: StoreState) -> None:
        path, partial = self.folder / "state.json", self.folder / "state.json.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"format": FORMAT, **dataclasses.asdict(state)}, indent=1)
            _write_through(partial, text.encode())
            partial.replace(path)
            sync(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise UpdateError(
                f"{path}: cannot be written ({error.strerror}); the running model stays; "
                "free some space, or set update.store to a folder that smartbin may write"
            ) from error
        self.state = state


def _state_of(content: dict[str, Any]) -> StoreState:
    if content["format"] != FORMAT:
        raise ValueError("another format")
    return StoreState(
        current=_entry_of(content["current"]),
        last_good=_entry_of(content["last_good"]),
        trial=bool(content["trial"]),
        starts=int(content["starts"]),
        refused={int(k): str(v) for k, v in content["refused"].items()},
        note=str(content["note"]),
        abstained_before=int(content.get("abstained_before", 0)),
        items_before=int(content.get("items_before", 0)),
    )


def _entry_of(content: dict[str, Any] | None) -> Entry | None:
    if content is None:
        return None
    hashes = {suffix: str(content["sha256"][suffix]) for suffix in SUFFIXES}
    return Entry(int(content["version"]), str(content["name"]), hashes)


def _newest(refused: dict[int, str]) -> dict[int, str]:
    return dict(sorted(refused.items())[-KEPT_REFUSALS:])


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
