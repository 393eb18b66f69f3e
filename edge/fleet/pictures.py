"""Pictures of uncertain items: kept only where the owner allows it, labelled by people, exported.

Bins send them only where their owner set pictures.send, with people hidden (docs/learning.md); a
monitor keeps them only where pictures.keep is set, and does not even subscribe otherwise.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from edge.durable import sync
from edge.fleet import schema
from edge.fleet.database import Database

NO_CLASS = "none of these"  # a person's answer where no class fits
COLUMNS = (
    "file",
    "site",
    "bin",
    "event",
    "model",
    "outcome",
    "model_label",
    "confidence",
    "label",
    "labelled_by",
    "labelled_at",
    "sha256",
)


class Shelf:
    """A folder of JPEGs, each with its row; a Disk of the flusher's (flusher.py)."""

    def __init__(
        self,
        database: Database,
        *,
        folder: Path,
        keep: bool,
        max_bytes: int,
        days: float,
        durable: bool = True,
    ) -> None:
        """Without `durable` nobody calls `flush`, and nothing is noted for it."""
        self._database = database
        self._durable = durable
        self.folder = folder
        self.keep = keep
        self._max_bytes = max_bytes
        self._max_s = days * 86400
        self._lock = threading.Lock()  # guards _unflushed
        self._unflushed: set[Path] = set()  # written, and not known to be on the disk

    def put(self, db: sa.Connection, bin_id: int, row: Mapping[str, Any]) -> None:
        """Keep a picture that came from a bin, in the caller's transaction; a second one of the
        same event changes nothing. Raises OSError where the folder cannot be written."""
        values = {name: value for name, value in row.items() if name != "jpeg"}
        insert = self._database.insert(schema.picture).values(bin_id=bin_id, **values)
        if db.execute(insert.on_conflict_do_nothing()).rowcount or self._has(db, bin_id, row):
            self._write(row["sha256"], row["jpeg"])

    @staticmethod
    def _has(db: sa.Connection, bin_id: int, row: Mapping[str, Any]) -> bool:
        """Whether this very picture has its row: its file may not have outlived a crash."""
        picture = schema.picture.c
        same = (picture.bin_id == bin_id, picture.event_id == row["event_id"])
        found = db.execute(sa.select(picture.sha256).where(*same)).scalar()
        return bool(found == row["sha256"])

    def _write(self, sha256: str, jpeg: bytes) -> None:
        path = self.path(sha256)
        if not _holds(path, jpeg):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(jpeg)
            fresh.replace(path)
        if self._durable:
            with self._lock:
                self._unflushed.add(path)

    def open(self) -> None:
        """Nothing: a process that lives has lost no file."""

    def flush(self) -> None:
        """Return when every picture that was put would outlive a power cut; raises OSError, and
        then those that may not are gone, so that they are written anew when they are put again."""
        with self._lock:
            paths, self._unflushed = self._unflushed, set()
        try:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):  # grown old meanwhile
                    sync(path)
            for folder in {above for path in paths for above in list(path.parents)[:3]}:
                _sync_names(folder)  # a name lives in its folder: the file's, and ours in its own
        except OSError:
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def path(self, sha256: str) -> Path:
        """Where a picture lies."""
        return self.folder / sha256[:2] / f"{sha256}.jpg"

    def label(self, number: int, label: str, *, by: str) -> None:
        """Take a person's answer; the last one counts."""
        picture = schema.picture
        values = {"label": label, "labelled_by": by, "labelled_ts": time.time()}
        with self._database.begin() as db:
            db.execute(sa.update(picture).where(picture.c.id == number).values(**values))

    def forget_old(self, *, now_ts: float) -> int:
        """Delete what is too old, then the oldest while there is too much; returns how many."""
        picture = schema.picture.c
        with self._database.reading() as db:
            size, oldest_ts = db.execute(
                sa.select(sa.func.sum(picture.bytes), sa.func.min(picture.ts))
            ).one()
        if not size or (size <= self._max_bytes and oldest_ts >= now_ts - self._max_s):
            return 0
        query = sa.select(picture.id, picture.sha256, picture.bytes, picture.ts)
        with self._database.reading() as db:
            rows = db.execute(query.order_by(picture.ts.desc())).all()
        room, old = self._max_bytes, []
        for number, sha256, size, ts in rows:
            room -= size
            if ts < now_ts - self._max_s or room < 0:
                old.append((number, sha256))
        for number, sha256 in old:
            with self._database.begin(flush=False) as db:
                db.execute(sa.delete(schema.picture).where(picture.id == number))
                same = sa.select(sa.func.count()).where(picture.sha256 == sha256)
                if not db.execute(same).scalar():
                    self.path(sha256).unlink(missing_ok=True)
        return len(old)

    def labelled(self) -> Iterator[dict[str, Any]]:
        """Rows of the export, in COLUMNS."""
        picture, bin_ = schema.picture, schema.bin_
        query = (
            sa.select(picture, bin_.c.site, bin_.c.name)
            .join(bin_, bin_.c.id == picture.c.bin_id)
            .where(picture.c.label.is_not(None))
            .order_by(picture.c.id)
        )
        with self._database.reading() as db:
            rows = db.execute(query).mappings().all()
        for row in rows:
            yield {
                "file": f"{_folder_of(row['label'])}/{row['sha256'][:16]}.jpg",
                "site": row["site"],
                "bin": row["name"],
                "event": row["event_id"],
                "model": row["model"],
                "outcome": row["outcome"],
                "model_label": row["model_label"],
                "confidence": row["confidence"],
                "label": row["label"],
                "labelled_by": row["labelled_by"],
                "labelled_at": _utc(row["labelled_ts"]),
                "sha256": row["sha256"],
            }

    def as_csv(self) -> str:
        """The labels, one a line; text that a spreadsheet would run is disarmed."""
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for row in self.labelled():
            writer.writerow({key: _disarmed(value) for key, value in row.items()})
        return out.getvalue()

    def as_zip(self, out: io.BufferedIOBase) -> None:
        """One folder a class, which is what the trainer reads, with labels.csv and where all
        came from."""
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            n = 0
            for row in self.labelled():
                path = self.path(row["sha256"])
                if path.exists() and row["file"] not in archive.NameToInfo:
                    archive.write(path, row["file"])
                    n += 1
            archive.writestr("labels.csv", self.as_csv())
            provenance = {
                "made_by": "smartbin fleet",
                "exported_at": _utc(time.time()),
                "pictures": n,
                "labels": "by people on the fleet page; see labelled_by in labels.csv",
            }
            archive.writestr("provenance.json", json.dumps(provenance, indent=1))


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file is there and whole: what a power cut left of one is not."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes() == content
    return False


def _sync_names(folder: Path) -> None:
    """What a folder cannot do is no reason to keep nothing: one above ours may be another's, and
    some network file systems sync no folders."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOENT):
            raise


def _utc(ts: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts))


def _folder_of(label: str) -> str:
    """A class's name as one folder's: a bin chooses it, and may not choose a path."""
    return re.sub(r"[^\w.-]", "-", label).lstrip(".") or "-"


def _disarmed(value: Any) -> Any:
    starts_a_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t")
    return f"'{value}" if starts_a_formula else value
