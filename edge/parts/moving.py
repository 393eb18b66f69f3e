"""Devices and their ledger, here or behind the broker."""

from __future__ import annotations

from pathlib import Path

from edge.acks import Acks
from edge.actuator.devices import CommonOptions, Device, build_device
from edge.actuator.gpio import Pins
from edge.actuator.ledger import Ledger
from edge.actuator.ledger import default_path as default_ledger
from edge.actuator.local import LocalActuator
from edge.actuator.service import ActuatorService
from edge.actuator.values import ActuatorError
from edge.config import Config, where
from edge.errors import ConfigError
from edge.movements import Movements
from edge.mqtt import Link
from edge.parts.record import broker_of
from edge.reporter import Reporter
from edge.wire import Origin, Topics


def devices_of(config: Config) -> list[Device]:
    """The devices of [actuator], each in its safe state; raises ActuatorError."""
    options: dict[str, CommonOptions] = dict(config.actuator.devices)
    pins = Pins() if any(device.kind != "simulated" for device in options.values()) else None
    devices: list[Device] = []
    try:
        for name, device in options.items():
            devices.append(build_device(name, device, pins))
    except ActuatorError as error:
        for built in devices:
            built.close()
        raise ActuatorError(f"{where(config, f'actuator.devices.{name}')}: {error}") from error
    return devices


def ledger_of(config: Config) -> Ledger:
    """The ledger of movements, opened; raises LedgerError."""
    path = config.actuator.ledger
    return Ledger(Path(path) if path else default_ledger())


def actuator_of(config: Config) -> ActuatorService:
    """What `smartbin actuator` runs; raises ConfigError, ActuatorError, LedgerError."""
    actuator = config.actuator
    if actuator.mode != "broker" or not actuator.devices:
        mode = f"{where(config, 'actuator.mode')} = {actuator.mode!r}"
        fault = 'set mode = "broker" and a table [actuator.devices.NAME] for each device'
        raise ConfigError([f"{mode}, {len(actuator.devices)} devices: {fault}"])
    broker, ledger = broker_of(config), ledger_of(config)
    return ActuatorService(
        topics=Topics(config.site.site, config.site.bin),
        broker=broker,
        devices=devices_of(config),
        ledger=ledger,
        safe=config.routes.safe,
        silence_s=actuator.silence_s,
    )


def movements_of(
    config: Config, origin: Origin, link: Link, reporter: Reporter
) -> Movements | None:
    """The daemon's side of the actuator, with its devices where they are on this board."""
    actuator = config.actuator
    if actuator.mode == "off":
        return None
    movements = Movements(
        origin=origin,
        safe=config.routes.safe,
        acks=Acks(failures=actuator.failures, retry_s=actuator.retry_s),
        ack_s=actuator.ack_ms / 1000,
        link=link,
        reporter=reporter,
    )
    if actuator.mode == "local":
        ledger = ledger_of(config)
        movements.local = LocalActuator(
            topics=origin.topics,
            devices=devices_of(config),
            ledger=ledger,
            publish=link.publish,
            heard=movements.take,
            safe=config.routes.safe,
        )
    return movements
