"""docs/faults.md shows what the suite measures."""

from __future__ import annotations

import re

import pytest

from tests.faults import ledger
from tests.faults.ledger import Books, Row


def test_document_has_a_row_for_every_fault_in_order_and_none_lost() -> None:
    """A fault added to the suite is missed here until the table is written again."""
    rows = re.findall(r"^\| (.+?) \| `.*` \| \d+ \| \d+ \| (\d+) \| \d+ \|$", document(), re.M)
    assert [fault for fault, _ in rows] == list(ledger.FAULTS)
    assert {lost for _, lost in rows} == {"0"}


def document() -> str:
    return ledger.DOC.read_text().split(ledger.BEGIN)[1].split(ledger.END)[0]


def test_books_find_a_missing_event_by_any_witness() -> None:
    """By a gap, by a line of the log, by a row of the outbox file."""
    arrived = [(("b", seq), b"%d" % seq) for seq in (1, 2, 4)]
    assert Books(arrived=arrived).lost == {("b", 3)}
    assert Books({("b", 5)}, set(), arrived).lost == {("b", 3), ("b", 5)}
    assert Books(set(), {("c", 2)}, arrived).lost == {("b", 3), ("c", 1), ("c", 2)}


def test_books_refuse_one_id_with_two_payloads() -> None:
    """A duplicate is the same event told again, nothing else."""
    twice = [(("b", 1), b"x"), (("b", 1), b"x")]
    assert Books(arrived=twice).check_duplicates() == 1
    with pytest.raises(AssertionError, match="two payloads"):
        Books(arrived=[*twice, (("b", 1), b"y")]).check_duplicates()


def test_loss_never_makes_a_row() -> None:
    """The table cannot hold a fault that lost something."""
    with pytest.raises(AssertionError, match="lost"):
        ledger.enter("broker restarted", "", Books(arrived=[(("b", 2), b"x")]))


def test_table_shows_the_row_as_it_is() -> None:
    """Markdown that a bar in a log line does not break."""
    row = Row("f", "a|b", 3, 3, 0, 1)
    assert ledger.table([row]).splitlines()[-1] == "| f | `a\\|b` | 3 | 3 | 0 | 1 |"
