"""Where this host keeps what smartbin must remember."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder(name: str = "smartbin") -> Path:
    """$STATE_DIRECTORY under systemd, else the user's state folder of that name."""
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(state) if state else Path.home() / ".local" / "state" / name
