"""HTTP answers that end by the clock: a timer cuts the line where a server only drips."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

TIMEOUT_S = 20.0  # of a connection, and without a byte
HEAD_S = 60.0  # until an answer's headers are there
CHUNK = 65536


class Overdue(Exception):
    """An answer that was not over in its time."""


def pool_of(ca_file: str = "") -> urllib3.PoolManager:
    """Connections to https by the system's authorities, or those of `ca_file`; never redirected."""
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(TIMEOUT_S), retries=False, ca_certs=ca_file or None
    )
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return pool


def bytes_of(answer: BaseHTTPResponse, until_s: float) -> Iterator[bytes]:
    """The body as it comes; raises Overdue where it is not over at `until_s` (monotonic)."""
    with _Cut(answer.shutdown, until_s - time.monotonic()) as cut:
        try:
            # read1 gives what has come; stream() would lose it where the line breaks.
            while not cut.done.is_set() and (chunk := answer.read1(CHUNK)):
                yield chunk
        except urllib3.exceptions.HTTPError:
            if not cut.done.is_set():
                raise
        if cut.done.is_set():
            raise Overdue("too slow, the answer is not over in its time")


class _Cut:
    """Ends a line when its time is over, from a thread of its own; `done` once it has."""

    def __init__(self, end: Callable[[], object], after_s: float) -> None:
        self._end, self.done = end, threading.Event()
        self._timer = threading.Timer(max(0.0, after_s), self._now)
        self._timer.daemon = True

    def __enter__(self) -> _Cut:
        self._timer.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._timer.cancel()

    def _now(self) -> None:
        self.done.set()
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has just ended by itself
            self._end()


def _headers_in_time(connection: HTTPConnection, take: Callable[[], Any]) -> Any:
    line = connection.sock
    with _Cut(lambda: line and line.shutdown(socket.SHUT_RDWR), HEAD_S) as cut:
        try:
            answer = take()
        except Exception:
            if not cut.done.is_set():
                raise
        if cut.done.is_set():  # headers that end there look like an answer without a body
            raise Overdue(f"no whole answer within {HEAD_S:.0f} s")
    return answer


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        """As urllib3's own, with an end."""
        return _headers_in_time(self, super().getresponse)


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        """As urllib3's own, with an end."""
        return _headers_in_time(self, super().getresponse)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
