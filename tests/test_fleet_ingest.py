"""The monitor over SQLite, against a real Mosquitto."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_contract import MonitorContract

pytestmark = pytest.mark.mosquitto


class TestOnSqlite(MonitorContract):
    """The whole contract, on a file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'fleet.db'}"

    @pytest.fixture
    def outage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
        """Another program holds the file locked, longer than we wait."""
        monkeypatch.setattr("edge.fleet.database.BUSY_MS", 300)

        def begin() -> Callable[[], None]:
            other = sqlite3.connect(tmp_path / "fleet.db", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")

            def end() -> None:
                other.execute("ROLLBACK")
                other.close()

            return end

        return begin
