"""Lines for the reader, commands with a limit, and an end that cleans up after itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 25  # of a failed command, enough for a traceback of pip or pytest
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STARTED_S = time.monotonic()


class Fault(Exception):
    """A sentence for the user; `code` is the exit code: 1 at run time, 2 bad usage."""

    def __init__(self, sentence: str, *, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a signal that asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def elapsed_s() -> float:
    """Seconds since this program began."""
    return time.monotonic() - _STARTED_S


def say(text: str) -> None:
    """One line on what is being done, with the seconds since the start."""
    print(f"{elapsed_s():5.0f} s  {text}", flush=True)


def end_on_signals() -> None:
    """Let every ending signal unwind the `with` blocks once; a second one cannot break that."""

    def end(number: int, _frame: object) -> None:
        ignore_signals()
        raise Interrupted(number)

    for each in ENDING:
        signal.signal(each, end)


def ignore_signals() -> None:
    """From here on nothing breaks the cleaning up."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    limit_s: float,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return its standard output.

    Raises Fault, with the end of what it printed, where it fails or takes more than `limit_s`.
    """
    # A group of its own: all that it starts can be ended together, and Ctrl-C comes to us alone.
    process = subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise Fault(f"{what}: not done after {limit_s:.0f} s; is the machine busy?") from error
    finally:
        _end_group(process)
    if process.returncode:
        tail = "\n".join((err + out).splitlines()[-TAIL_LINES:])
        raise Fault(f"{what}: exit code {process.returncode}\n{tail}")
    return out


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
