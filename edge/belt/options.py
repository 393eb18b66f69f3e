"""The [belt] section, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.belt.pins import NO_PIN
from edge.options import option

LAST_PIN = 53  # the most that a Raspberry Pi's chip has; its header has 0 to 27
NEEDS_BELT = ("gate", "encoder", "line")


@dataclass(frozen=True, slots=True)
class BeltOptions:
    """A moving belt: distances are measured from the trigger, along the belt."""

    clock: str = option(
        "none",
        "none: items lie still. fixed: the belt always runs at speed_mm_s. encoder: it is counted.",
        choices=("none", "fixed", "encoder"),
    )
    speed_mm_s: float = option(
        500.0,
        "Speed; with an encoder the usual one (pulses of twice the speed are noise).",
        low=1,
        high=10_000,
        unit="mm/s",
    )
    mm_per_pulse: float = option(
        1.0,
        "Travel of the belt from pulse to pulse; of a quadrature encoder, a quarter of a period.",
        low=0.001,
        high=1000,
        unit="mm",
    )
    gate_pin: int = option(NO_PIN, "BCM pin of the light gate; -1: none.", low=-1, high=LAST_PIN)
    gate_broken: str = option(
        "high", "Level of the pin while the beam is broken.", choices=("high", "low")
    )
    debounce_ms: float = option(
        2.0,
        "Bounces within it are one item, and so is what follows nearer; no pulse is dropped.",
        low=0,
        high=1000,
        unit="ms",
    )
    encoder_a: int = option(NO_PIN, "BCM pin of channel A; -1: none.", low=-1, high=LAST_PIN)
    encoder_b: int = option(
        NO_PIN, "BCM pin of channel B; -1: one channel, always forward.", low=-1, high=LAST_PIN
    )
    pitch_mm: float = option(
        200.0, "From pocket to pocket, for the encoder trigger.", low=1, high=10_000, unit="mm"
    )
    line_at: float = option(
        0.5, "Where the line trigger looks, as a share of the picture.", low=0, high=1
    )
    line_across: str = option(
        "x", "x: items cross it from left or right. y: from above or below.", choices=("x", "y")
    )
    line_share: float = option(
        0.08, "Least share of the line that an item covers.", low=0.01, high=1
    )
    camera_mm: float = option(
        100.0,
        "From the trigger to the leading edge of an item that is rightly in the picture.",
        low=0,
        high=10_000,
        unit="mm",
    )
    window_mm: float = option(
        60.0,
        "How much further it may be and still be wholly in the picture.",
        low=1,
        high=10_000,
        unit="mm",
    )
    exposure_ms: float = option(
        0.0,
        "How long before its time stamp a frame may have begun to be exposed: 0 for picam, the "
        "delay of the picture for cameras without stamps.",
        low=0,
        high=1000,
        unit="ms",
    )
    strobe_ms: float = option(
        0.0, "From the beginning of the exposure to the light.", low=0, high=1000, unit="ms"
    )
    min_gap_mm: float = option(
        40.0,
        "Least gap from item to item; closer ones are ambiguous and go the safe way.",
        low=0,
        high=10_000,
        unit="mm",
    )
    max_item_mm: float = option(
        400.0, "Longer ones are two that touch.", low=1, high=10_000, unit="mm"
    )
    delay_ms: float = option(
        30.0, "From an order to the full movement of a diverter.", low=0, high=5000, unit="ms"
    )
    notice_ms: float = option(
        30.0, "How long before it an order must be given; else late.", low=1, high=5000, unit="ms"
    )
    tolerance_mm: float = option(
        25.0, "How far off the middle an item may be hit.", low=0.1, high=1000, unit="mm"
    )
    diverters_mm: Mapping[str, float] = option(
        {},
        "Compartment = from the trigger to the middle of its diverter. The safe one needs none: "
        "it is at the end of the belt.",
        entry=float,
        low=1,
        high=100_000,
        unit="mm",
        rows=("#packaging = 1200.0",),
    )


def belt_faults(
    options: BeltOptions,
    *,
    trigger: str,
    routes: Mapping[str, str],
    safe: str,
    pins: Mapping[int, str] | None = None,
) -> Iterator[tuple[str, str]]:
    """Dotted key and sentence of each fault that several options make together.

    `pins` are those that something else on this board takes, with the option that says so.
    """
    if options.clock == "none":
        if trigger in NEEDS_BELT:
            yield "trigger.kind", f'= "{trigger}": needs belt.clock = "fixed" or "encoder"'
        return
    if trigger not in (*NEEDS_BELT, "command"):
        allowed = ", ".join((*NEEDS_BELT, "command"))
        yield "trigger.kind", f'= "{trigger}": on a belt one of {allowed}'
    if trigger == "gate" and options.gate_pin == NO_PIN:
        yield "belt.gate_pin", "must be given for the gate trigger"
    if options.clock == "encoder" and options.encoder_a == NO_PIN:
        yield "belt.encoder_a", "must be given for the encoder clock"
    if trigger == "encoder" and options.clock != "encoder":
        yield "belt.clock", f'= "{options.clock}": the encoder trigger needs "encoder"'
    blind_mm = options.debounce_ms / 1000 * options.speed_mm_s
    if trigger == "gate" and blind_mm > options.min_gap_mm:
        yield (
            "belt.debounce_ms",
            f"= {options.debounce_ms:g}: the belt runs {blind_mm:.0f} mm in it, so items nearer "
            f"than belt.min_gap_mm = {options.min_gap_mm:g} would be taken for one",
        )
    yield from _pin_faults(options, dict(pins or {}))
    yield from _diverter_faults(options, routes, safe)


def _pin_faults(options: BeltOptions, taken: dict[int, str]) -> Iterator[tuple[str, str]]:
    """A pin with two owners: the second would take the first one's edges away, unheard."""
    for key in ("gate_pin", "encoder_a", "encoder_b"):
        pin = getattr(options, key)
        if pin in taken:
            yield f"belt.{key}", f"= {pin}: GPIO {pin} is taken by {taken[pin]}; use another"
        elif pin != NO_PIN:
            taken[pin] = f"belt.{key}"
    if options.encoder_b != NO_PIN and options.encoder_a == NO_PIN:
        yield "belt.encoder_a", "must be given with belt.encoder_b"


def _diverter_faults(
    options: BeltOptions, routes: Mapping[str, str], safe: str
) -> Iterator[tuple[str, str]]:
    served = {route for route in routes.values() if route != safe}
    for route in sorted(served - set(options.diverters_mm)):
        yield "belt.diverters_mm", f"{route} is missing; say where its diverter is"
    seen_mm = options.camera_mm + options.window_mm
    for route, distance_mm in options.diverters_mm.items():
        if route not in served:
            yield f"belt.diverters_mm.{route}", "no class goes there; see routes.by_class"
        elif distance_mm <= seen_mm:
            yield (
                f"belt.diverters_mm.{route}",
                f"= {distance_mm:g}: must be beyond the camera, more than {seen_mm:g} mm",
            )
