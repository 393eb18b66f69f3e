"""Camera, tray, segmenter, belt, trigger: from light to an item."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.belt.belt import Belt
from edge.belt.build import build_belt
from edge.belt.options import NEEDS_BELT
from edge.belt.pins import Sensors
from edge.cameras import CameraSpec
from edge.config import Config, where
from edge.errors import BundleError, ConfigError, TrayError, UsageError
from edge.segmenters import Segmenter, build_segmenter
from edge.tray import TrayMemory, load_tray
from edge.triggers import Trigger, build_trigger
from edge.triggers.belt import moving_trigger


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
    """The segmenter of a configuration, ready; raises what building it raises."""
    options = config.segmenter
    try:
        return build_segmenter(
            options.kind,
            judge=options.judge,
            model=Path(options.model) if options.model else None,
            session=options.session,
            threads=config.model.threads,
            least_quality=options.min_quality,
            timeout_s=options.timeout_s,
            memory_mb=options.memory_mb,
            tray=tray,
            patient=patient,
        )
    except (BundleError, UsageError) as error:
        raise type(error)(f"{where(config, 'segmenter.model')}: {error}") from error


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
