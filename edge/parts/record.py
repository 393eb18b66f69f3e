"""Broker, outbox and kept pictures: what is told, and what is kept of it."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path
from typing import IO

from edge.brokeroptions import broker_from
from edge.brokers import Broker
from edge.config import Config
from edge.errors import OutboxError
from edge.mqtt import Link
from edge.outbox import Outbox, default_path
from edge.places import state_folder
from edge.uncertain.blur import FinderError, PeopleHider
from edge.uncertain.collector import PictureCollector
from edge.uncertain.collector import Rules as PictureRules
from edge.uncertain.store import PictureStore
from edge.wire import Origin

log = logging.getLogger(__name__)

LEAST_STALL_S = 1.0  # a shorter silence is common on a mobile network


def broker_of(config: Config) -> Broker:
    """The broker of a configuration, with its secrets read; raises ConfigError."""
    stall_s = max(LEAST_STALL_S, config.decision.deadline_ms / 1000)
    return broker_from(config.mqtt, version=config.mqtt.version, stall_s=stall_s)


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


def picture_folder(config: Config) -> Path:
    """Where pictures of uncertain items lie."""
    return Path(config.pictures.folder) if config.pictures.folder else state_folder() / "pictures"


def picture_store(config: Config, *, tidy: bool = True) -> PictureStore:
    """That folder, opened; raises OSError."""
    pictures = config.pictures
    return PictureStore(
        picture_folder(config),
        max_bytes=round(pictures.max_mb * 1e6),
        max_age_s=pictures.max_days * 86400,
        tidy=tidy,
    )


def picture_rules(config: Config) -> PictureRules:
    """What the owner allows."""
    pictures = config.pictures
    return PictureRules(
        keep=pictures.keep,
        send=pictures.send,
        blur=pictures.blur,
        margin=pictures.margin,
        per_minute=pictures.per_minute,
        face_model=pictures.face_model,
    )


def _hider(config: Config) -> PeopleHider:
    pictures = config.pictures
    return PeopleHider(pictures.blur if pictures.keep else "none", pictures.face_model)


def pictures_of(config: Config, origin: Origin, link: Link) -> PictureCollector:
    """Keeps pictures of uncertain items where the owner wants it, and removes the old ones."""
    try:
        hider = _hider(config)
    except FinderError as error:  # the collector tries it again, and keeps nothing till it runs
        log.warning("%s; no picture is kept, decisions go on", error)
        hider = PeopleHider("none")
    return PictureCollector(
        topics=origin.topics,
        open_store=lambda: picture_store(config),
        publish=link.publish,
        hider=hider,
        rules=picture_rules(config),
        there=picture_folder(config).is_dir(),
    )
