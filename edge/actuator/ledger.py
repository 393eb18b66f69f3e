"""Which ids were ever moved for: a line is in the file before the device stirs.

At most once is kept through kills and restarts: what a dying process wrote is in the kernel, and
an id that was written is never moved again, whether its movement ended or not. A power cut may
take the last lines with it, since nothing is forced onto the card for each item; by the time the
host is up again, the orders of before have expired.

The file is shortened by a thread of its own, now and then: writing 20,000 ids anew takes 7 ms on
an x86 core, and much longer on a card, for which no movement should wait.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from edge.errors import SmartbinError
from edge.places import state_folder

log = logging.getLogger(__name__)

KEEP = 20_000  # ids; a decision lives for a minute at most, so this is far more than any replay
MAX_ID = 128
AT_ONCE = 100  # ids written between two chances for the other threads
END_WAIT_S = 2.0  # for the file to be shortened, at the end
ID = re.compile(r"[!-~]{1,128}")  # printable, no blanks: a torn or damaged line is none


class LedgerError(SmartbinError):
    """The ledger cannot be kept; nothing moves then."""


def default_path() -> Path:
    """$STATE_DIRECTORY under systemd, else the user's state folder."""
    return state_folder() / "moves.journal"


class Ledger:
    """Ids, oldest first, in one file that is appended to; None keeps them in memory alone."""

    def __init__(self, path: Path | None, *, keep: int = KEEP) -> None:
        self._path = path
        self._keep = keep
        self._lock = threading.Lock()  # guards everything below
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lines = 0  # in the file
        self._torn = False  # the last line has no end
        self._fd = -1
        self._since: list[str] = []  # claimed while the file is shortened
        self._shortening: threading.Thread | None = None
        if path is not None:
            self._open(path)

    def claim(self, id: str) -> bool:
        """Record that an id is moved for; False where it was before. Raises LedgerError."""
        with self._lock:
            if id in self._ids:
                return False
            self._append(id)
            self._ids[id] = None
            if len(self._ids) > self._keep:
                self._ids.popitem(last=False)
            if self._shortening is not None:
                self._since.append(id)
            elif self._path is not None and self._lines > 2 * self._keep:
                self._start_to_shorten(self._path)
            return True

    def close(self) -> None:
        """Let go of the file; idempotent."""
        shortening = self._shortening
        if shortening is not None:
            shortening.join(END_WAIT_S)
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise LedgerError(f"{path}: not a file; set actuator.ledger")
            self._fd = _opened(path)
            text = path.read_bytes().decode("ascii", "replace")
        except BlockingIOError as error:
            raise LedgerError(
                f"{path}: another actuator uses this ledger; end it, or set actuator.ledger"
            ) from error
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror}; set actuator.ledger") from error
        lines = text.splitlines()
        self._lines = len(lines)
        for line in lines[-self._keep :]:
            if ID.fullmatch(line):
                self._ids[line] = None
        if text and not text.endswith("\n"):  # torn by a power cut: the next id gets its own line
            os.write(self._fd, b"\n")

    def _append(self, id: str) -> None:
        if self._path is None:
            return
        begin = "\n" if self._torn else ""
        line = f"{begin}{id}\n".encode("ascii")
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            raise LedgerError(
                f"{self._path}: cannot be written ({error.strerror}); free or mend the disk"
            ) from error
        if written != len(line):  # a full disk takes a part; the rest of the line must not join
            self._torn = True
            raise LedgerError(f"{self._path}: cannot be written whole; is the disk full?")
        self._torn = False
        self._lines += 1

    def _start_to_shorten(self, path: Path) -> None:
        self._since = []
        self._shortening = threading.Thread(
            target=self._shorten, args=(path, list(self._ids)), name="ledger", daemon=True
        )
        self._shortening.start()

    def _shorten(self, path: Path, ids: list[str]) -> None:
        """Write the ids that are kept to a new file and put it in the place of the old."""
        fresh, fd = path.with_suffix(".new"), -1
        try:
            fresh.unlink(missing_ok=True)
            fd = _opened(fresh)
            for start in range(0, len(ids), AT_ONCE):
                _write(fd, ids[start : start + AT_ONCE])
            with self._lock:
                fd = self._take_over(path, fresh, fd, len(ids))
        except OSError as error:
            log.warning("%s: not shortened (%s); tried again later", path, error.strerror)
            with self._lock:
                self._lines = self._keep  # after as many more
        finally:
            if fd >= 0:
                os.close(fd)
            self._shortening = None

    def _take_over(self, path: Path, fresh: Path, fd: int, lines: int) -> int:
        """Go on in the new file of so many lines; returns the descriptor that is to be closed."""
        if self._fd < 0:  # closed meanwhile
            return fd
        _write(fd, self._since)
        fresh.replace(path)
        self._lines = lines + len(self._since)
        self._torn = False
        self._fd, fd = fd, self._fd
        return fd


def _opened(path: Path) -> int:
    """A file to append to, held against others; raises BlockingIOError where one holds it."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise
    return fd


def _write(fd: int, ids: Sequence[str]) -> None:
    """Append a line for each id; raises OSError also where the disk takes a part only."""
    text = "".join(f"{id}\n" for id in ids).encode("ascii")
    if os.write(fd, text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
