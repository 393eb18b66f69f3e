"""Every option of fleet.toml, by the same table and with the same faults as config.toml."""

from __future__ import annotations

import ipaddress
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge.brokeroptions import BrokerOptions, broker_from, check_broker, check_pair
from edge.brokers import Broker
from edge.errors import ConfigError
from edge.options import Reader, host_fault, line_numbers, name_fault, option, template_of
from edge.places import state_folder


def default_folder() -> Path:
    """$STATE_DIRECTORY under systemd, else the user's state folder."""
    return state_folder("smartbin-fleet")


def url_fault(text: str) -> str | None:
    """Refuse what is neither SQLite nor PostgreSQL, and a password in the file."""
    scheme, _, rest = text.partition("://")
    if text and (scheme not in ("sqlite", "postgresql") or not rest):
        return "must be empty, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    if ":" in rest.partition("@")[0] and "@" in rest:
        return "a password does not belong here; put it into ~/.pgpass or PGPASSWORD"
    return None


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where everything is kept, and for how long."""

    url: str = option(
        "",
        "Empty: SQLite in $STATE_DIRECTORY or ~/.local/state/smartbin-fleet. Else "
        "sqlite:////FILE, or postgresql://USER@HOST/DATABASE (TimescaleDB is used where it is).",
        check=url_fault,
        show=lambda text: text.rpartition("@")[2],
    )
    batch_rows: int = option(5000, "Most messages in one transaction.", low=1, high=20000)
    durable: bool = option(
        True,
        "Acknowledge messages when the disk has them. False: a power cut of this host may lose "
        "the last seconds, which the bins are then asked for again.",
    )
    linger_ms: int = option(
        100, "How long a batch waits for more messages.", low=0, high=2000, unit="ms"
    )
    event_days: float = option(400.0, "Age at which events go.", low=0.01, high=36500, unit="days")
    health_days: float = option(
        30.0, "Age at which health and drift history goes.", low=0.01, high=36500, unit="days"
    )
    rollup_days: float = option(
        3650.0, "Age at which counts by hour go.", low=0.01, high=36500, unit="days"
    )
    health_every_s: float = option(
        300.0, "Least time between two kept health rows of a bin.", low=0, high=86400, unit="s"
    )


@dataclass(frozen=True, slots=True)
class MqttOptions(BrokerOptions):
    """The broker; it must speak MQTT 5. The password comes from password_file, a systemd
    credential mqtt-password, or SMARTBIN_MQTT_PASSWORD; never from this file."""

    name: str = option(
        "",
        "Name of this monitor, kept over restarts; two monitors need two. Empty: the host's name.",
        check=lambda text: name_fault(text) if text else None,
    )
    group: str = option(
        "smartbin-fleet", "Monitors of one group share the load of events.", check=name_fault
    )
    site: str = option(
        "+", "The site to watch; +: all.", check=lambda text: name_fault(text.replace("+", "x", 1))
    )
    in_flight: int = option(
        20_000,
        "Messages that the broker sends ahead of the disk: 20 s of 1,000 a second.",
        low=20,
        high=65535,
    )
    session_hours: float = option(
        24.0, "How long the broker keeps messages while we are away.", low=0, high=8760, unit="h"
    )


@dataclass(frozen=True, slots=True)
class PageOptions:
    """The page for people, and /metrics for Prometheus."""

    enabled: bool = option(True, "False: only store, another monitor shows.")
    host: str = option("127.0.0.1", "Address to listen on.", check=host_fault)
    port: int = option(8420, "Port to listen on; 0: any free one.", low=0, high=65535)
    cert_file: str = option("", "Certificate (with its chain) for HTTPS.")
    key_file: str = option("", "The key of cert_file.")
    behind_proxy: bool = option(
        False, "A proxy before the page speaks TLS; needed to listen elsewhere without cert_file."
    )
    trusted_proxies: str = option(
        "127.0.0.1", "Addresses whose X-Forwarded-For and -Proto are believed, with commas."
    )
    session_hours: float = option(12.0, "How long a login lasts.", low=0.1, high=720, unit="h")
    metrics_token_file: str = option(
        "",
        "A file with the bearer token for /metrics, mode 0600; empty: /metrics answers this host "
        "alone, and not behind a proxy.",
    )


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """When something counts as wrong."""

    max_bins: int = option(
        20_000, "More bins are refused, counted; guards against invented names.", low=1, high=10**7
    )
    silent_s: float = option(
        180.0,
        "A bin that is up, but so long without health, is silent.",
        low=2,
        high=86400,
        unit="s",
    )
    hot_c: float = option(75.0, "Temperature that is too much.", low=30, high=120, unit="C")
    outbox_events: int = option(1000, "Waiting events that are too many.", low=1, high=10_000_000)
    latency_ms: float = option(
        500.0, "p99 from frame to decision that is too slow.", low=1, high=60000, unit="ms"
    )
    abstain_frac: float = option(
        0.5, "Share of unsorted among the last decisions that is too much.", low=0.01, high=1
    )
    gap_wait_s: float = option(
        30.0, "A gap in a bin's numbers is asked for after this.", low=0.1, high=86400, unit="s"
    )
    clock_ahead_s: float = option(
        300.0, "An event further in the future has a wrong clock.", low=1, high=86400, unit="s"
    )
    clock_behind_days: float = option(
        100.0, "An event older than this has a wrong clock.", low=0.1, high=3650, unit="days"
    )


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """Whether a bin's decisions still look like those that its model was measured on."""

    window: int = option(300, "Decisions that are compared.", low=50, high=10_000)
    least_psi: float = option(
        0.25, "Population stability index from which a significant shift is told.", low=0.02, high=5
    )
    card_drop: float = option(
        0.15, "Fall of the mean confidence under the model card's that is told.", low=0.01, high=0.9
    )
    cards: str = option(
        "", "A folder with the cards (NAME.json) of the models in use; empty: the shipped ones."
    )


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Pictures of uncertain items, where the owner allows them."""

    keep: bool = option(False, "Keep pictures that bins send; false: refuse them all.")
    folder: str = option("", "Where; empty: pictures/ beside the SQLite file.")
    max_mb: float = option(
        1000.0, "Size of the folder; beyond it the oldest go.", low=1, high=1_000_000, unit="MB"
    )
    days: float = option(90.0, "Age at which pictures go.", low=0.01, high=3650, unit="days")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Logging, to standard error (the journal under systemd)."""

    level: str = option("info", "Least level.", choices=("debug", "info", "warning", "error"))


