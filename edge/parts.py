"""Builds each part from its section of the configuration."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from edge.acks import Acks
from edge.actuator.devices import CommonOptions, Device, build_device
from edge.actuator.gpio import Pins
from edge.actuator.ledger import Ledger
from edge.actuator.ledger import default_path as default_ledger
from edge.actuator.local import LocalActuator
from edge.actuator.service import ActuatorService
from edge.actuator.values import ActuatorError
from edge.belt.belt import Belt
from edge.belt.build import build_belt
from edge.belt.options import NEEDS_BELT
from edge.belt.pins import Sensors
from edge.brokers import Broker, read_password, tls_context
from edge.bundle import Bundle, load_bundle
from edge.cameras import CameraSpec
from edge.choice import chosen
from edge.classifier import Classifier
from edge.config import Config, check_routes, where
from edge.decide import Routes, Rules, decide
from edge.errors import BundleError, ConfigError, OutboxError, SmartbinError, TrayError
from edge.movements import Movements
from edge.mqtt import Link
from edge.outbox import Outbox, default_path
from edge.places import state_folder
from edge.reporter import Reporter
from edge.runtime import Engine
from edge.segmenters import Segmenter, build_segmenter
from edge.shipped import default_model, samples
from edge.tray import TrayMemory, load_tray
from edge.triggers import Trigger, build_trigger
from edge.triggers.belt import moving_trigger
from edge.uncertain.blur import PeopleHider
from edge.uncertain.collector import PictureCollector
from edge.uncertain.collector import Rules as PictureRules
from edge.uncertain.store import PictureStore
from edge.update.keeper import Address, ModelKeeper, read_root
from edge.update.store import ModelStore
from edge.update.updater import Plan
from edge.values import Decision, Pixels
from edge.wire import Origin, Topics

LEAST_STALL_S = 1.0  # a shorter silence is common on a mobile network


def load_model(config: Config) -> Bundle:
    """The bundle that a configuration names, or the shipped student; raises BundleError."""
    if not config.model.path:
        return load_bundle(default_model())
    try:
        return load_bundle(Path(config.model.path))
    except BundleError as error:
        raise BundleError(f"{where(config, 'model.path')}: {error}") from error


def model_of(config: Config, keeper: ModelKeeper | None = None) -> tuple[Bundle, Engine]:
    """The bundle to start with and how to run it; raises BundleError.

    What `smartbin bench` remembers for this hardware counts for the bundle that is configured or
    shipped; a model that came over the air is int8, and runs as configured.
    """
    plain = Engine(threads=config.model.threads)
    if keeper is not None:
        return keeper.bundle, plain
    if not config.model.choose:
        return load_model(config), plain
    path = Path(config.model.path) if config.model.path else default_model()
    try:
        bundle, engine = chosen(path, bench_memory())
    except BundleError:
        return load_model(config), plain  # which says where the fault stands
    return bundle, engine or plain


def bench_memory() -> Path:
    """Where `smartbin bench` remembers what is best here."""
    return state_folder() / "runtime.json"


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


def tray_of(config: Config) -> TrayMemory:
    """What is known of the empty tray: the stored one, where there is one; raises TrayError."""
    path, min_area_frac = config.tray.path, config.trigger.min_area_frac
    try:
        stored = load_tray(Path(path)) if path else None
    except TrayError as error:
        raise TrayError(f"{where(config, 'tray.path')}: {error}") from error
    return TrayMemory(stored, min_area_frac=min_area_frac)


def segmenter_of(config: Config, tray: TrayMemory, *, patient: bool = False) -> Segmenter:
    """The segmenter of a configuration, ready; raises BundleError or MissingExtraError."""
    options = config.segmenter
    try:
        return build_segmenter(
            options.kind,
            model=Path(options.model) if options.model else None,
            session=options.session,
            threads=config.model.threads,
            least_quality=options.min_quality,
            timeout_s=options.timeout_s,
            memory_mb=options.memory_mb,
            tray=tray,
            patient=patient,
        )
    except BundleError as error:
        raise BundleError(f"{where(config, 'segmenter.model')}: {error}") from error


def belt_of(config: Config, sensors: Callable[[], Sensors] | None = None) -> Belt | None:
    """The belt, where items move; `sensors` takes the place of its pins."""
    return build_belt(config.belt, sensors=sensors)


def trigger_of(config: Config, tray: TrayMemory | None = None, belt: Belt | None = None) -> Trigger:
    """A fresh trigger; `tray` is told what it learns, and a `belt` tells it of items."""
    if belt:
        return moving_trigger(
            config.trigger.kind,
            belt=belt,
            options=config.belt,
            votes=config.decision.votes,
            absorb_s=config.trigger.absorb_s,
        )
    if config.trigger.kind in NEEDS_BELT:
        raise ConfigError([f"{where(config, 'trigger.kind')}: a belt is begun by a restart"])
    # Each frame of a folder of stills shows another item, so there is one vote to have.
    votes = 1 if config.trigger.kind == "frame" else config.decision.votes
    return build_trigger(
        config.trigger.kind,
        votes=votes,
        interval_s=config.trigger.interval_s,
        min_area_frac=config.trigger.min_area_frac,
        settle_s=config.trigger.settle_s,
        absorb_s=config.trigger.absorb_s,
        tray=tray,
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


def store_path(config: Config) -> Path:
    """Where fetched models lie."""
    return Path(config.update.store) if config.update.store else state_folder() / "models"


def keeper_of(config: Config) -> ModelKeeper | None:
    """Updates over the air; None where no repository is named."""
    update = config.update
    if not update.url:
        return None

    def judge(bundle: Bundle, classifier: Classifier, crops: Sequence[Pixels]) -> Decision:
        votes = [classifier.classify(pixels) for pixels in crops]
        return decide(votes, rules=rules_of(bundle, config), routes=routes_of(config))

    return ModelKeeper(
        store=ModelStore(store_path(config)),
        fallback=lambda: load_model(config),
        address=Address(
            url=update.url,
            root_file=Path(update.root),
            ca_file=update.ca_file,
            group=update.group,
            site=config.site.site,
            bin=config.site.bin,
        ),
        plan=Plan(
            name=update.bundle,
            threads=config.model.threads,
            shadow_items=update.shadow_items,
            trial_items=update.trial_items,
            retry_s=update.retry_s,
            samples=samples(),
        ),
        judge=judge,
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


def pictures_of(config: Config, origin: Origin, link: Link) -> PictureCollector:
    """Keeps pictures of uncertain items where the owner wants it, and removes the old ones."""
    pictures = config.pictures
    hider = (
        PeopleHider(pictures.blur, pictures.face_model) if pictures.keep else PeopleHider("none")
    )
    return PictureCollector(
        topics=origin.topics,
        open_store=lambda: picture_store(config),
        publish=link.publish,
        hider=hider,
        rules=picture_rules(config),
        there=picture_folder(config).is_dir(),
    )


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


def check_all(config: Config) -> Bundle:
    """Look at what a configuration points to; raises ConfigError with every fault, else the bundle.

    Certificates, the password file, the bundle, routes for classes that it does not know, the
    segmenter and the stored tray.
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
    try:
        if config.update.url:
            read_root(Path(config.update.root))
        segmenter_of(config, tray_of(config)).close()
    except SmartbinError as error:
        faults.append(str(error))
    if faults or bundle is None:
        raise ConfigError(faults)
    return bundle
