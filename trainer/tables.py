"""Rows of one dataclass as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any


def as_csv(rows: Sequence[Any], kind: type, *, decimals: int) -> bytes:
    """A line for each instance of the dataclass `kind` below its fields' names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row).items()
        writer.writerow({k: f"{v:.{decimals}f}" if isinstance(v, float) else v for k, v in values})
    return text.getvalue().encode()
