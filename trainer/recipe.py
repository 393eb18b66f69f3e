"""What a training is made of: every knob with its unit, bounds and default, read from TOML."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, UsageError


def bounded(default: float, low: float, high: float) -> Any:
    """A number with its least and greatest allowed value."""
    return field(default=default, metadata={"low": low, "high": high})


def one_of(default: str, *choices: str) -> Any:
    """A word out of a list; with no list, any text."""
    return field(default=default, metadata={"choices": choices})


FAMILIES = ("lite0", "lite1", "lite2", "resnet18", "resnet50", "cnn-four", "cnn-pairs")
LIBRARIES = ("timm:", "torchvision:")  # followed by the library's own name of a network


@dataclass(frozen=True, slots=True)
class Network:
    """Which network, and where it starts from."""

    # lite0 to lite2, resnet18, resnet50, cnn-four, cnn-pairs, timm:NAME or torchvision:NAME
    family: str = field(default="lite0", metadata={"choices": FAMILIES, "prefixes": LIBRARIES})
    blocks: int = bounded(11, 0, 40)  # of lite0 to lite2; 0 keeps all
    head: int = bounded(256, 8, 4096)  # of lite0 to lite2: channels before the pool
    dropout: float = bounded(0.2, 0, 0.9)
    weights: str = one_of("package")  # package, hub, scratch, or a .pth file
    size_px: int = bounded(224, 32, 1024)
    # mean and deviation of the input: auto is what the family's published weights were made with
    normalise: str = one_of("auto", "auto", "lite", "imagenet", "half")


@dataclass(frozen=True, slots=True)
class Augment:
    """How far the views of a photo wander; shares are of all pictures, 0..1."""

    zoom_min: float = bounded(0.75, 0.1, 1)
    zoom_max: float = bounded(1.5, 1, 4)
    stretch_max: float = bounded(1.15, 1, 2)  # aspect, either way
    shift: float = bounded(0.15, 0, 1)  # of half the picture
    tilt_deg: float = bounded(25, 0, 180)
    any_angle_share: float = bounded(0.4, 0, 1)  # turned by any angle at all
    blur: float = bounded(0.8, 0, 1)
    sharpen: float = bounded(0.5, 0, 2)
    exposure: float = bounded(1.35, 1, 3)  # factors, either way
    contrast: float = bounded(1.35, 1, 3)
    saturation: float = bounded(1.5, 1, 4)
    tint: float = bounded(1.08, 1, 2)
    gamma: float = bounded(1.3, 1, 3)
    light_slope: float = bounded(0.2, 0, 0.9)
    noise: float = bounded(0.03, 0, 0.5)  # deviation, of full scale
    erase_share: float = bounded(0.2, 0, 1)
    mixup_alpha: float = bounded(0.2, 0, 5)
    mixup_share: float = bounded(0.5, 0, 1)  # of the batches
    cutmix_share: float = bounded(0.0, 0, 1)  # of the batches that MixUp left alone
    rand_ops: int = bounded(0, 0, 8)  # RandAugment: operations a picture; 0 is off
    rand_magnitude: float = bounded(9, 0, 30)  # RandAugment: strength, 30 is the most
    swap_share: float = bounded(0.45, 0, 1)  # background swapped, where the mask is good
    item_min: float = bounded(0.3, 0.05, 1)  # size of a pasted item, of the picture's diagonal
    item_max: float = bounded(0.95, 0.05, 2)
    bank: int = bounded(600, 1, 100_000)  # surfaces made for the swaps
    fill_share: float = bounded(0.0, 0, 1)  # of the swaps: on the grey that a segmenter leaves
    nothing_share: float = bounded(0.0, 0, 1)  # bare surfaces and strange things, of no class
    whole_only: int = bounded(0, 0, 1)  # swap only where the mask outlines all of the item


@dataclass(frozen=True, slots=True)
class Training:
    """One plain loop."""

    epochs: int = bounded(35, 1, 10_000)
    batch: int = bounded(32, 2, 4096)  # of all processes together
    optimizer: str = one_of("adamw", "adamw", "sgd", "adam")
    momentum: float = bounded(0.9, 0, 0.999)  # of sgd
    nesterov: int = bounded(0, 0, 1)  # of sgd
    schedule: str = one_of("cosine", "cosine", "step", "plateau")
    lr_floor: float = bounded(0.01, 0, 1)  # where cosine and plateau end, as a share of lr
    step_epochs: int = bounded(5, 1, 10_000)  # of step: lr times lr_drop every so many
    plateau_epochs: int = bounded(3, 1, 10_000)  # of plateau: so many without a lower val loss
    lr_drop: float = bounded(0.5, 0.001, 1)  # factor of step and plateau
    lr: float = bounded(6e-4, 1e-7, 1)
    head_lr_factor: float = bounded(3, 0.1, 100)
    weight_decay: float = bounded(0.03, 0, 1)
    warmup_epochs: float = bounded(2, 0, 100)
    label_smoothing: float = bounded(0.05, 0, 0.9)
    class_weight_power: float = bounded(0.25, 0, 1)  # 0 all alike, 1 inverse frequency
    clip_norm: float = bounded(2.0, 0, 1000)  # 0 is off
    ema_decay: float = bounded(0.995, 0, 0.99999)  # per step
    swa_share: float = bounded(0.0, 0, 0.9)  # last epochs averaged alike, instead of the EMA
    swa_lr: float = bounded(0.1, 0.001, 1)  # lr while they are, as a share of lr
    head_epochs: int = bounded(0, 0, 10_000)  # first phase: the head alone learns
    tune_lr: float = bounded(0.0, 0, 1)  # lr of the second phase; 0 is the same
    patience_epochs: int = bounded(0, 0, 10_000)  # ends after so many without a better; 0 is never
    small_px: int = bounded(160, 32, 1024)  # size of the first epochs; size_px turns it off
    small_share: float = bounded(0.45, 0, 1)  # of the epochs
    bf16: int = bounded(0, 0, 1)  # autocast; pays on a GPU, on one AVX-512 core it cost 6 to 25 %
    fp16: int = bounded(0, 0, 1)  # autocast with a scaled loss, on a GPU; a CPU computes in fp32
    frozen_blocks: int = bounded(0, 0, 40)  # with the stem; 3 halve the time
    seed: int = bounded(0, 0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Soft:
    """Soft targets of a teacher; without one they are off."""

    temperature: float = bounded(2.0, 0.1, 50)
    alpha: float = bounded(0.7, 0, 1)  # share of the soft loss
    cycle_epochs: int = bounded(0, 0, 10_000)  # views come again after so many; 0 is never
    teacher: str = one_of("")  # recipe that is trained first where no --teacher is named


@dataclass(frozen=True, slots=True)
class Int8:
    """Static quantization."""

    calibration_pictures: int = bounded(256, 8, 10_000)
    least_agreement: float = bounded(0.95, 0, 1)  # of int8 labels with fp32 labels


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training, from network to int8."""

    name: str = one_of("unnamed")
    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    training: Training = field(default_factory=Training)
    soft: Soft = field(default_factory=Soft)
    int8: Int8 = field(default_factory=Int8)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, as they stand in a model card."""
        return asdict(self)

    def to_toml(self) -> str:
        """Text that `read_recipe` reads back to an equal recipe."""
        return toml_of(self.name, self.as_dict())


def toml_of(name: str, tables: dict[str, Any]) -> str:
    """A recipe's sections as TOML; what is no table is passed over."""
    lines = [f"name = {_literal(name)}"]
    for section, values in tables.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]"]
            lines += [f"{key} = {_literal(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


SECTIONS = {
    "network": Network,
    "augment": Augment,
    "training": Training,
    "soft": Soft,
    "int8": Int8,
}


KINDS: dict[str, Any] = {"int": int, "float": float, "str": str}  # by annotation


def shipped_recipes() -> list[str]:
    """Names that `find_recipe` knows without a path."""
    folder = resources.files("trainer") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith("toml"))


