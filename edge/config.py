"""Every option of config.toml; what belongs to the site, never what a model has learned."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.actuator.options import (
    ActuatorOptions,
    check_routes_served,
    pins_taken,
    with_devices,
)
from edge.belt.options import BeltOptions, belt_faults
from edge.brokeroptions import BrokerOptions, check_broker
from edge.cameras import check_source, shown
from edge.errors import ConfigError
from edge.options import Reader, line_numbers, name_fault, option, template_of
from edge.uncertain.options import PictureOptions
from edge.update.options import UpdateOptions


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """Who this bin is; topics begin with bins/v1/<site>/<bin>."""

    site: str = option("home", "Site: a street, a plant, a house.", check=name_fault)
    bin: str = option("bin-1", "This bin; unique within the site.", check=name_fault)


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """Where frames come from."""

    source: str = option(
        "picam:0",
        "picam:N, v4l2:/dev/videoN, usb:N, rtsp://..., gst:PIPELINE, file:VIDEO or folder:PATH.",
        check=check_source,
        show=shown,
    )
    width_px: int = option(640, "Width asked of the camera.", low=64, high=8192, unit="px")
    height_px: int = option(480, "Height asked of the camera.", low=48, high=8192, unit="px")
    fps: float = option(10.0, "Frames a second asked of the camera.", low=0.1, high=240, unit="1/s")
    repeat: bool = option(False, "Play a folder or video file for ever.")
    rotate_deg: int = option(0, "Clockwise turn: 0, 90, 180 or 270.", low=0, high=270, unit="deg")
    timeout_s: float = option(
        5.0,
        "Silence after which a live camera is restarted.",
        low=0.5,
        high=25,  # systemd's watchdog bites at 30 s
        unit="s",
    )
    give_up_s: float = option(
        120.0,
        "Silence after which the daemon exits for systemd (15 s before the first frame).",
        low=1,
        high=86400,
        unit="s",
    )


@dataclass(frozen=True, slots=True)
class TriggerOptions:
    """What makes a frame an item."""

    kind: str = option(
        "presence",
        "presence: something new came to rest. interval: by the clock. frame: every frame. "
        "command: only on MQTT cmd/trigger (which works with every kind). On a belt gate: a light "
        "gate. encoder: pockets. line: something crosses a line of the picture.",
        choices=("presence", "interval", "frame", "command", "gate", "encoder", "line"),
    )
    settle_s: float = option(0.4, "Rest before an item is judged.", low=0, high=10, unit="s")
    min_area_frac: float = option(0.01, "Least changed share of the picture.", low=0.0005, high=0.9)
    absorb_s: float = option(
        600.0,
        "What lies there longer counts as part of the tray; 0: never.",
        low=0,
        high=86400,
        unit="s",
    )
    interval_s: float = option(10.0, "Time between items.", low=0.05, high=86400, unit="s")


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """Whether the item is cut out of its background before it is judged."""

    kind: str = option(
        "none",
        "none: the whole frame is judged. difference: what is not the empty tray (nearly free). "
        "tiny: smartbin's own network. rembg: a process of its own, needs '.[segment]'.",
        choices=("none", "difference", "tiny", "rembg"),
    )
    model: str = option(
        "", "An .onnx for tiny, or for rembg's u2net_custom; empty: the one that smartbin ships."
    )
    session: str = option("u2netp", "What rembg runs: u2netp, silueta, isnet-general-use, ...")
    min_quality: float = option(
        0.4, "A mask of less quality is not used: the whole frame is judged.", low=0, high=1
    )
    judge: str = option(
        "both",
        "What is judged where an item was cut out. both: the cut-out and the whole frame. cutout: "
        "the cut-out alone, in two thirds of the time.",
        choices=("both", "cutout"),
    )
    timeout_s: float = option(
        1.0, "Longest wait for rembg; then it is started afresh.", low=0.05, high=60, unit="s"
    )
    memory_mb: float = option(
        700.0, "Memory of rembg's process; beyond it, started afresh.", low=100, high=1e5, unit="MB"
    )


@dataclass(frozen=True, slots=True)
class TrayOptions:
    """The empty tray as `smartbin tray` stored it: what is not there is no item."""

    path: str = option("", "An .npz of smartbin tray; empty: only what the trigger learns itself.")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which bundle judges."""

    path: str = option(
        "", "A bundle's .onnx, its .json beside it; empty is the student that smartbin ships."
    )
    threads: int = option(1, "Threads of the network.", low=1, high=64)
    choose: bool = option(
        True, "Run the form and threads that `smartbin bench` found best on this hardware."
    )


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """When a judgement is good enough; thresholds themselves are learned and in the bundle."""

    votes: int = option(3, "Frames of an item that vote.", low=1, high=30)
    min_agreement: float = option(
        0.6, "Least share of frames with the same class, else ambiguous.", low=0, high=1
    )
    deadline_ms: int = option(
        2000,
        "From the newest frame that votes to the end of the movement.",
        low=10,
        high=60000,
        unit="ms",
    )


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """Which compartment a class goes to."""

    safe: str = option(
        "residual", "For every other outcome and for classes not listed.", check=name_fault
    )
    by_class: Mapping[str, str] = option({}, "Class of the bundle = compartment.", check=name_fault)


