"""The [actuator] section, its devices, and what is wrong with them: all of it at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.actuator.devices import KINDS, NO_PIN, CommonOptions
from edge.options import Reader, default_of, name_fault, nearest, option, rule_of

SECTION = "actuator.devices"
PIN_WORDS = ("pin", "switch", "feedback")  # a key that ends in one of these names a GPIO


def _example_rows() -> tuple[str, ...]:
    """Every kind with every option at its default, commented out, for config.toml."""
    rows: list[str] = []
    for kind, entry in KINDS.items():
        doc = " ".join((entry.options.__doc__ or "").split())
        rows += ["", f"# {doc}", f"#[{SECTION}.NAME]", f'#kind = "{kind}"']
        for field in dataclasses.fields(entry.options):
            if field.name != "kind":
                rows.append(_example_row(field))
    return tuple(rows)


def _example_row(field: dataclasses.Field[Any]) -> str:
    rule, default = rule_of(field), default_of(field)
    shown = "{}" if isinstance(default, dict) else json.dumps(default)
    if default == NO_PIN and rule.low == 0:
        shown = "?"
    allowed = rule.allowed(rule.entry if isinstance(default, dict) else type(default))
    limits = "" if allowed == "text" else f" [{allowed}]"
    return f"#{field.name} = {shown}  # {rule.doc}{limits}"


@dataclass(frozen=True, slots=True)
class ActuatorOptions:
    """What moves the items. The same file serves the daemon and `smartbin actuator`."""

    mode: str = option(
        "off",
        "off: nothing is moved, no ack awaited. broker: by smartbin actuator or another subscriber "
        "of decision. local: by the daemon itself, on this board.",
        choices=("off", "broker", "local"),
    )
    ack_ms: int = option(
        5000,
        "Longest wait for an ack, from the last moment at which the movement may begin.",
        low=10,
        high=120_000,
        unit="ms",
    )
    failures: int = option(
        3, "So many in a row, and a route is offered no longer.", low=1, high=1000
    )
    retry_s: float = option(
        600.0,
        "Then one item tries such a route again; 0: only after cmd/clear or cmd/move.",
        low=0,
        high=86_400,
        unit="s",
    )
    silence_s: float = option(
        120.0,
        "The actuator stays home when the bin was silent so long; 0: never. Else at least twice "
        "health.interval_s.",
        low=0,
        high=86_400,
        unit="s",
    )
    ledger: str = option(
        "",
        "File of the ids moved for; empty: moves.journal in $STATE_DIRECTORY or "
        "~/.local/state/smartbin.",
    )
    devices: Mapping[str, Any] = option(
        {},
        "One table for each device. Pins are BCM numbers; an end switch joins its pin with ground.",
        entry=dict,
        rows=_example_rows(),
    )


def with_devices(options: ActuatorOptions, reader: Reader) -> ActuatorOptions:
    """The section with each device's table read as the options of its kind."""
    return dataclasses.replace(options, devices=read_devices(options.devices, reader))


def read_devices(tables: Mapping[str, Any], reader: Reader) -> dict[str, CommonOptions]:
    """Each device's table as the options of its kind; faults go to the reader."""
    read: dict[str, CommonOptions] = {}
    for name, table in tables.items():
        dotted = f"{SECTION}.{name}"
        problem = name_fault(name)
        if problem:
            reader.fault(dotted, problem)
        kind = table.get("kind")
        if kind not in KINDS:
            said = "is missing" if kind is None else f"= {kind!r}: unknown{nearest(kind, KINDS)}"
            known = f"; kinds are {', '.join(KINDS)}"
            reader.fault(f"{dotted}.kind", said + known)
            continue
        read[name] = reader.table(dotted, table, KINDS[kind].options)
        _check_device(dotted, table, read[name], reader)
    _check_pins(read, reader)
    return read


def _check_device(
    dotted: str, table: Mapping[str, Any], options: CommonOptions, reader: Reader
) -> None:
    for field in dataclasses.fields(options):
        rule = rule_of(field)
        needed = default_of(field) == NO_PIN and rule.low == 0
        if needed and field.name not in table:
            reader.fault(dotted, f"{field.name} is missing; name its GPIO, {rule.allowed(int)}")
    for key, sentence in KINDS[options.kind].faults(options):
        # A fault of a whole table that is not there is told at the device's own line.
        if key in table and not getattr(options, key):
            continue  # its entries were at fault, and that is told
        if key.split(".")[0] in table:
            reader.fault(f"{dotted}.{key}", sentence)
        else:
            reader.fault(dotted, f"{key} {sentence}")


def pins_of(options: CommonOptions) -> Iterator[tuple[str, int]]:
    """Every GPIO that a device takes, with the key that names it."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, dict) and rule_of(field).entry is int and options.kind == "gates":
            yield from ((f"{field.name}.{key}", pin) for key, pin in value.items())
        elif field.name.endswith(PIN_WORDS) and value != NO_PIN:
            yield field.name, value


def pins_taken(options: ActuatorOptions) -> dict[int, str]:
    """The GPIO that the daemon's own devices take, each with the option that says so."""
    if options.mode != "local":
        return {}
    return {
        pin: f"{SECTION}.{name}.{key}"
        for name, device in options.devices.items()
        for key, pin in pins_of(device)
    }


def _check_pins(devices: Mapping[str, CommonOptions], reader: Reader) -> None:
    taken: dict[int, str] = {}
    for name, options in devices.items():
        for key, pin in pins_of(options):
            dotted = f"{SECTION}.{name}.{key}"
            if pin in taken:
                reader.fault(dotted, f"= {pin}: GPIO {pin} is taken by {taken[pin]}; use another")
            taken.setdefault(pin, dotted)


def routes_served(options: CommonOptions) -> tuple[str, ...]:
    """The compartments that a device serves."""
    single = getattr(options, "route", "")
    return (single,) if single else tuple(getattr(options, "routes", ()))


def check_routes_served(
    options: ActuatorOptions, *, routes: Mapping[str, str], safe: str, reader: Reader
) -> None:
    """Each compartment needs its one device, and a local actuator needs devices at all."""
    served: dict[str, str] = {}
    for name, device in options.devices.items():
        for route in routes_served(device):
            if route in served:
                sentence = f"serves {route}, which {served[route]} serves already"
                reader.fault(f"{SECTION}.{name}", sentence)
            served.setdefault(route, name)
    if options.mode == "local" and not options.devices:
        reader.fault("actuator.mode", f'= "local": needs a device, a table [{SECTION}.NAME]')
    if options.mode == "off" or not options.devices:
        return  # in mode broker another program may do the moving
    for label, route in routes.items():
        if route != safe and route not in served:
            known = ", ".join(sorted(served)) or "none"
            reader.fault(
                f"routes.by_class.{label}", f"= {route!r}: no device serves it; served are {known}"
            )
