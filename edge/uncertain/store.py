"""A bounded folder of pictures, each NAME.jpg with NAME.json; the oldest go first.

The .json is written last and renamed into place, so a picture without one was cut off by a power
cut and is removed at the next start.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """One picture in the store."""

    name: str  # the id of its event
    bytes: int
    ts: float  # seconds since the epoch
    sent: bool
    blur: str  # what was hidden on it, see blur.MODES


class PictureStore:
    """Used by one thread; raises OSError where the disk does not play along."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        wall: Callable[[], float] = time.time,
        tidy: bool = True,
    ) -> None:
        """`tidy` removes what a power cut left; not beside a daemon, which may be writing it."""
        self._tidy = tidy
        self.folder, self._max_bytes, self._max_age_s = folder, max_bytes, max_age_s
        self._wall = wall
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept = self._scan()

    @property
    def kept(self) -> list[Kept]:
        """What is there, oldest first."""
        return list(self._kept.values())

    @property
    def total_bytes(self) -> int:
        """Size of all pictures."""
        return sum(kept.bytes for kept in self._kept.values())

    def add(self, name: str, jpeg: bytes, note: dict[str, Any]) -> None:
        """Keep a picture; makes room by the oldest ones. Raises OSError, leaving nothing."""
        self.rotate(room=len(jpeg))
        ts = self._wall()
        try:
            (self.folder / f"{name}.jpg").write_bytes(jpeg)
            self._write_note(name, {**note, "kept_ts": ts, "sent": False})
        except OSError:
            self.delete(name)
            raise
        self._kept[name] = Kept(name, len(jpeg), ts, False, str(note.get("blur", "none")))

    def read(self, name: str) -> tuple[bytes, dict[str, Any]] | None:
        """A picture and its note; None where a person has removed it."""
        try:
            note = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
            return (self.folder / f"{name}.jpg").read_bytes(), note
        except (OSError, ValueError):
            self._kept.pop(name, None)
            return None

    def mark_sent(self, name: str) -> None:
        """It has arrived; it stays here until its time is over."""
        found = self.read(name)
        if found is None:
            return
        self._write_note(name, {**found[1], "sent": True})
        self._kept[name] = dataclasses.replace(self._kept[name], sent=True)

    def delete(self, name: str) -> bool:
        """Remove one picture and its note; false where it is not there."""
        for suffix in (".json", ".jpg", ".json.partial"):
            (self.folder / f"{name}{suffix}").unlink(missing_ok=True)
        return self._kept.pop(name, None) is not None

    def delete_all(self) -> int:
        """Remove every picture; returns how many."""
        names = list(self._kept)
        for name in names:
            self.delete(name)
        return len(names)

    def rotate(self, *, room: int = 0) -> int:
        """Remove what is too old, then the oldest until `room` bytes fit; returns how many."""
        oldest_ts = self._wall() - self._max_age_s
        total, removed = self.total_bytes, 0
        for kept in self.kept:
            if kept.ts >= oldest_ts and total + room <= self._max_bytes:
                break
            self.delete(kept.name)
            total -= kept.bytes
            removed += 1
        return removed

    def _write_note(self, name: str, note: dict[str, Any]) -> None:
        partial = self.folder / f"{name}.json.partial"
        partial.write_text(json.dumps(note), "utf-8")
        partial.replace(self.folder / f"{name}.json")

    def _scan(self) -> dict[str, Kept]:
        found = []
        for path in self.folder.iterdir():
            if path.suffix == ".json":
                kept = self._kept_of(path)
                if kept:
                    found.append(kept)
            elif self._tidy and (
                path.suffix == ".partial" or not path.with_suffix(".json").exists()
            ):
                _remove(path)
        return {kept.name: kept for kept in sorted(found, key=lambda kept: kept.ts)}

    def _kept_of(self, path: Path) -> Kept | None:
        try:
            note = json.loads(path.read_text("utf-8"))
            size = path.with_suffix(".jpg").stat().st_size
            blur = str(note.get("blur", "none"))
            return Kept(path.stem, size, float(note["kept_ts"]), bool(note["sent"]), blur)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if self._tidy:
                log.warning("%s: not a kept picture (%s); removed", path, error)
                _remove(path)
            return None


def _remove(path: Path) -> None:
    """Only files, and only in our folder; a link is removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