@dataclass(frozen=True, slots=True)
class MqttOptions(BrokerOptions):
    """The broker. The password comes from password_file, a systemd credential mqtt-password, or
    SMARTBIN_MQTT_PASSWORD; never from this file."""

    version: str = option(
        "auto", "auto: 5, and 3.1.1 where the broker has no 5.", choices=("auto", "5", "3.1.1")
    )


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Events that the broker has not acknowledged yet, on disk."""

    path: str = option(
        "", "SQLite file; empty: outbox.db in $STATE_DIRECTORY or ~/.local/state/smartbin."
    )
    max_mb: float = option(
        100.0,
        "Size of what waits; beyond it the oldest decisions go, counted.",
        low=0.1,
        high=100_000,
        unit="MB",
    )
    max_days: float = option(
        90.0, "Age of what waits; older events go, counted.", low=0.01, high=3650, unit="days"
    )
    replay_per_s: float = option(
        50.0, "Pace at which waiting events are sent.", low=1, high=10_000, unit="1/s"
    )


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Memory that a process may take before it is started afresh."""

    daemon_mb: float = option(
        300.0, "The daemon; beyond it, it ends for systemd.", low=50, high=100_000, unit="MB"
    )
    capture_mb: float = option(
        250.0, "The capture process; beyond it, it is restarted.", low=30, high=100_000, unit="MB"
    )


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """What the bin says of itself."""

    interval_s: float = option(30.0, "Time between health messages.", low=0.2, high=3600, unit="s")


@dataclass(frozen=True, slots=True)
class HomeAssistantOptions:
    """Whether this bin introduces itself to Home Assistant (docs/homeassistant.md)."""

    enabled: bool = option(False, "Send an MQTT device discovery message.")
    prefix: str = option("homeassistant", "Home Assistant's discovery prefix.", check=name_fault)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Logging, to standard error (the journal under systemd)."""

    level: str = option("info", "Least level.", choices=("debug", "info", "warning", "error"))


SECTIONS: dict[str, type] = {
    "site": SiteOptions,
    "camera": CameraOptions,
    "trigger": TriggerOptions,
    "segmenter": SegmenterOptions,
    "tray": TrayOptions,
    "model": ModelOptions,
    "decision": DecisionOptions,
    "routes": RouteOptions,
    "belt": BeltOptions,
    "mqtt": MqttOptions,
    "actuator": ActuatorOptions,
    "outbox": OutboxOptions,
    "update": UpdateOptions,
    "pictures": PictureOptions,
    "limits": LimitOptions,
    "health": HealthOptions,
    "homeassistant": HomeAssistantOptions,
    "log": LogOptions,
}
# The routes that config.toml sets up: a three-way bin, everything else residual.
EXAMPLE_ROUTES = {
    "cardboard": "paper",
    "glass": "glass",
    "metal": "packaging",
    "paper": "paper",
    "plastic": "packaging",
}


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; only the daemon and the command line see it."""

    site: SiteOptions = SiteOptions()
    camera: CameraOptions = CameraOptions()
    trigger: TriggerOptions = TriggerOptions()
    segmenter: SegmenterOptions = SegmenterOptions()
    tray: TrayOptions = TrayOptions()
    model: ModelOptions = ModelOptions()
    decision: DecisionOptions = DecisionOptions()
    routes: RouteOptions = RouteOptions()
    belt: BeltOptions = field(default_factory=BeltOptions)
    mqtt: MqttOptions = MqttOptions()
    actuator: ActuatorOptions = field(default_factory=ActuatorOptions)
    outbox: OutboxOptions = OutboxOptions()
    update: UpdateOptions = field(default_factory=UpdateOptions)
    pictures: PictureOptions = field(default_factory=PictureOptions)
    limits: LimitOptions = LimitOptions()
    health: HealthOptions = HealthOptions()
    homeassistant: HomeAssistantOptions = HomeAssistantOptions()
    log: LogOptions = LogOptions()
    file: str = "config.toml"  # for messages that come later


