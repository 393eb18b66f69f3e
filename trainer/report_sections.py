"""The sections of figures: headline, confusion, classes, calibration, risk, backgrounds."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from trainer import charts
from trainer.background import KINDS
from trainer.charts import percent
from trainer.intervals import mean_risk, reliability, risk_coverage
from trainer.report_html import cell, figure, matrix, paragraph, span, table, tile
from trainer.report_material import Material
from trainer.report_scores import Share
from trainer.scoring import wilson


def headline(m: Material) -> str:
    """The few numbers that matter, with their intervals."""
    f, bundle = m.figures, m.scored.bundle
    wrong = Share(f.selective.n - f.selective.hits, f.selective.n)
    size = bundle.card.get("parameters")
    tiles = (
        (
            percent(f.accuracy.value),
            f"accuracy, {f.accuracy.hits} of {f.accuracy.n}",
            f"95 % interval {span(f.accuracy.interval)} (Wilson)",
        ),
        (
            percent(f.summary.macro_f1),
            "macro F1",
            f"95 % interval {span(f.f1.macro)} (bootstrap)",
        ),
        (
            percent(f.ece_after),
            "expected calibration error",
            f"{percent(f.ece_before)} before temperature",
        ),
        (
            percent(f.coverage.value),
            "sorted with the shipped thresholds",
            f"{percent(wrong.value)} of these wrong ({span(wrong.interval)})" if wrong.n else "",
        ),
        (
            f"{len(bundle.onnx) / 1e6:.3f} MB",
            f"{bundle.model_id}, {bundle.precision}",
            f"{size:,} parameters" if isinstance(size, int) else "",
        ),
    )
    warning = paragraph(m.warning, "warn") if m.warning else ""
    note = (
        "Intervals take pictures for independent draws. Several photos of one object are not, so "
        "the true intervals are wider."
    )
    body = "".join(tile(*words) for words in tiles)
    return f'{warning}<div class="tiles">{body}</div>{paragraph(note, "soft")}'


def confusion_section(m: Material) -> str:
    """Rows are the folder's label, columns what was said."""
    return matrix(m.scored.labels, m.figures.summary.confusion) + paragraph(
        "Rows: the label. Columns: what was said. Darker: a larger share of the row.", "soft"
    )


def classes_section(m: Material) -> str:
    """Precision, recall, F1, and what the class's threshold does."""
    head = ("class", "n", "precision", "recall", "F1", "threshold", "sorted", "right if sorted")
    rows = [_class_row(m, i) for i in range(len(m.scored.labels))]
    return table(head, rows) + paragraph(
        "In percent, 95 % intervals small: Wilson for precision, recall and what is right of the "
        "sorted, bootstrap for F1. Threshold: least confidence at which a bin sorts.",
        "soft",
    )


def _class_row(m: Material, i: int) -> list[str]:
    counts, label = np.array(m.figures.summary.confusion), m.scored.labels[i]
    hits = int(counts[i, i])
    precision, recall = Share(hits, int(counts[:, i].sum())), Share(hits, int(counts[i].sum()))
    mine = (m.scored.found == i) & m.scored.sorted_
    kept = Share(int(m.scored.right[mine].sum()), int(mine.sum()))
    f1 = m.figures.summary.per_class[label]["f1"] if precision.n + recall.n else float("nan")
    return [
        escape(label),
        str(recall.n),
        cell(precision.value, precision.interval),
        cell(recall.value, recall.interval),
        cell(f1, m.figures.f1.per_class[i]),
        f"{m.scored.bundle.thresholds[i]:.2f}",
        f"{kept.n} of {precision.n}",
        cell(kept.value, kept.interval),
    ]


def reliability_section(m: Material) -> str:
    """Whether 80 % confident means 80 % right."""
    before = reliability(m.scored.uncalibrated, m.scored.truth)
    after = reliability(m.scored.probs, m.scored.truth)
    f = m.figures
    caption = (
        f"Expected calibration error {percent(f.ece_before)} before temperature, "
        f"{percent(f.ece_after)} after (T = {m.scored.bundle.temperature:g}; "
        "Guo et al. 2017). Upright lines: 95 % interval of each bin."
    )
    legend = (("s0", "after temperature"), ("s1", "before (dots)"))
    diagram = figure(charts.reliability_chart(before, after), caption, legend)
    counts = charts.count_chart(after, len(m.scored.truth))
    words = "How many of the pictures are in each bin, after temperature."
    return f'<div class="charts">{diagram}{figure(counts, words)}</div>'


def risk_section(m: Material) -> str:
    """What abstaining buys."""
    coverage, risk = risk_coverage(m.scored.probs, m.scored.truth)
    f = m.figures
    shipped = (f.coverage.value, 1 - f.selective.value) if f.selective.n else None
    chart = charts.risk_chart(list(zip(coverage.tolist(), risk.tolist(), strict=True)), shipped)
    outcomes = {o: m.scored.outcomes.count(o) for o in sorted(set(m.scored.outcomes))}
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    caption = (
        f"The curve demands one confidence of all classes; the dot uses the bundle's thresholds "
        f"per class and its margin. Area under the curve "
        f"{percent(mean_risk(coverage, risk), 2)} (Geifman and El-Yaniv 2017). "
        f"One view each: {told}."
    )
    legend = (("s0", "one threshold for all classes"), ("s1", "shipped thresholds"))
    return figure(chart, caption, legend)


def background_section(m: Material) -> str:
    """The same items on other surfaces."""
    card = {
        str(entry.get("metric", "")).removeprefix("background "): entry
        for entry in m.scored.bundle.card.get("metrics", [])
        if str(entry.get("metric", "")).startswith("background ")
    }
    if not card and m.challenge is None:
        return paragraph("The card states no background figures, and no --masks were given.")
    rows = []
    for kind in ("original", *KINDS):
        row = [escape(kind), _card_cell(card.get(kind))]
        if m.challenge is not None:
            n, found = int(m.challenge["n"]), m.challenge[kind]
            hits = round(found * n / 100)
            row.append(cell(hits / n, wilson(hits, n)))
        rows.append(row)
    head = ["surface", "the card says", "measured here"][: 2 + (m.challenge is not None)]
    words = _card_words(card)
    if m.challenge is not None:
        words += f" Here: {m.challenge['n']:.0f} pictures, gap {m.challenge['gap']:.1f} points."
    return table(head, rows) + paragraph(words.strip(), "soft") + _pointing_text(m)


def _card_cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "–"
    low, high = entry["wilson_95"]
    return cell(float(entry["value"]), (float(low), float(high)))


def _card_words(card: dict[str, dict[str, Any]]) -> str:
    words = (
        "Percent right when the item is cut out and laid on another surface. Figures compare "
        "students; they forecast no accuracy in the field."
    )
    if "original" not in card:
        return words
    first = card["original"]
    return f"{words} Card: {first.get('data')}, {first.get('split')}, {first.get('n')} pictures."


def _pointing_text(m: Material) -> str:
    p = m.pointing
    if p is None:
        return ""
    return paragraph(
        f"Where the student looks: of the evidence for its answer, {cell(p.right)} % lies on the "
        f"item where the answer is right, {cell(p.wrong)} % where it is wrong; the item covers "
        f"{cell(p.item_share)} % of these {p.n} pictures on average, which is what chance "
        "would give."
    )
