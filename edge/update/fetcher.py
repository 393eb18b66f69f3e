"""Downloads for python-tuf that go on where they broke, in bounds of time and size.

A server that drips a byte now and then passes every wait for the next byte: in its headers, in a
chunk's length, in trailers without end. So each answer has an end by the clock
(edge.update.clocked).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from edge.update.clocked import Overdue, bytes_of, pool_of

WHOLE_S = 1800.0  # of one file, however slowly its bytes drip
METADATA_S = 120.0  # of one signed list, which is small
ATTEMPTS = 4  # of one file, each going on where the last one broke
PAUSE_S = 0.2  # before the second attempt; doubles
MOST_BYTES = 64_000_000  # of a partial file; signed lengths are checked beside


class ResumingFetcher(FetcherInterface):
    """Metadata in one go; targets by way of a partial file that outlives a restart."""

    def __init__(self, partials: Path, *, targets_url: str, ca_file: str = "") -> None:
        """`targets_url` is what the addresses of targets begin with."""
        self._partials, self._targets_url = partials, targets_url
        self._pool = pool_of(ca_file)

    def forget(self) -> None:
        """Remove what was begun: it belongs to no signed file, or to none that is wanted."""
        for part in self._partials.glob("part-*"):
            part.unlink(missing_ok=True)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.startswith(self._targets_url):  # metadata changes under its name
            yield from self._bytes(url, 0, time.monotonic() + METADATA_S)
            return
        # Targets are named by their hash, so what is there belongs to the same file.
        path = self._partials / f"part-{hashlib.sha256(url.encode()).hexdigest()[:24]}"
        yield from self._continued(url, path)
        path.unlink(missing_ok=True)

    def _continued(self, url: str, path: Path) -> Iterator[bytes]:
        until_s = time.monotonic() + WHOLE_S
        if path.exists():
            yield path.read_bytes()
        for attempt in range(ATTEMPTS):
            try:
                yield from self._appended(url, path, until_s)
                return
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if attempt == ATTEMPTS - 1:
                    raise DownloadError(f"{url}: broke {ATTEMPTS} times ({error})") from error
                time.sleep(PAUSE_S * 2**attempt)

    def _appended(self, url: str, path: Path, until_s: float) -> Iterator[bytes]:
        have = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            for chunk in self._bytes(url, have, until_s):
                have += len(chunk)
                if have > MOST_BYTES:
                    raise SlowRetrievalError(f"{url}: too long")
                file.write(chunk)
                file.flush()
                yield chunk

    def _bytes(self, url: str, have: int, until_s: float) -> Iterator[bytes]:
        """What follows the first `have` bytes, whether or not the server knows ranges."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with self._pool.request(
                "GET", url, headers=headers, preload_content=False, decode_content=False
            ) as answer:
                if have and answer.status == 416:  # all of it was there
                    return
                if answer.status not in (200, 206):  # a redirection is not followed
                    raise DownloadHTTPError(f"{url}: HTTP {answer.status}", answer.status)
                skip = have if answer.status == 200 else 0
                for chunk in bytes_of(answer, until_s):
                    yield chunk[skip:]
                    skip = max(0, skip - len(chunk))
        except Overdue as error:
            raise SlowRetrievalError(f"{url}: {error}") from error
