"""uvicorn in a thread: the page beside the ingest, in one process."""

from __future__ import annotations

import logging
import socket
import threading
import time

import uvicorn
from starlette.applications import Starlette

from edge.errors import ConfigError, SmartbinError
from edge.fleet.settings import PageOptions

log = logging.getLogger(__name__)

START_S = 10.0
FAREWELL_S = 3


class Server:
    """Listens when `start` returns; raises SmartbinError where it cannot."""

    def __init__(self, app: Starlette, *, options: PageOptions) -> None:
        self._options = options
        config = uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=options.behind_proxy,
            forwarded_allow_ips=options.trusted_proxies,
            ssl_certfile=options.cert_file or None,
            ssl_keyfile=options.key_file or None,
            timeout_graceful_shutdown=FAREWELL_S,
            limit_concurrency=500,
        )
        try:
            config.load()  # reads the certificate
        except OSError as error:
            raise ConfigError([f"page.cert_file: not usable for TLS ({error})"]) from error
        self._socket = _listen(options.host, options.port)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="fleet-page", daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """For a person's browser, where there is no proxy."""
        scheme = "https" if self._options.cert_file else "http"
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"{scheme}://{host}:{self.port}/"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        until_s = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until_s:
                raise SmartbinError(f"fleet: the page at {self.address} did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Let go of the port; idempotent."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(FAREWELL_S + 2)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        raise SmartbinError(
            f"page.host, page.port: cannot listen on {host}:{port} ({error.strerror}); "
            "choose another port, or end what listens there"
        ) from error
    listener.set_inheritable(True)
    return listener
