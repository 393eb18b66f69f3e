"""Builds each part from its section of the configuration."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from edge.brokers import Broker, read_password, tls_context
from edge.bundle import Bundle, load_bundle
from edge.cameras import CameraSpec
from edge.config import Config, check_routes, where
from edge.decide import Routes, Rules
from edge.errors import BundleError, ConfigError, OutboxError
from edge.outbox import Outbox, default_path
from edge.shipped import default_model
from edge.triggers import Trigger, build_trigger

LEAST_STALL_S = 1.0  # a shorter silence is common on a mobile network


def load_model(config: Config) -> Bundle:
    """The bundle that a configuration names, or the shipped student; raises BundleError."""
    if not config.model.path:
        return load_bundle(default_model())
    try:
        return load_bundle(Path(config.model.path))
    except BundleError as error:
        raise BundleError(f"{where(config, 'model.path')}: {error}") from error


def broker_of(config: Config) -> Broker:
    """The broker of a configuration, with its secrets read; raises ConfigError."""
    mqtt = config.mqtt
    tls = tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file) if mqtt.tls else None
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        version=mqtt.version,
        keepalive_s=mqtt.keepalive_s,
        username=mqtt.username,
        password=read_password(mqtt.password_file) if mqtt.username else "",
        tls=tls,
        retry_max_s=mqtt.retry_max_s,
        stall_s=max(LEAST_STALL_S, config.decision.deadline_ms / 1000),
    )


def camera_spec(config: Config) -> CameraSpec:
    """What is asked of the camera."""
    camera = config.camera
    return CameraSpec(
        source=camera.source,
        width_px=camera.width_px,
        height_px=camera.height_px,
        fps=camera.fps,
        repeat=camera.repeat,
        rotate_deg=camera.rotate_deg,
    )


def trigger_of(config: Config) -> Trigger:
    """A fresh trigger."""
    # Each frame of a folder of stills shows another item, so there is one vote to have.
    votes = 1 if config.trigger.kind == "frame" else config.decision.votes
    return build_trigger(
        config.trigger.kind,
        votes=votes,
        interval_s=config.trigger.interval_s,
        min_area_frac=config.trigger.min_area_frac,
        settle_s=config.trigger.settle_s,
        absorb_s=config.trigger.absorb_s,
    )


def rules_of(bundle: Bundle, config: Config) -> Rules:
    """What the bundle has learned, with what the site wants."""
    return Rules(
        labels=bundle.labels,
        thresholds=bundle.thresholds,
        min_margin=bundle.min_margin,
        min_agreement=config.decision.min_agreement,
        rejection=bundle.rejection,
    )


def routes_of(config: Config) -> Routes:
    """Where each class goes at this site."""
    return Routes(safe=config.routes.safe, by_label=config.routes.by_class)


def outbox_path(config: Config) -> Path:
    """Where the outbox lies."""
    return Path(config.outbox.path) if config.outbox.path else default_path()


def hold_outbox(config: Config) -> IO[bytes] | None:
    """Keep others off the outbox as long as the file returned is open; raises OutboxError.

    None where no lock can be made: a disk that cannot be written stops no bin.
    """
    path = outbox_path(config).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise OutboxError(
            f"{outbox_path(config)}: another smartbin uses this outbox; "
            "end it, or give this one its own outbox.path"
        ) from error
    return lock


def outbox_of(config: Config) -> Outbox:
    """The outbox, opened."""
    return Outbox(
        outbox_path(config),
        max_bytes=round(config.outbox.max_mb * 1e6),
        max_days=config.outbox.max_days,
    )


def check_all(config: Config) -> Bundle:
    """Look at what a configuration points to; raises ConfigError with every fault, else the bundle.

    Certificates, the password file, the bundle, and routes for classes that it does not know.
    """
    faults: list[str] = []
    bundle = None
    try:
        broker_of(config)
    except ConfigError as error:
        faults += error.faults
    try:
        bundle = load_model(config)
        check_routes(config, bundle.labels)
    except ConfigError as error:
        faults += error.faults
    except BundleError as error:
        faults.append(str(error))
    if faults or bundle is None:
        raise ConfigError(faults)
    return bundle
