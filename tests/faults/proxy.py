"""A network that can be slow, silent or gone, between the daemon and its broker."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

Line = queue.SimpleQueue[tuple[float, bytes]]  # when to pass it on, what


class Proxy:
    """Passes TCP on to a port of this host; `delay_s` each way, `silent` as a pulled cable is.

    Silent: sockets stay open, nothing is passed on, no one is told. What was under way arrives
    when the silence ends, as TCP's repetitions would.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._stop = threading.Event()
        self._passing = threading.Event()
        self._passing.set()
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.delay_s = 0.0
        self.admit()

    def admit(self) -> None:
        """Listen; at the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener, self.port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Break every connection and take no new one."""
        self._close_listener()
        while self._sockets:
            _end(self._sockets.pop())

    def silence(self, on: bool) -> None:
        if on:
            self._passing.clear()
        else:
            self._passing.set()

    def close(self) -> None:
        self._stop.set()
        self._passing.set()
        self.refuse()

    def _close_listener(self) -> None:
        if self._listener:
            _end(self._listener)
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to_port), 5)
            except OSError:
                _end(near)
                continue
            far.settimeout(None)
            self._sockets += (near, far)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        """Read as fast as it comes; another thread passes it on when its time has come."""
        line: Line = queue.SimpleQueue()
        threading.Thread(target=self._deliver, args=(line, sink), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                line.put((time.monotonic() + self.delay_s, data))
        line.put((0.0, b""))
        _end(source)

    def _deliver(self, line: Line, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (item := line.get())[1]:
                self._stop.wait(max(0.0, item[0] - time.monotonic()))
                self._passing.wait()
                sink.sendall(item[1])
        _end(sink)


def _end(thing: socket.socket) -> None:
    with contextlib.suppress(OSError):
        thing.shutdown(socket.SHUT_RDWR)
    thing.close()
