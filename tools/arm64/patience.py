"""pytest plugin for a slow machine: the same tests, with longer waits. `pytest -p patience`."""

from __future__ import annotations

from typing import Any

from tests import harness

PATIENCE_S = 90.0  # emulation is ten to forty times slower, and two cores may be shared


def pytest_configure(config: Any) -> None:
    """Wait longer wherever the tests wait by default; what comes soon is taken as soon as ever."""
    harness.wait_for.__kwdefaults__ = {"timeout_s": PATIENCE_S}
    harness.RunningDaemon.wait.__defaults__ = (PATIENCE_S,)
