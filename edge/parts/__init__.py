"""Builds each part from its section of the configuration."""

from edge.parts.check import check_all
from edge.parts.model import (
    bench_memory,
    keeper_of,
    load_model,
    model_of,
    routes_of,
    rules_of,
    store_path,
)
from edge.parts.moving import (
    actuator_of,
    devices_of,
    ledger_of,
    movements_of,
)
from edge.parts.record import (
    broker_of,
    hold_outbox,
    outbox_of,
    outbox_path,
    picture_folder,
    picture_rules,
    picture_store,
    pictures_of,
)
from edge.parts.senses import (
    belt_of,
    camera_spec,
    segmenter_of,
    tray_of,
    trigger_of,
)

__all__ = [
    "actuator_of",
    "belt_of",
    "bench_memory",
    "broker_of",
    "camera_spec",
    "check_all",
    "devices_of",
    "hold_outbox",
    "keeper_of",
    "ledger_of",
    "load_model",
    "model_of",
    "movements_of",
    "outbox_of",
    "outbox_path",
    "picture_folder",
    "picture_rules",
    "picture_store",
    "pictures_of",
    "routes_of",
    "rules_of",
    "segmenter_of",
    "store_path",
    "tray_of",
    "trigger_of",
]
