"""Looks at everything that a configuration points to."""

from __future__ import annotations

from pathlib import Path

from edge.bundle import Bundle
from edge.config import Config, check_routes
from edge.errors import BundleError, ConfigError, SmartbinError
from edge.parts.model import load_model
from edge.parts.record import broker_of
from edge.parts.senses import segmenter_of, tray_of
from edge.update.canaries import faults_of
from edge.update.keeper import read_root


def check_all(config: Config) -> Bundle:
    """Look at what a configuration points to; raises ConfigError with every fault, else the bundle.

    Certificates, the password file, the bundle, routes for classes that it does not know, what
    updates need, the segmenter and the stored tray.
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
    if config.update.url:
        try:
            read_root(Path(config.update.root))
        except SmartbinError as error:
            faults.append(str(error))
        faults += faults_of(config.update.canaries, bundle.labels if bundle else ())
    try:
        segmenter_of(config, tray_of(config)).close()
    except SmartbinError as error:
        faults.append(str(error))
    if faults or bundle is None:
        raise ConfigError(faults)
    return bundle
