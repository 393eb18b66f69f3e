"""Downloads for python-tuf that go on where they broke, in bounds of time and size."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

TIMEOUT_S = 20.0  # of a connection, and without a byte
WHOLE_S = 1800.0  # of one file, however slowly its bytes drip
METADATA_S = 120.0  # of one signed list, which is small
ATTEMPTS = 4  # of one file, each going on where the last one broke
PAUSE_S = 0.2  # before the second attempt; doubles
CHUNK = 65536
MOST_BYTES = 64_000_000  # of a partial file; signed lengths are checked beside


class ResumingFetcher(FetcherInterface):
    """Metadata in one go; targets by way of a partial file that outlives a restart."""

    def __init__(self, partials: Path, ca_file: str = "") -> None:
        self._partials = partials
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(TIMEOUT_S), retries=False, ca_certs=ca_file or None
        )

    def forget(self) -> None:
        """Remove what was begun: it belongs to no signed file."""
        for part in self._partials.glob("part-*"):
            part.unlink(missing_ok=True)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if "/targets/" not in url:  # metadata is small, and changes under its name
            until_s = time.monotonic() + METADATA_S
            for chunk in self._bytes(url, 0):
                if time.monotonic() > until_s:
                    raise SlowRetrievalError(f"{url}: too slow")
                yield chunk
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
            for chunk in self._bytes(url, have):
                have += len(chunk)
                if have > MOST_BYTES or time.monotonic() > until_s:
                    raise SlowRetrievalError(f"{url}: too long or too slow")
                file.write(chunk)
                file.flush()
                yield chunk

    def _bytes(self, url: str, have: int) -> Iterator[bytes]:
        """What follows the first `have` bytes, whether or not the server knows ranges."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        answer = self._pool.request("GET", url, headers=headers, preload_content=False)
        try:
            if have and answer.status == 416:  # all of it was there
                return
            if answer.status not in (200, 206):  # a redirection is not followed
                raise DownloadHTTPError(f"{url}: HTTP {answer.status}", answer.status)
            skip = have if answer.status == 200 else 0
            # read1 gives what has come; stream() would lose it where the line breaks.
            while chunk := answer.read1(CHUNK):
                yield chunk[skip:]
                skip = max(0, skip - len(chunk))
        finally:
            answer.close()
