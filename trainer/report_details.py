"""The sections with pictures and runs: mistakes, harm, losses, table of runs, sources."""

from __future__ import annotations

from html import escape

from trainer import charts
from trainer.charts import percent
from trainer.report_gallery import Mistake
from trainer.report_html import SERIES, cell, figure, paragraph, table
from trainer.report_material import Material
from trainer.report_runs import RunLog
from trainer.report_scores import suspects
from trainer.scoring import wilson


def mistakes_section(m: Material) -> str:
    """The misclassified pictures, with maps of what was said and of what the label says."""
    wrong = int((~m.scored.right).sum())
    if not wrong:
        return paragraph("Every picture is classified as its label says.")
    shown = f"{len(m.mistakes)} of {wrong}" if len(m.mistakes) < wrong else f"All {wrong}"
    words = f"{shown} misclassified pictures, greatest loss first. "
    if m.map_words:
        words += (
            f"Maps: {m.map_words}; bright where a place speaks for the class named below it, both "
            "maps of a picture on one scale."
        )
    else:
        words += "No maps: the network does not end in a mean over places and one linear layer."
    if m.teacher is not None:
        words += f" Teacher: Grad-CAM of {m.teacher.net.name} for what the teacher says."
    blocks = "".join(_mistake(m, mistake) for mistake in m.mistakes)
    wide = 130 * max((len(x.pictures) for x in m.mistakes), default=1)
    return f'{paragraph(words, "soft")}<div class="mistakes" style="--wide:{wide}px">{blocks}</div>'


def _mistake(m: Material, mistake: Mistake) -> str:
    row = mistake.row
    label, said = m.scored.labels[m.scored.truth[row]], m.scored.labels[m.scored.found[row]]
    confidence = float(m.scored.probs[row].max())
    strip = "".join(
        f'<figure><img src="{picture.data_uri}" alt="{escape(picture.caption)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in mistake.pictures
    )
    outcome = m.scored.outcomes[row]
    tail = "would be sorted wrongly" if outcome == "sorted" else f"{outcome}: goes the safe way"
    return (
        f'<div class="mistake"><p><b>{escape(label)}</b> said to be <b>{escape(said)}</b> '
        f'({percent(confidence)}), {tail} <small class="soft">'
        f'{escape(m.scored.name(row))}</small></p><div class="strip">{strip}</div></div>'
    )


def harm_section(m: Material) -> str:
    """What costs most, and whether the label is to blame."""
    flags = suspects(m.scored.probs, m.scored.truth)
    head = ["", "picture", "label", "student", "% for the label", "loss, nats", ""]
    if m.teacher is not None:
        head.insert(4, "teacher")
    rows = [_harm_row(m, row, uri, bool(flags[row])) for row, uri in m.harmful]
    total = float(m.scored.losses.sum())
    part = float(sum(m.scored.losses[row] for row, _ in m.harmful)) / total if total else 0.0
    words = (
        f"These {len(rows)} of {len(m.scored.truth)} pictures are {percent(part, 0)} of the loss. "
        f"{int(flags.sum())} of all are marked: another class is at least as likely as it is "
        "on its own pictures, which is how label errors look, and hard pictures too "
        "(confident learning, Northcutt et al. 2021)."
    )
    words_until = 4 if m.teacher is None else 5
    return paragraph(words, "soft") + table(head, rows, (*range(words_until), len(head) - 1))


def _harm_row(m: Material, row: int, uri: str, suspected: bool) -> list[str]:
    labels, probs = m.scored.labels, m.scored.probs[row]
    line = [
        f'<img src="{uri}" alt="">',
        escape(m.scored.name(row)),
        escape(labels[m.scored.truth[row]]),
        f"{escape(labels[m.scored.found[row]])} {percent(float(probs.max()))}",
        f"{100 * float(probs[m.scored.truth[row]]):.2g}",
        f"{m.scored.losses[row]:.2f}",
        '<span class="flag">look at the label</span>' if suspected else "",
    ]
    if m.teacher is not None:
        taught = m.teacher.probs[row]
        line.insert(4, f"{escape(labels[int(taught.argmax())])} {percent(float(taught.max()))}")
    return line


