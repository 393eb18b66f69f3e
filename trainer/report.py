"""The order of work of a report: measure everything, then write one page and four CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import load_bundle
from edge.errors import SmartbinError, UsageError
from trainer import report_details as details
from trainer import report_gallery as gallery
from trainer import report_scores as scores
from trainer import report_sections as sections
from trainer.background import challenge
from trainer.charts import percent
from trainer.data import PhotoSet
from trainer.progress import bar
from trainer.report_html import page, paragraph
from trainer.report_material import Material
from trainer.report_runs import STATS_FIELDS, Judged, RunLog, TorchNet, read_runs

MOST_MISTAKES, MOST_HARMFUL = 60, 24
PAGE = "report.html"
LEAST_AGREEMENT = 0.97  # int8 and fp32 of one training agreed on 98.8 % or more
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a report is asked for."""

    bundle: Path
    photos: PhotoSet
    out: Path
    runs: tuple[Path, ...] = ()  # the first is the student's own
    teacher: Path | None = None
    masks: Path | None = None
    most: int = MOST_MISTAKES


def make(wish: Wish, say: Say) -> dict[str, Any]:
    """Measure, write into `wish.out`, and return the headline's figures."""
    if wish.out.exists() and not wish.out.is_dir():
        raise UsageError(f"{wish.out}: is a file; --out takes a folder")
    material = gather(wish, say)
    write_all(wish.out, csv_files(material), render(material))
    return {**material.figures.as_dict(), "report": str(wish.out / PAGE)}


def gather(wish: Wish, say: Say) -> Material:
    """Everything measured, nothing written."""
    bundle, runs = load_bundle(wish.bundle), tuple(read_runs(list(wish.runs)))
    judged, teacher = _judge_runs(wish, runs, bundle.labels)
    with bar("score", len(wish.photos)) as tick:
        scored = scores.score(bundle, wish.photos, tick)
    student = judged[runs[0].name] if runs and runs[0].name in judged else None
    words, maps = gallery.student_maps(scored, student.net if student else None)
    if maps is None:
        say(f"{bundle.model_id}: no maps, for it does not end in pooling and one linear layer")
    if student is not None:
        words += _agreement(student, scored)
    with bar("gallery", int((~scored.right).sum())) as tick:
        mistakes = gallery.mistakes(scored, maps, teacher, wish.most, tick)
    harmful = scores.by_harm(scored, MOST_HARMFUL)
    pointing = measured = None
    if wish.masks is not None:
        _, own = gallery.student_maps(scored, None)  # the shipped network's, and the faster one
        with bar("evidence on the item", len(wish.photos)) as tick:
            pointing = gallery.pointing(scored, own or maps, wish.masks, tick)
        with bar("backgrounds", len(wish.photos)) as tick:
            measured = challenge(wish.bundle, wish.photos, wish.masks, tick=tick)
    return Material(
        scored=scored,
        figures=scores.figures_of(scored),
        warning=scores.seen_before(bundle, wish.photos),
        runs=runs,
        judged=judged,
        teacher=teacher,
        mistakes=tuple(mistakes),
        map_words=words,
        harmful=tuple((row, gallery.thumbnail(scored, row)) for row in harmful),
        pointing=pointing,
        challenge=measured,
    )


def _judge_runs(
    wish: Wish, runs: Sequence[RunLog], labels: tuple[str, ...]
) -> tuple[dict[str, Judged], Judged | None]:
    """Every run that has a checkpoint, and the teacher, on the report's pictures."""
    judged = {}
    for run in runs:
        if (run.folder / "best.pt").exists():
            judged[run.name] = _judge(TorchNet(run.name, run.folder, labels), wish.photos)
    if wish.teacher is None:
        return judged, None
    same = [run for run in runs if run.folder.resolve() == wish.teacher.resolve()]
    if same and same[0].name in judged:
        return judged, judged[same[0].name]
    folder = wish.teacher if wish.teacher.is_dir() else wish.teacher.parent
    return judged, _judge(TorchNet(folder.resolve().name, folder, labels), wish.photos)


