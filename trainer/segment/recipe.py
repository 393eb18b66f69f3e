"""What a segmenter's training is made of; read by the same rules as a student's recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from edge.errors import UsageError
from trainer.recipe import bounded, one_of, parse_sections, toml_of


@dataclass(frozen=True, slots=True)
class Network:
    """The trunk's depth, the decoder's widths in channels, and the size of the input."""

    blocks: int = bounded(11, 6, 11)
    fine: int = bounded(32, 8, 256)  # at a quarter of the input's resolution
    middle: int = bounded(40, 8, 256)  # at an eighth
    coarse: int = bounded(80, 8, 512)  # at a sixteenth
    width_px: int = bounded(192, 32, 1024)  # both in multiples of 16
    height_px: int = bounded(144, 32, 1024)
    weights: str = one_of("package")  # package, scratch, a .pth file of the trunk, or a best.pt


@dataclass(frozen=True, slots=True)
class Scenes:
    """What a training picture shows; shares are 0..1. The rest are items on other surfaces."""

    photo_share: float = bounded(0.45, 0, 1)  # as photographed
    empty_share: float = bounded(0.12, 0, 1)  # bare surfaces, with shadows of nothing
    second_share: float = bounded(0.08, 0, 1)  # of the pasted ones: two items
    ground_share: float = bounded(0.15, 0, 1)  # pasted onto real card and paper
    seam_share: float = bounded(0.3, 0, 1)  # of the surfaces: two of them, with an edge between
    shadow_share: float = bounded(0.6, 0, 1)  # of the pasted ones: a shadow thrown to one side
    shadow_reach: float = bounded(0.1, 0, 1)  # how far at most, of the picture's sides
    clear_share: float = bounded(0.5, 0, 1)  # of glass and plastic: see-through
    clear_classes: str = one_of("glass plastic")  # words that are names of folders
    whole_only: int = bounded(1, 0, 1)  # leave out masks of a mere label; needs plain backgrounds
    bank: int = bounded(600, 1, 100_000)  # surfaces made for the scenes
    item_min: float = bounded(0.25, 0.05, 1)  # size of a pasted item, of the picture's diagonal
    item_max: float = bounded(0.95, 0.05, 2)
    zoom_min: float = bounded(0.9, 0.1, 1)  # of what stays as photographed
    zoom_max: float = bounded(1.6, 1, 4)
    stretch_max: float = bounded(1.2, 1, 2)  # aspect, either way
    shift: float = bounded(0.2, 0, 1)  # of half the picture


@dataclass(frozen=True, slots=True)
class Colours:
    """How far light, lens and sensor wander; most are factors, either way."""

    blur: float = bounded(0.8, 0, 1)
    sharpen: float = bounded(0.5, 0, 2)
    exposure: float = bounded(1.6, 1, 3)
    contrast: float = bounded(1.4, 1, 3)
    saturation: float = bounded(1.6, 1, 4)
    tint: float = bounded(1.15, 1, 2)
    gamma: float = bounded(1.4, 1, 3)
    light_slope: float = bounded(0.25, 0, 0.9)
    noise: float = bounded(0.03, 0, 0.5)  # deviation, of full scale


@dataclass(frozen=True, slots=True)
class Fit:
    """One plain loop; warm-up, then cosine."""

    epochs: int = bounded(40, 1, 10_000)
    batch: int = bounded(16, 2, 4096)
    lr: float = bounded(1e-3, 1e-7, 1)  # of the decoder
    trunk_lr_factor: float = bounded(0.3, 0, 10)
    weight_decay: float = bounded(0.02, 0, 1)
    warmup_epochs: float = bounded(1, 0, 100)
    clip_norm: float = bounded(2.0, 0.01, 1000)
    ema_decay: float = bounded(0.995, 0, 0.99999)  # per step
    frozen_blocks: int = bounded(3, 0, 11)  # with the stem; 3 take 4 tenths off a step
    edge_weight: float = bounded(3.0, 0, 100)  # of a pixel on the outline, above the 1 of others
    dice_weight: float = bounded(0.5, 0, 10)
    seed: int = bounded(0, 0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Int8:
    """Static quantization."""

    calibration_pictures: int = bounded(192, 8, 10_000)
    least_agreement: float = bounded(0.97, 0, 1)  # mean IoU of int8's masks with fp32's


@dataclass(frozen=True, slots=True)
class SegmenterRecipe:
    """A whole training, from network to int8."""

    name: str = one_of("unnamed")
    network: Network = field(default_factory=Network)
    scenes: Scenes = field(default_factory=Scenes)
    colours: Colours = field(default_factory=Colours)
    fit: Fit = field(default_factory=Fit)
    int8: Int8 = field(default_factory=Int8)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, as they stand in a model card."""
        return asdict(self)

    def to_toml(self) -> str:
        """Text that `parse` reads back to an equal recipe."""
        return toml_of(self.name, self.as_dict())


SECTIONS = {"network": Network, "scenes": Scenes, "colours": Colours, "fit": Fit, "int8": Int8}


def parse(text: str, *, where: str, overrides: dict[str, Any] | None = None) -> SegmenterRecipe:
    """TOML text to a recipe; raises ConfigError with all of its faults."""
    recipe = SegmenterRecipe(**parse_sections(text, SECTIONS, where=where, overrides=overrides))
    for side in ("width_px", "height_px"):
        value = getattr(recipe.network, side)
        if value % 16:
            raise UsageError(f"{where}: network.{side} = {value}: must be a multiple of 16")
    return recipe


def shipped() -> list[str]:
    """Names that `find` knows without a path."""
    folder = resources.files("trainer.segment") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith("toml"))


def find(name_or_path: str, overrides: dict[str, Any] | None = None) -> SegmenterRecipe:
    """A shipped recipe by its name, or a .toml file; `overrides` as {"fit.epochs": 3}."""
    if name_or_path.endswith(".toml"):
        try:
            text = Path(name_or_path).read_text("utf-8")
        except OSError as error:
            sentence = f"{name_or_path}: recipe cannot be read ({error.strerror})"
            raise UsageError(sentence) from error
        return parse(text, where=name_or_path, overrides=overrides)
    if name_or_path not in shipped():
        raise UsageError(
            f"--recipe {name_or_path}: no such recipe of a segmenter; known are "
            f"{', '.join(shipped())}, or name a .toml file"
        )
    file = resources.files("trainer.segment") / "recipes" / f"{name_or_path}.toml"
    return parse(file.read_text("utf-8"), where=f"{name_or_path}.toml", overrides=overrides)
