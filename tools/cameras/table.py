"""Prints what the lanes of test-cameras measured, as a table; exit code 1 unless all passed.

table.py FOLDER reads FOLDER/*.jsonl, one object for each test.
"""

import json
import sys
from pathlib import Path

LANES = {
    "picamera2": "picamera2, libcamera's virtual camera",
    "restarts": "picamera2, restarts",
    "pip-opencv": "OpenCV from PyPI (Raspberry Pi, PC)",
    "debian-opencv": "OpenCV from Debian, with GStreamer (as on a Jetson)",
}


def main() -> int:
    """Print a table for each lane."""
    results: list[str] = []
    whole = True
    for lane, title in LANES.items():
        path = Path(sys.argv[1]) / f"{lane}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        whole &= bool(rows)
        results += [row["result"] for row in rows]
        print(f"\n{title}")
        print_table(together(rows))
    failed = results.count("FAIL")
    print(f"\n{len(results) - failed} passed, {failed} failed")
    return 0 if whole and not failed else 1


def together(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """One row for all cases of a test."""
    cases: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        cases.setdefault(row["what"], []).append(row)
    table = []
    for what, same in cases.items():
        found = "; ".join(row["measured"] for row in same if row["measured"])
        passed = sum(row["result"] == "pass" for row in same)
        table.append((what, found or f"{passed} of {len(same)}", verdict(passed, len(same))))
    return table


def verdict(passed: int, tried: int) -> str:
    return "pass" if passed == tried else "FAIL"


def print_table(rows: list[tuple[str, str, str]]) -> None:
    """As Markdown, so that it can be kept."""
    table = [("what", "measured", ""), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    table.insert(1, tuple("-" * max(3, width) for width in widths))
    for row in table:
        cells = (cell.ljust(max(3, width)) for cell, width in zip(row, widths, strict=True))
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    sys.exit(main())
