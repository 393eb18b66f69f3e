"""Tells systemd how the daemon is (sd_notify(3)): a datagram to $NOTIFY_SOCKET, or nothing."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


class Notifier:
    """READY, STATUS, WATCHDOG and STOPPING; silent where systemd did not start us."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        if self._address.startswith("@"):  # an abstract socket, written with a NUL
            self._address = "\0" + self._address[1:]

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def progress(self) -> None:
        """Feed the watchdog; only to be called when work went forward."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                # Never waits: where nobody reads, the daemon must go on.
                out.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.warning("systemd: cannot be told %r (%s)", state.split("\n")[0], error)
