"""The bench of the closed loop, in short: what it measures holds, and its account is complete."""

from __future__ import annotations

import re

import pytest

from tests.harness import free_port
from tools.loop import a_line, chaos, latency

pytestmark = [pytest.mark.mosquitto, pytest.mark.slow, pytest.mark.timeout(900)]


def figures(table: str, row: str) -> list[float]:
    """The numbers in a row of a table."""
    (line,) = [line for line in table.splitlines() if row in line]
    return [float(number) for number in re.findall(r"[0-9.]+", line.split("|")[2])]


@pytest.mark.parametrize("mode", ["broker", "local"])
def test_every_item_is_acknowledged_soon(mode: str) -> None:
    """500 items; the bounds are wide, for a machine on which others work (docs/actuators.md)."""
    with a_line(port=free_port(), mode=mode, rate=20) as line:
        table = latency(line, 500)
    done, asked = figures(table, "items acknowledged")[:2]
    p50 = figures(table, "trigger to ack")[0]
    assert done >= asked - 5, table
    assert p50 < 40, table


def test_nothing_moves_twice_or_late_whatever_happens() -> None:
    """500 items with replays, kills and restarts; `chaos` itself fails where one is unaccounted."""
    with a_line(port=free_port(), rate=20, chaos=True) as line:
        table = chaos(line, 500, seed=3)
    assert figures(table, "double movements") == [0]
    assert figures(table, "for an expired decision") == [0]
    assert figures(table, "unaccounted") == [0]
    assert figures(table, "movements, by the device")[0] > 100
