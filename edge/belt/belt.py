"""The belt as the daemon holds it: its clock, its timetable, and the sensors that drive both."""

from __future__ import annotations

from collections.abc import Callable

from edge.belt.clock import BeltClock, EncoderClock
from edge.belt.pins import OnGate, Sensors
from edge.belt.timetable import BeltTimetable
from edge.belt.tracker import Optics, Spacing, Tracker


class Belt:
    """Made from the configuration; `start` begins to listen, `close` ends it."""

    def __init__(
        self,
        *,
        clock: BeltClock,
        timetable: BeltTimetable,
        optics: Optics,
        spacing: Spacing,
        sensors: Callable[[], Sensors] | None,
    ) -> None:
        """`sensors` makes them where there are any: pins are claimed only when it starts."""
        self.clock = clock
        self.timetable = timetable
        self._tracker = Tracker(clock=clock, optics=optics, spacing=spacing, votes=1)
        self._make_sensors = sensors
        self._sensors: Sensors | None = None
        self._hear_gate: OnGate | None = None  # replaced as a whole, so it needs no lock

    def tracker(self, *, votes: int) -> Tracker:
        """The one of this belt: another trigger finds the line as the last one left it."""
        self._tracker.look_for(votes)
        return self._tracker

    def hear_gate(self, hear: OnGate) -> None:
        """Say who is told of the light gate's edges; a new one takes the place of the old."""
        self._hear_gate = hear

    def start(self) -> None:
        """Begin to listen to the sensors; raises SensorError."""
        if self._make_sensors and self._sensors is None:
            self._sensors = self._make_sensors()
            self._sensors.start(on_gate=self._on_gate, on_pulse=self._on_pulse)

    def close(self) -> None:
        """End listening; may be called again."""
        sensors, self._sensors = self._sensors, None
        if sensors:
            sensors.close()

    def _on_gate(self, at_s: float, broken: bool) -> None:
        if self._hear_gate:
            self._hear_gate(at_s, broken)

    def _on_pulse(self, at_s: float, step: int) -> None:
        if isinstance(self.clock, EncoderClock):
            self.clock.pulse(at_s, step)
