"""The tables of `smartbin-train costs`, in Markdown, as they stand in docs/rejection.md."""

from __future__ import annotations

from typing import Any

from trainer.reject_text import percent, table


def as_text(result: dict[str, Any]) -> str:
    """Thresholds, then costs before and after."""
    low, high = result["saved_per_item_95"]
    saved = result["before"]["cost_per_item"] - result["after_out_of_fold"]["cost_per_item"]
    parts = [
        _thresholds(result),
        _outcomes(result),
        f"Saved per item, out of fold: {saved:.3f} ({low:.3f} to {high:.3f}). {_wishes(result)}.",
    ]
    if "written" in result:
        parts.append(f"Written into {result['written']}.")
    return "\n\n".join(parts)


def _thresholds(result: dict[str, Any]) -> str:
    rows = []
    for label, chosen in result["thresholds"].items():
        low, high = result["thresholds_95"][label]
        was = result["thresholds_before"][label]
        rows.append([label, f"{was:.2f}", f"{chosen:.2f}", f"{low:.2f} to {high:.2f}"])
    return table(["class", "threshold before", "now", "95 % interval"], rows)


def _outcomes(result: dict[str, Any]) -> str:
    lines = [
        ("all items, before", result["before"]),
        ("all items, now", result["after"]),
        ("all items, now, out of fold", result["after_out_of_fold"]),
        *((f"{view}, now", line) for view, line in result["views"].items()),
    ]
    rows = [
        [
            name,
            f"{line['cost_per_item']:.3f}",
            percent(line["sorted"]),
            percent(line["right_of_sorted"]),
        ]
        for name, line in lines
    ]
    return table(["", "cost per item", "sorted, %", "right of the sorted, %"], rows)


def _wishes(result: dict[str, Any]) -> str:
    """What was asked, and whether it could be had, out of fold."""
    asked = (
        (f"{result['least_accuracy']:.0%} of the sorted right", "least_accuracy_reached"),
        (f"{result['sorts']:.0%} of the items sorted", "sorts_reached"),
    )
    return "; ".join(
        f"{words}: {'reached' if result[key] else 'not reached'}" for words, key in asked
    )