def load_config(path: Path) -> Config:
    """Read a configuration; raises ConfigError with every fault of the file."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError([f"{path}: not a file; name a configuration"])
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            [f"{path}: cannot be read ({error.strerror}); copy config.toml of the project there"]
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    return parse_config(text, file=str(path))


def parse_config(text: str, *, file: str = "config.toml") -> Config:
    """The configuration of a TOML text; raises ConfigError with every fault of it."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise ConfigError([f"{file}: not TOML: {error}"]) from error
    reader = Reader(document, line_numbers(text), file=file)
    reader.refuse_unknown_sections(SECTIONS)
    sections = {name: reader.section(name, kind) for name, kind in SECTIONS.items()}
    sections["actuator"] = with_devices(sections["actuator"], reader)
    config = Config(**sections, file=file)
    _check_together(config, reader)
    _check_learning(config, reader)
    if reader.faults:
        raise ConfigError(reader.faults)
    return config


def _check_learning(config: Config, reader: Reader) -> None:
    if config.pictures.send and not config.pictures.keep:
        reader.fault("pictures.send", "needs pictures.keep = true: only kept pictures are sent")
    if config.pictures.keep and config.pictures.blur == "people" and not config.pictures.face_model:
        reader.fault(
            "pictures.face_model",
            'is needed for blur = "people"; see docs/learning.md, or choose blur = "hands"',
        )
    if config.update.url and not config.update.root:
        reader.fault("update.root", "is needed with update.url: root.json of the repository")


def _check_together(config: Config, reader: Reader) -> None:
    if config.camera.rotate_deg % 90:
        reader.fault(
            "camera.rotate_deg", f"= {config.camera.rotate_deg}: must be 0, 90, 180 or 270"
        )
    live = not config.camera.source.startswith(("folder:", "file:"))
    if live and config.camera.timeout_s * config.camera.fps < 2:
        reader.fault("camera.timeout_s", "must be longer than two frames at camera.fps")
    check_broker(config.mqtt, reader)
    silence_s = config.actuator.silence_s
    if 0 < silence_s < 2 * config.health.interval_s:
        reader.fault("actuator.silence_s", "must be 0, or at least twice health.interval_s")
    routes = config.routes
    check_routes_served(config.actuator, routes=routes.by_class, safe=routes.safe, reader=reader)
    belt = belt_faults(
        config.belt,
        trigger=config.trigger.kind,
        routes=routes.by_class,
        safe=routes.safe,
        pins=pins_taken(config.actuator),
    )
    for dotted, sentence in belt:
        reader.fault(dotted, sentence)
    if config.camera.give_up_s < config.camera.timeout_s:
        reader.fault("camera.give_up_s", "must not be less than camera.timeout_s")


def check_merged(config: Config, fixed: Sequence[str]) -> None:
    """Refuse what does not go with the sections `fixed`, as they run; raises ConfigError.

    The file itself may be without fault: what it says of those sections begins with a restart.
    """
    reader = Reader({}, _lines_of(config.file), file=config.file)
    _check_together(config, reader)
    if reader.faults:
        rest = f"; what the file says of {', '.join(fixed)} begins with a restart"
        raise ConfigError([fault + rest for fault in reader.faults])


def check_routes(config: Config, labels: tuple[str, ...]) -> None:
    """Refuse routes for classes that the bundle does not know; raises ConfigError."""
    reader = Reader({}, _lines_of(config.file), file=config.file)
    for label in config.routes.by_class:
        if label not in labels:
            reader.fault(
                f"routes.by_class.{label}",
                f"the model knows no such class; known are {', '.join(labels)}",
            )
    if reader.faults:
        raise ConfigError(reader.faults)


def where(config: Config, dotted: str) -> str:
    """File, line and key of an option, for faults that are found later."""
    line = _lines_of(config.file).get(dotted)
    return f"{config.file}:{line} {dotted}" if line else f"{config.file} {dotted}"


def _lines_of(file: str) -> dict[str, int]:
    try:
        return line_numbers(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}  # the configuration did not come from a file


def template() -> str:
    """The text of config.toml: every option with its default, unit and range."""
    heading = "# Every option of smartbin with its default; after a change: smartbin check-config"
    return template_of(SECTIONS, heading=heading, examples=EXAMPLE_ROUTES)
