"""Reads the table of what a wrong decision costs; says every fault of the file at once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import UsageError

SHIPPED = Path(__file__).parent / "costs.toml"
MOST = 1000.0
Costs = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CostTable:
    """Costs in one unit, in the order of a bundle's labels."""

    safe: Costs  # (n,) an item of this class goes the safe way
    wrong: Costs  # (n, n) an item of class `row` goes where class `column` goes; diagonal 0

    def as_dict(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Plain values, for a card."""
        return {
            "safe": dict(zip(labels, self.safe.tolist(), strict=True)),
            "wrong": {
                label: {other: float(self.wrong[i, j]) for j, other in enumerate(labels) if j != i}
                for i, label in enumerate(labels)
            },
        }


def read_table(path: Path, labels: tuple[str, ...]) -> CostTable:
    """Raises UsageError with a sentence for every number that is missing, strange or too much."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from error
    faults = [f"{key}: no such section; safe and wrong are read" for key in content]
    faults = [fault for fault in faults if fault.partition(":")[0] not in ("safe", "wrong")]
    safe = _row(content.get("safe"), "safe", labels, faults)
    rows = content.get("wrong")
    rows = rows if isinstance(rows, dict) else {}
    faults += [f"wrong.{key}: not a label of the bundle" for key in rows if key not in labels]
    wrong = np.zeros((len(labels), len(labels)))
    for i, label in enumerate(labels):
        others = tuple(other for other in labels if other != label)
        values = _row(rows.get(label), f"wrong.{label}", others, faults)
        wrong[i, [j for j in range(len(labels)) if j != i]] = values
    if faults:
        raise UsageError("\n".join(f"{path}: {fault}" for fault in faults))
    return CostTable(safe, wrong)


def _row(given: Any, where: str, names: tuple[str, ...], faults: list[str]) -> Costs:
    """The numbers of these names in this order; what is wrong with them goes to `faults`."""
    if not isinstance(given, dict):
        faults.append(f"{where}: missing; it needs {', '.join(names)}")
        return np.zeros(len(names))
    faults += [f"{where}.{key}: not a label that costs here" for key in given if key not in names]
    values = []
    for name in names:
        value = given.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None:
            faults.append(f"{where}.{name}: missing; a number from 0 to {MOST:g}")
        elif not number or not 0 <= value <= MOST:
            faults.append(f"{where}.{name} = {value!r}: must be a number from 0 to {MOST:g}")
            number = False
        values.append(float(value) if number and value is not None else 0.0)
    return np.array(values)
