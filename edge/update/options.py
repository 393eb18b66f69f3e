"""The [update] section of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from edge.options import name_fault, option


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """Signed models over the air; see docs/updates.md."""

    url: str = option("", "Repository of signed models, http(s)://...; empty: no updates.")
    root: str = option("", "root.json of that repository, brought here by a person.")
    ca_file: str = option("", "CA of the repository's certificate; empty: the system's own.")
    bundle: str = option("student.int8", "Name of the bundle to follow.", check=name_fault)
    group: str = option(
        "default", "Whose wishes to follow: groups/v1/GROUP/model.", check=name_fault
    )
    store: str = option(
        "",
        "Folder of fetched models; empty: models in $STATE_DIRECTORY or ~/.local/state/smartbin.",
    )
    canaries: str = option(
        "", "Your own pictures of known classes, one folder a class; a new model must do as well."
    )
    shadow_items: int = option(
        100, "Items that a new model judges beside the old one, without a say.", low=0, high=100_000
    )
    trial_items: int = option(
        100, "Items after which a model that runs is taken for good.", low=0, high=100_000
    )
    retry_s: float = option(
        900.0, "Wait after a failure that may pass.", low=0.05, high=86400, unit="s"
    )
