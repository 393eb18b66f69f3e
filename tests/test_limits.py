"""A process that grows over its ceiling is restarted, not left for the kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge.health import rss_mb
from edge.limits import CHECK_S, MemoryGuard, OutgrownError
from tests.harness import ROOT


class World:
    """Sizes and time as values."""

    def __init__(self) -> None:
        self.now_s, self.asked = 0.0, 0
        self.sizes: dict[int | None, float] = {None: 100.0, 7: 50.0}

    def guard(self) -> MemoryGuard:
        return MemoryGuard(
            daemon_mb=200,
            capture_mb=80,
            capture_pid=lambda: 7,
            rss_of=self.size,
            clock=lambda: self.now_s,
        )

    def size(self, pid: int | None) -> float:
        self.asked += 1
        return self.sizes[pid]


def test_nothing_is_done_under_the_ceilings() -> None:
    """And it is looked at rarely, however often it is asked."""
    world = World()
    guard = world.guard()
    assert [guard.excess() for _ in range(100)] == [""] * 100
    assert world.asked == 2


def test_large_capture_process_is_named() -> None:
    """The sentence says how large."""
    world = World()
    guard = world.guard()
    guard.excess()
    world.sizes[7] = 81.0
    world.now_s += CHECK_S
    assert guard.excess() == "the capture process has grown to 81 MB"


def test_large_daemon_ends_itself_with_the_option_named() -> None:
    """systemd starts it afresh."""
    world = World()
    world.sizes[None] = 201.0
    with pytest.raises(OutgrownError, match=r"limits\.daemon_mb = 200"):
        world.guard().excess()


def test_memory_of_a_process_is_the_kernels_figure() -> None:
    """Of this process by default or by its number, of none where it is gone."""
    assert rss_mb() == pytest.approx(rss_mb(os.getpid()), rel=0.2)
    assert rss_mb(2**22 + 1) == 0.0


def test_a_full_collection_passes_over_what_the_start_has_made() -> None:
    """It stops every thread for as long as it looks, so it has next to nothing to look at."""
    code = (
        "import gc, edge.daemon, edge.limits; edge.limits.spare_collector();"
        "print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    frozen, left = map(int, told.stdout.split())
    assert frozen > 20_000 and left < frozen / 100
