"""A belt from its options."""

from __future__ import annotations

from collections.abc import Callable

from edge.actuator.values import ActuatorError
from edge.belt.belt import Belt
from edge.belt.clock import BeltClock, EncoderClock, FixedClock
from edge.belt.options import BeltOptions
from edge.belt.pins import NO_PIN, PinSensors, SensorError, Sensors, Wiring
from edge.belt.timetable import BeltTimetable, Diverters
from edge.belt.tracker import Optics, Spacing

NOISE_FACTOR = 2.0  # times the usual speed: no belt runs so fast, but a chattering encoder does


def build_belt(
    options: BeltOptions, *, sensors: Callable[[], Sensors] | None = None
) -> Belt | None:
    """None where items lie still. `sensors` takes the place of the pins, for a simulation."""
    if options.clock == "none":
        return None
    clock = _clock(options)
    diverters = Diverters(
        at_mm=options.diverters_mm,
        delay_s=options.delay_ms / 1000,
        notice_s=options.notice_ms / 1000,
        tolerance_mm=options.tolerance_mm,
    )
    optics = Optics(
        camera_mm=options.camera_mm,
        window_mm=options.window_mm,
        exposure_s=options.exposure_ms / 1000,
        strobe_s=options.strobe_ms / 1000,
    )
    return Belt(
        clock=clock,
        timetable=BeltTimetable(clock=clock, diverters=diverters),
        optics=optics,
        spacing=Spacing(min_gap_mm=options.min_gap_mm, max_item_mm=options.max_item_mm),
        sensors=sensors or _pin_sensors(options),
    )


def _clock(options: BeltOptions) -> BeltClock:
    if options.clock == "fixed":
        return FixedClock(speed_mm_s=options.speed_mm_s)
    return EncoderClock(
        mm_per_pulse=options.mm_per_pulse, max_speed_mm_s=NOISE_FACTOR * options.speed_mm_s
    )


def _pin_sensors(options: BeltOptions) -> Callable[[], Sensors] | None:
    wired = (options.gate_pin, options.encoder_a, options.encoder_b)
    if all(pin == NO_PIN for pin in wired):
        return None
    wiring = Wiring(
        gate=options.gate_pin,
        broken_is_high=options.gate_broken == "high",
        encoder_a=options.encoder_a,
        encoder_b=options.encoder_b,
    )
    return lambda: PinSensors(wiring, factory=_factory())


def _factory() -> object:
    from edge.actuator.gpio import lgpio_factory

    try:
        return lgpio_factory()
    except ActuatorError as error:
        what, _, _ = str(error).partition(";")  # what follows is about devices that move
        raise SensorError(f"belt: {what}; a light gate or an encoder needs its pins") from error
