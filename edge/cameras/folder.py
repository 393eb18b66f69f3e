"""A folder of pictures as a camera: by name, at a set rate, once or for ever."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from pathlib import Path

from edge.cameras.base import BackEnd, CameraSpec, Clock, turn
from edge.errors import CameraError, PictureError
from edge.pictures import list_pictures, read_picture
from edge.values import Frame, Pixels

log = logging.getLogger(__name__)


class FolderCamera(BackEnd):
    """Plays `folder:PATH`; a broken picture is skipped, logged and counted."""

    live = False

    def __init__(self, spec: CameraSpec, *, clock: Clock = time.monotonic) -> None:
        self._spec = spec
        self._clock = clock
        self._folder = Path(spec.source.partition(":")[2]).expanduser()
        self._stop = threading.Event()
        self._paths = self._list()
        # Index into _paths; after a restart, behind the picture that was taken last.
        names = [path.name for path in self._paths]
        self._next = self._read_this_round = bisect_right(names, spec.after)
        self._due_s: float | None = None
        self._seq = 0

    def read(self) -> Frame | None:
        """Return the next picture, not before its time; None after the last one."""
        picture = self._next_picture()
        if picture is None:
            return None
        pixels, name = picture
        captured_s = self._wait_until_due()
        self._seq += 1
        return Frame(pixels, captured_s, self._seq, source=name)

    def close(self) -> None:
        """End the play; also wakes a `read` that waits in another thread."""
        self._stop.set()

    def _list(self) -> list[Path]:
        where = f"camera folder:{self._folder}"
        try:
            paths = list_pictures(self._folder)
        except OSError as error:
            raise CameraError(
                f"{where}: the folder cannot be read ({error.strerror}); check the path"
            ) from error
        if not paths:
            raise CameraError(f"{where}: no pictures in it; put JPEG or PNG files there")
        return paths

    def _next_picture(self) -> tuple[Pixels, str] | None:
        while not self._stop.is_set():
            if self._next == len(self._paths):
                self._end_round()
                if not self._spec.repeat:
                    return None
            path = self._paths[self._next]
            self._next += 1
            try:
                pixels = turn(read_picture(path), self._spec.rotate_deg)
            except PictureError as error:
                self.skipped += 1
                log.warning("%s; skipped", error)
                continue
            self._read_this_round += 1
            return pixels, path.name
        raise CameraError(f"camera folder:{self._folder}: closed; open it again")

    def _end_round(self) -> None:
        if not self._read_this_round:
            raise CameraError(
                f"camera folder:{self._folder}: none of its {len(self._paths)} pictures can be "
                "read; copy them again"
            )
        if self._spec.repeat:  # a picture may have come or gone since the last round
            self._paths = self._list()
            self._next = self._read_this_round = 0

    def _wait_until_due(self) -> float:
        now_s = self._clock()
        if self._due_s is not None and self._due_s > now_s:
            self._stop.wait(self._due_s - now_s)
            now_s = self._clock()
        if self._spec.fps:
            # A late picture does not hurry the next one: the rate is a ceiling.
            self._due_s = max(now_s, self._due_s or now_s) + 1 / self._spec.fps
        return now_s