def _judge(net: TorchNet, photos: PhotoSet) -> Judged:
    with bar(f"run {net.name}", len(photos)) as tick:
        return Judged(net, net.probs(photos, tick))


def _agreement(student: Judged, scored: scores.Scored) -> str:
    same = float((student.probs.argmax(1) == scored.found).mean())
    words = f", which names the bundle's class on {percent(same)} of all pictures"
    if same < LEAST_AGREEMENT:
        words += ": so few that the bundle is probably of another training"
    return words


def render(m: Material) -> str:
    """The page as text."""
    bundle = m.scored.bundle
    lead = paragraph(
        f"{bundle.model_id} ({bundle.precision}) on {len(m.scored.photos)} pictures of "
        f"{len(m.scored.labels)} classes, one view each, through the code that runs in the bin."
    )
    parts = (
        ("headline", "Headline", sections.headline(m)),
        ("confusion", "Confusion matrix", sections.confusion_section(m)),
        ("classes", "Classes", sections.classes_section(m)),
        ("reliability", "Reliability", sections.reliability_section(m)),
        ("risk", "Risk and coverage", sections.risk_section(m)),
        ("backgrounds", "Background challenge", sections.background_section(m)),
        ("mistakes", "Misclassified", details.mistakes_section(m)),
        ("harm", "What hurts most", details.harm_section(m)),
        ("losses", "Loss curves", details.losses_section(m)),
        ("runs", "Runs", details.runs_section(m)),
        ("about", "About", details.about_section(m)),
    )
    return page(f"Report on {bundle.model_id}", lead, parts)


def csv_files(m: Material) -> dict[str, str]:
    """File name to content; tables without a row still have their header."""
    labels = m.scored.labels
    table = [["truth", *labels]]
    for label, row in zip(labels, m.figures.summary.confusion, strict=True):
        table.append([label, *map(str, row)])
    columns = dict.fromkeys(key for run in m.runs for row in run.rows for key in row if key)
    losses = [["run", *(columns or {"epoch": None, "loss": None})]]
    for run in m.runs:
        losses += [[run.name, *(row.get(key) or "" for key in columns)] for row in run.rows]
    stats = [list(STATS_FIELDS)]
    stats += [[run.stats()[key] for key in STATS_FIELDS] for run in m.runs]
    return {
        "confusion_matrix.csv": _csv(table),
        "evaluation_results.csv": _csv(_results(m.scored)),
        "training_losses.csv": _csv(losses),
        "training_stats.csv": _csv(stats),
    }


def _results(scored: scores.Scored) -> list[list[str]]:
    """One line per picture: what `evaluate --csv` writes, then outcome, loss and suspicion."""
    flags, losses, found = scores.suspects(scored.probs, scored.truth), scored.losses, scored.found
    probs = [f"p_{label}" for label in scored.labels]
    lines = [["file", "truth", "found", *probs, "outcome", "loss_nats", "suspect"]]
    for row in range(len(scored.truth)):
        names = [scored.labels[scored.truth[row]], scored.labels[found[row]]]
        shares = [f"{share:.6f}" for share in scored.probs[row]]
        tail = [scored.outcomes[row], f"{losses[row]:.4f}", str(int(flags[row]))]
        lines.append([scored.name(row), *names, *shares, *tail])
    return lines


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue()


def write_all(out: Path, tables: dict[str, str], html: str) -> None:
    """Each file whole or not at all; the page comes last."""
    for name, text in {**tables, PAGE: html}.items():
        partial = out / f"{name}.partial"
        try:
            out.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, "utf-8", newline="")
            partial.replace(out / name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise SmartbinError(
                f"{out / name}: report cannot be written ({error.strerror})"
            ) from error
