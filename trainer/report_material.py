"""Everything that a report shows, measured before its page is written."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.report_gallery import Mistake, Pointing
from trainer.report_runs import Judged, RunLog
from trainer.report_scores import Figures, Scored


@dataclass(frozen=True, slots=True)
class Material:
    """What the sections are made from."""

    scored: Scored
    figures: Figures
    warning: str  # why the figures flatter, or empty
    runs: tuple[RunLog, ...]
    judged: dict[str, Judged]  # by the run's name
    teacher: Judged | None
    mistakes: tuple[Mistake, ...]
    map_words: str  # how the student's maps were made, or empty
    harmful: tuple[tuple[int, str], ...]  # row and thumbnail, greatest loss first
    pointing: Pointing | None
    challenge: dict[str, float] | None  # measured now, in percent
