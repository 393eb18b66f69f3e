"""A Python process of our own beside the daemon: started, heard of, ended; the parent's side.

What runs in it is in edge.childhood. It lives as long as its standard input is open here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

POLITE_STOP_S = 1.5  # then SIGKILL
KILL_WAIT_S = 1.0
# The path travels with it: the child must find the same edge, wherever that came from.
BOOT = """\
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
importlib.import_module(sys.argv[2]).main()
"""


class ChildProcess:
    """One child that runs `main()` of a module, with an order on its standard input."""

    def __init__(
        self,
        module: str,
        *,
        order: Mapping[str, object],
        pass_fds: Sequence[int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; raises OSError where there is no process to be had."""
        # Not multiprocessing: its spawn loads the parent's main module again and starts a
        # tracker process beside the child. stdout belongs to the command line's --json.
        # The child inherits the blocked signals, and ignores them before it unblocks them:
        # a Ctrl-C or SIGTERM to the whole group must not kill it while it starts.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(sys.path), module],
                stdin=subprocess.PIPE,
                stdout=2,
                pass_fds=tuple(pass_fds),
                bufsize=0,
                env={**os.environ, **environment} if environment else None,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        # The order goes through the pipe: it may hold a password, argv is public.
        self.send(json.dumps(order).encode() + b"\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes) -> bool:
        """Write to the child; False where it is gone."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(data)
            return True
        return False

    def obituary(self) -> str:
        """How it ended, in words; to be asked when it closed its pipes."""
        try:
            code = self._process.wait(0.5)  # it closed its pipe: it is about to end
        except subprocess.TimeoutExpired:
            return "no longer talks"
        if code >= 0:
            return f"ended with exit code {code}"
        return f"died of {signal.Signals(-code).name}"

    def end(self, polite_s: float = POLITE_STOP_S) -> None:
        """Ask by closing its standard input, then kill; may be called again."""
        self._stdin.close()
        try:
            self._process.wait(polite_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it for ever
                self._process.wait(KILL_WAIT_S)

    @property
    def _stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise AssertionError("stdin is a pipe, see Popen")
        return self._process.stdin


class Hearing:
    """Lines of JSON that a child says, from a pipe that does not block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._heard = b""

    def news(self) -> tuple[list[dict[str, object]], bool]:
        """Return what the child said since, and whether it is over."""
        over = False
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                break
            if not data:
                over = True
                break
            self._heard += data
        *lines, self._heard = self._heard.split(b"\n")
        return [json.loads(line) for line in lines], over