def losses_section(m: Material) -> str:
    """Every run's curves, one colour a run."""
    runs = [run for run in m.runs if run.rows]
    if not runs:
        return paragraph("No training was named: --run FOLDER shows its curves.")
    shown = [(f"s{i % SERIES}", run) for i, run in enumerate(runs)]
    plots = []
    for title, solid, dashed, shares in (
        ("loss", "loss", "val_loss", False),
        ("validation accuracy", "val_accuracy", "val_swapped", True),
    ):
        lines = [(css, run.curve(solid)) for css, run in shown]
        lines += [(f"{css} dash", run.curve(dashed)) for css, run in shown]
        lines = [(css, points) for css, points in lines if points]
        words = (
            "Solid: training, on mixed and disturbed views. Dashed: validation."
            if not shares
            else "Solid: as photographed. Dashed: on other surfaces."
        )
        legend = [(css, run.name) for css, run in shown]
        plots.append(figure(charts.epochs_chart(lines, title, shares=shares), words, legend))
    return f'<div class="charts">{"".join(plots)}</div>'


def runs_section(m: Material) -> str:
    """Side by side: each run's own validation, and its network on the pictures of this report."""
    rows = [_run_row(m, run) for run in m.runs]
    n, f = len(m.scored.truth), m.figures
    shipped = cell(f.accuracy.value, f.accuracy.interval)
    name = f"{escape(m.scored.bundle.model_id)} <small>the bundle</small>"
    rows.append([name, *[""] * 7, shipped])
    if m.teacher is not None:
        hits = m.teacher.hits(m.scored.truth)
        name = f"{escape(m.teacher.net.name)} <small>the teacher</small>"
        rows.append([name, *[""] * 7, cell(hits / n, wilson(hits, n))])
    head = (
        *("run", "recipe", "network", "px", "seed", "best epoch"),
        *("its validation", "other surfaces", f"on these {n}"),
    )
    return table(head, rows, (0, 1, 2)) + paragraph(
        "In percent. Its validation: the best epoch's own figures, from training_losses.csv. The "
        "last column is measured now, on the pictures of this report: runs in fp32 from their "
        "checkpoints, 95 % Wilson intervals.",
        "soft",
    )


def _run_row(m: Material, run: RunLog) -> list[str]:
    stats = run.stats()
    n = len(m.scored.truth)
    judged = m.judged.get(run.name)
    here = "–"
    if judged is not None:
        hits = judged.hits(m.scored.truth)
        here = cell(hits / n, wilson(hits, n))
    own = [_percent(stats[key]) for key in ("best_val_accuracy", "best_val_swapped")]
    words = [escape(stats[key]) for key in ("run", "recipe", "network", "size_px", "seed")]
    best = f"{stats['best_epoch']} of {stats['epochs']}" if run.rows else "–"
    return [*words, best, *own, here]


def _percent(text: str) -> str:
    try:
        return cell(float(text))
    except ValueError:
        return "–"


def about_section(m: Material) -> str:
    """What was measured, with what, and where the methods come from."""
    bundle, card = m.scored.bundle, m.scored.bundle.card
    data = card.get("data", {})
    pairs = (
        ("network", f"{bundle.model_id}, {bundle.precision}, sha256 {card.get('sha256', '?')}"),
        ("pictures", f"{len(m.scored.photos)}, sha256 {m.scored.photos.sha256()}"),
        ("trained on", f"{data.get('name', '?')} ({data.get('licence', 'licence not stated')})"),
        ("temperature", f"{bundle.temperature:g}, least margin {bundle.min_margin:g}"),
        ("chosen by", str(card.get("chosen_by", "not stated"))),
        ("commit", str(card.get("commit", "not stated"))),
        ("files beside this", "confusion_matrix.csv, evaluation_results.csv, training_losses.csv, "
         "training_stats.csv"),
    )  # fmt: skip
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs)
    sources = (
        "Wilson 1927 (intervals of shares); Efron 1979 (bootstrap, 2000 draws); Guo et al. 2017 "
        "(calibration error, 15 bins, and temperature); El-Yaniv and Wiener 2010, Geifman and "
        "El-Yaniv 2017 (risk and coverage); Zhou et al. 2016 (CAM); Selvaraju et al. 2017 "
        "(Grad-CAM); Wang et al. 2020 (share of evidence on the item); Northcutt et al. 2021 "
        "(confident learning)."
    )
    return f"<dl>{listed}</dl>{paragraph('Methods: ' + sources, 'soft')}"
