"""Right on objects that training has seen, and on others: a leak-free figure beside the plain one.

An object photographed from several sides stands on both sides of most lists. The audit's groups
file tells which pictures show one object, or one kind (trainer/twins.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import UsageError
from trainer.data import PhotoSet, scan
from trainer.scoring import share_text, wilson
from trainer.splits import read_groups

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many pictures were named rightly."""

    right: int
    n: int

    @property
    def accuracy(self) -> float | None:
        """0..1; None where there is no such picture."""
        return self.right / self.n if self.n else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        interval = list(wilson(self.right, self.n))
        return {"n": self.n, "accuracy": self.accuracy, "wilson_95": interval}


@dataclass(frozen=True, slots=True)
class Kin:
    """The pictures judged, parted by whether their group is in training too."""

    known: Share
    new: Share

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"known": self.known.as_dict(), "new": self.new.as_dict()}

    def as_text(self) -> str:
        """For a person, a line each."""
        return "\n".join(
            f"{words}: {'none' if share.accuracy is None else share_text(share.accuracy, share.n)}"
            for words, share in (
                ("group also in training", self.known),
                ("group not in training", self.new),
            )
        )


def sides(
    data: Path, photos: PhotoSet, groups: Path | None, train_names: Path | None
) -> tuple[Ints, Ints] | None:
    """Groups of the photos judged, and of those that the list names; None where neither is given.

    Raises UsageError where only one of both is given, or a picture is in no group.
    """
    if groups is None and train_names is None:
        return None
    if groups is None or train_names is None:
        raise UsageError(
            "evaluate: to tell objects that training has seen, give --groups (audit's groups.csv) "
            "and --train-names (the list that was trained on), both"
        )
    return read_groups(groups, photos), read_groups(groups, scan(data, train_names))


def parted(hits: npt.NDArray[np.bool_], groups: Ints, training: Ints) -> Kin:
    """(n,) hits and groups of the pictures judged, (m,) groups of those trained on."""
    known = np.isin(groups, training)
    return Kin(
        known=Share(int(hits[known].sum()), int(known.sum())),
        new=Share(int(hits[~known].sum()), int((~known).sum())),
    )