SECTIONS: dict[str, type] = {
    "store": StoreOptions,
    "mqtt": MqttOptions,
    "page": PageOptions,
    "watch": WatchOptions,
    "drift": DriftOptions,
    "pictures": PictureOptions,
    "log": LogOptions,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of the monitor."""

    store: StoreOptions = StoreOptions()
    mqtt: MqttOptions = MqttOptions()
    page: PageOptions = PageOptions()
    watch: WatchOptions = WatchOptions()
    drift: DriftOptions = DriftOptions()
    pictures: PictureOptions = PictureOptions()
    log: LogOptions = LogOptions()
    file: str = "fleet.toml"

    @property
    def monitor_name(self) -> str:
        """What the broker knows this monitor by."""
        return self.mqtt.name or socket.gethostname()[:64]

    @property
    def database_url(self) -> str:
        """For SQLAlchemy; a driver is named, which the file need not know."""
        url = self.store.url or f"sqlite:///{default_folder() / 'fleet.db'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def picture_folder(self) -> Path:
        """Where pictures lie."""
        if self.pictures.folder:
            return Path(self.pictures.folder)
        is_file = self.database_url.startswith("sqlite:///")
        beside = Path(self.database_url.removeprefix("sqlite:///")).parent
        return (beside if is_file else default_folder()) / "pictures"


def load_settings(path: Path) -> Settings:
    """Read fleet.toml; raises ConfigError with every fault of the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            [
                f"{path}: cannot be read ({error.strerror}); make one: "
                "smartbin fleet template > fleet.toml"
            ]
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    return parse_settings(text, file=str(path))


def parse_settings(text: str, *, file: str = "fleet.toml") -> Settings:
    """The settings of a TOML text; raises ConfigError with every fault of it."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{file}: not TOML: {error}"]) from error
    reader = Reader(document, line_numbers(text), file=file)
    reader.refuse_unknown_sections(SECTIONS)
    sections = {name: reader.section(name, kind) for name, kind in SECTIONS.items()}
    settings = Settings(**sections, file=file)
    _check_together(settings, reader)
    if reader.faults:
        raise ConfigError(reader.faults)
    return settings


def _check_together(settings: Settings, reader: Reader) -> None:
    page = settings.page
    check_pair("page", page.cert_file, page.key_file, reader)
    check_broker(settings.mqtt, reader)
    if not (is_loopback(page.host) or page.cert_file or page.behind_proxy):
        reader.fault(
            "page.host",
            f"= {page.host!r}: others could read logins on the way; give cert_file and key_file, "
            "or say behind_proxy = true where a proxy speaks TLS, or listen on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this host can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def broker_of(settings: Settings) -> Broker:
    """The broker, with its secrets read; raises ConfigError."""
    return broker_from(settings.mqtt, version="5")


def template() -> str:
    """The text of a fleet.toml: every option with its default, unit and range."""
    return template_of(
        SECTIONS, heading="# Every option of smartbin fleet with its default; all may be left out"
    )
