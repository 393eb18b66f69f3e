"""The simulated belt's light gate and encoder: true edges, with what real ones add to them."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator

import numpy as np

from edge.belt.pins import OnGate, OnPulse
from edge.beltsim.world import World

BATCH_S = 0.004  # edges are told in batches, as a busy kernel tells them; their stamps are exact
STAMP_NOISE_S = 2e-5
BOUNCE_S = 0.0015


class SimSensors:
    """Tells edges and pulses in real time, from a thread of its own."""

    def __init__(self, world: World, *, mm_per_pulse: float) -> None:
        """`mm_per_pulse` 0: no encoder."""
        self._world = world
        self._mm_per_pulse = mm_per_pulse
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, on_gate: OnGate, on_pulse: OnPulse) -> None:
        """Begin to tell."""
        self._on_gate, self._on_pulse = on_gate, on_pulse
        self._thread = threading.Thread(target=self._run, name="belt-sensors", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell no more; may be called again."""
        self._stop.set()
        if self._thread:
            self._thread.join(1.0)

    def _run(self) -> None:
        for at_s, kind, value in heapq.merge(self._gate(), self._pulses()):
            while (wait_s := at_s - time.monotonic()) > 0:
                if self._stop.wait(max(wait_s, BATCH_S)):
                    return
            if kind == "gate":
                self._on_gate(at_s, bool(value))
            else:
                self._on_pulse(at_s, value)

    def _gate(self) -> Iterator[tuple[float, str, int]]:
        rng = np.random.default_rng(self._world.seed + 2)
        for thing in self._world.things:
            broken_s = self._world.time_of(thing.lead_mm)
            freed_s = self._world.time_of(thing.lead_mm + thing.length_mm)
            for at_s, broken in ((broken_s, 1), (freed_s, 0)):
                yield at_s, "gate", broken
                if rng.random() < self._world.faults.gate_bounces:
                    first_s, then_s = np.sort(rng.uniform(1e-4, BOUNCE_S, 2))
                    yield at_s + float(first_s), "gate", 1 - broken
                    yield at_s + float(then_s), "gate", broken

    def _pulses(self) -> Iterator[tuple[float, str, int]]:
        if not self._mm_per_pulse:
            return
        rng = np.random.default_rng(self._world.seed + 3)
        noise = self._world.faults.pulse_noise
        count, at_s = 0, self._world.start_s
        while not self._stop.is_set():
            count += 1
            before_s, at_s = at_s, self._world.time_of(count * self._mm_per_pulse)
            if rng.random() < noise:
                yield float(rng.uniform(before_s, at_s)), "pulse", 1
            if rng.random() >= noise:
                yield at_s + float(rng.uniform(0, STAMP_NOISE_S)), "pulse", 1
