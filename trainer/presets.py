"""How far `smartbin-train all` goes: a proof, a trial, the real thing, or your own."""

from __future__ import annotations

from dataclasses import dataclass

from edge.errors import UsageError


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe and at most so many pictures, classes in proportion; None takes all."""

    recipe: str
    pictures: int | None


PRESETS = {
    "quick": Preset("quick", 500),  # 2 epochs: minutes on a CPU
    "dev": Preset("dev", 1500),  # 6 epochs, first blocks frozen: a quarter of an hour on a CPU
    "full": Preset("smartbin", None),
}
NAMES = (*PRESETS, "custom")


def preset_of(name: str, recipe: str | None, pictures: int | None) -> Preset:
    """The named preset, with another recipe or number of pictures where they are given."""
    if name not in NAMES:
        raise UsageError(f"--preset {name}: must be one of {', '.join(NAMES)}")
    if name == "custom":
        if recipe is None:
            raise UsageError("--preset custom: name its --recipe, shipped or a .toml file")
        return Preset(recipe, pictures)
    known = PRESETS[name]
    return Preset(recipe or known.recipe, known.pictures if pictures is None else pictures)
