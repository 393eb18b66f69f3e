"""The wall clock jumps by years, as on a board without a battery.

Moved inside the daemon's process (tests/faults/launch.py): a time namespace has no wall clock of
its own, and this machine's is not ours to set.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.bin import Bin
from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.proxy import Proxy
from tests.harness import Mosquitto

pytestmark = pytest.mark.mosquitto
YEARS_S = 3 * 365 * 86400


@pytest.mark.parametrize(
    ("jump_s", "fault"),
    [
        (YEARS_S, "clock jumps years ahead"),
        pytest.param(-YEARS_S, "clock jumps years back", marks=pytest.mark.slow),
    ],
)
def test_clock_jumps_and_nothing_that_waits_becomes_too_old(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin, tmp_path: Path, jump_s: int, fault: str
) -> None:
    """Events wait for the broker while the clock is set; it is set back before they leave."""
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    proxy.refuse()
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    faults = {"clock_file": str(clock), "constants": {"edge.outbox.AGE_CHECK_S": 0.2}}
    bin_.start(faults=faults)
    bin_.wait_items(10)
    set_clock(clock, jump_s)
    bin_.wait_log("the clock was set")
    bin_.wait_items(10)
    set_clock(clock, 0)
    bin_.wait_items(10)
    proxy.admit()
    bin_.wait_log("mqtt: connected")
    bin_.wait_items(5)
    sees = line_of(bin_.log, "the clock was set")
    enter(fault, sees, bin_.close_books())
    check_order_and_expiry(bin_)


def set_clock(file: Path, ahead_s: int) -> None:
    """At once: the daemon never reads half a number."""
    file.with_suffix(".new").write_text(str(ahead_s))
    file.with_suffix(".new").replace(file)


def check_order_and_expiry(bin_: Bin) -> None:
    """Numbers tell the order though the times jump; no decision is late for it."""
    assert bin_.monitor
    told = [json.loads(payload) for _, payload in bin_.monitor.events]
    decisions = [event for event in told if event["type"] == "decision"]
    seqs = [event["seq"] for event in decisions]
    assert seqs == sorted(seqs)
    times = [event["decided_ts"] for event in decisions]
    assert max(times) - min(times) > 0.9 * YEARS_S
    assert {event["outcome"] for event in decisions} == {"sorted"}
    assert all(0 < event["expires_ms"] <= 2000 for event in decisions)
    assert bin_.monitor.of("decision")