def recipe_summaries() -> dict[str, str]:
    """The first comment of every shipped recipe, by its name."""
    folder = resources.files("trainer") / "recipes"
    found = {}
    for name in shipped_recipes():
        first = (folder / f"{name}.toml").read_text("utf-8").splitlines()[0]
        found[name] = first.removeprefix("#").strip()
    return found


def find_recipe(name_or_path: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A shipped recipe by its name, or a .toml file; `overrides` as {"training.epochs": 3}."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return read_recipe(path, overrides)
    if name_or_path not in shipped_recipes():
        raise UsageError(
            f"--recipe {name_or_path}: no such recipe; known are {', '.join(shipped_recipes())}, "
            "or name a .toml file"
        )
    text = (resources.files("trainer") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
    return parse_recipe(text, where=f"{name_or_path}.toml", overrides=overrides)


def read_recipe(path: Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe; raises ConfigError with all of its faults."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: recipe cannot be read ({error.strerror})") from error
    return parse_recipe(text, where=str(path), overrides=overrides)


def parse_recipe(text: str, *, where: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """TOML text to a recipe."""
    parts = parse_sections(text, SECTIONS, where=where, overrides=overrides)
    if faults := _together(parts["training"], where):
        raise ConfigError(faults)
    return Recipe(**parts)


def parse_sections(
    text: str,
    sections: dict[str, Any],
    *,
    where: str,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """TOML text to `name` and a value of each section's dataclass.

    Raises ConfigError with all of its faults.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{where}: not TOML ({error})"]) from error
    for key, value in (overrides or {}).items():
        section, _, name = key.partition(".")
        table.setdefault(section, {})[name] = value
    faults: list[str] = []
    known = [*sections, "name"]
    faults += [
        f"{where}: {key}: unknown{_nearest(key, known)}" for key in table if key not in known
    ]
    parts = {
        section: _section(kind, table.get(section, {}), f"{where}: {section}", faults)
        for section, kind in sections.items()
    }
    if faults:
        raise ConfigError(faults)
    return {"name": str(table.get("name", "unnamed")), **parts}


def _section(kind: Any, table: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(table, dict):
        faults.append(f"{where}: must be a table, [section] and lines of key = value")
        return kind()
    known = {f.name: f for f in fields(kind)}
    for key in table:
        if key not in known:
            faults.append(f"{where}.{key}: unknown{_nearest(key, list(known))}")
    values = {}
    for key in table.keys() & known.keys():
        fault = _fault(table[key], known[key])
        if fault:
            faults.append(f"{where}.{key} = {table[key]!r}: {fault}")
        else:
            values[key] = KINDS[str(known[key].type)](table[key])
    return kind(**values)


def _fault(value: Any, spec: Any) -> str | None:
    choices = spec.metadata.get("choices")
    if choices is not None:
        return _word_fault(value, choices, spec.metadata.get("prefixes", ()))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    if spec.type == "int" and value != int(value):
        return "must be a whole number"
    low, high = spec.metadata["low"], spec.metadata["high"]
    return None if low <= value <= high else f"must be {low}..{high}"


def _word_fault(value: Any, choices: tuple[str, ...], prefixes: tuple[str, ...]) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    named = any(value.startswith(prefix) and value != prefix for prefix in prefixes)
    if not choices or value in choices or named:
        return None
    return f"must be one of {', '.join([*choices, *(f'{prefix}NAME' for prefix in prefixes)])}"


def _together(training: Training, where: str) -> list[str]:
    """Faults of values that are good alone and not beside each other."""
    faults = []
    if training.bf16 and training.fp16:
        faults.append(f"{where}: training.bf16 and fp16 are both 1: choose one")
    if training.head_epochs >= training.epochs:
        faults.append(
            f"{where}: training.head_epochs = {training.head_epochs}: must be under training.epochs"
            f" = {training.epochs}, which counts both phases"
        )
    if training.nesterov and training.optimizer != "sgd":
        faults.append(f"{where}: training.nesterov = 1: belongs to optimizer = 'sgd'")
    return faults


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f", did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
