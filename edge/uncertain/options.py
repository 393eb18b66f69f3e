"""The [pictures] section of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from edge.options import option


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Pictures of uncertain items, for the next model; see docs/learning.md."""

    keep: bool = option(False, "Keep pictures of uncertain items on this bin.")
    send: bool = option(False, "Send them to the monitor; false: they never leave this bin.")
    blur: str = option(
        "people",
        "Hidden before a picture is kept: hands and arms that reach in; with people, faces too.",
        choices=("none", "hands", "people"),
    )
    face_model: str = option("", "CenterFace's .onnx, needed for people; see docs/learning.md.")
    margin: float = option(
        0.3, "Sorted items count as uncertain below this lead over the next class.", low=0, high=1
    )
    folder: str = option(
        "", "Where; empty: pictures in $STATE_DIRECTORY or ~/.local/state/smartbin."
    )
    max_mb: float = option(
        100.0, "Size of the folder; beyond it the oldest go.", low=1, high=100_000, unit="MB"
    )
    max_days: float = option(30.0, "Age at which pictures go.", low=0.01, high=3650, unit="days")
    per_minute: float = option(
        6.0, "Most pictures sent, so that a slow line has room.", low=0.1, high=600
    )
