"""A page on loopback on which a person watches the line."""

from __future__ import annotations

import json
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.beltsim.line import Line
from edge.beltsim.view import counts_of, scene_of
from edge.beltsim.world import SPRITES
from edge.errors import SmartbinError

HERE = Path(__file__).parent
TYPES = {".webp": "image/webp", ".html": "text/html; charset=utf-8"}


class Page:
    """Serves the line at http://127.0.0.1:PORT/ as long as the block lasts."""

    def __init__(self, line: Line, *, port: int) -> None:
        """Bind the port (0: any that is free); raises SmartbinError where it is taken."""
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(line))
        except OSError as error:
            raise SmartbinError(
                f"belt-sim: port {port} on 127.0.0.1 cannot be had ({error.strerror}); "
                "name another with --port, or 0 for any"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="belt-page", daemon=True
        )

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(line: Line) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """The page, its pictures, and what is on the belt just now."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                self._send((HERE / "page.html").read_bytes(), TYPES[".html"])
            elif path == "/scene":
                self._send_json(scene_of(line, time.monotonic()))
            elif path == "/counts":
                self._send_json(counts_of(line, time.monotonic()))
            elif path.startswith("/sprites/") and path.removeprefix("/sprites/") in PICTURES:
                self._send((SPRITES / Path(path).name).read_bytes(), TYPES[".webp"])
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: a page that asks ten times a second would fill the terminal."""

        def _send_json(self, value: dict[str, Any]) -> None:
            self._send(json.dumps(value).encode(), "application/json")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header(
                "Cache-Control", "max-age=3600" if kind == TYPES[".webp"] else "no-store"
            )
            self.end_headers()
            self.wfile.write(body)

    return Handler


PICTURES = frozenset(path.name for path in SPRITES.glob("*.webp"))
