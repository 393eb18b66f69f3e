"""The tables of `smartbin-train reject`, in Markdown, as they stand in docs/rejection.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def as_text(result: dict[str, Any]) -> str:
    """Candidates, then what becomes of items and of strange things at the chosen point."""
    point = result["at_the_point"]
    parts = [
        _candidates(result),
        f"Chosen: **{result['chosen']}**, floor {point['floor']:.4g}, least confidence "
        f"{point['least_confidence']:.2f}, min_margin {point['min_margin']:.2f}, "
        f"to sort {result['sorts']:.0%} of the items{_asked(result)}.",
        _items(point),
        _strange(result),
    ]
    if "written" in result:
        parts.append(f"Written into {result['written']}.")
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is words, the others numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def percent(share: float | None) -> str:
    """One decimal; a dash where there is nothing."""
    return "–" if share is None or share != share else f"{100 * share:.1f}"


def _asked(result: dict[str, Any]) -> str:
    """What was asked of the rendered ones, if anything."""
    share = result.get("sorts_rendered")
    return f" and {share:.0%} of the rendered ones" if share else ""


def _candidates(result: dict[str, Any]) -> str:
    head = [
        "measure",
        "AUROC tune",
        "test",
        "rendered",
        "FPR at 95 % tune",
        "test",
        "rendered",
        "refused tune",
        "test",
    ]
    rows = []
    for line in result["candidates"]:
        name = line["kind"] + (" (features)" if line["features"] else "")
        curves = [
            f"{line[key]:.3f}" if key in line else "–"
            for key in ("auroc_tune", "auroc_test", "auroc_rendered")
        ]
        shares = [
            percent(line.get(key))
            for key in (
                "fpr95_tune",
                "fpr95_test",
                "fpr95_rendered",
                "refused_tune",
                "refused_test",
            )
        ]
        rows.append([name, *curves, *shares])
    return table(head, rows)


def _items(point: dict[str, Any]) -> str:
    rows = [
        [view, str(line["n"]), percent(line["sorted"]), percent(line["right_of_sorted"])]
        for view, line in point["items"].items()
    ]
    return table(["items", "n", "sorted, %", "right of the sorted, %"], rows)


def _strange(result: dict[str, Any]) -> str:
    rows = []
    for split, kinds in result["at_the_point"]["refused"].items():
        for kind, line in kinds.items():
            was = percent(result["before"]["refused"].get(kind))
            rows.append([f"{split}: {kind}", str(line["n"]), was, percent(line["refused"])])
    head = ["strange things", "n", "refused by the bundle as it was, %", "refused now, %"]
    return table(head, rows)
