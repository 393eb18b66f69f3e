"""Statements over many rows at once, written once for SQLite and PostgreSQL.

SQLite runs one row after another in C; to PostgreSQL the rows go as one array for each column, so
that a batch is one plan and one round trip. (A thousand single statements took fifty times as
long: their plan, made while the table was empty, is kept.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from edge.fleet.database import Database

Rows = list[dict[str, Any]]


class Bulk:
    """A statement over rows `v`: in its text, {rows} stands for where they come from.

    `columns` are those of `table` that the rows hold; others are named in `more` with the column
    whose type they have.
    """

    def __init__(
        self,
        database: Database,
        text: str,
        *,
        table: sa.Table,
        columns: Sequence[str],
        more: Mapping[str, sa.Column[Any]] | None = None,
    ) -> None:
        kinds = {name: table.c[name] for name in columns} | dict(more or {})
        self._table = table
        self._pick = itemgetter(*kinds)
        self._is_sqlite = database.is_sqlite
        if database.is_sqlite:
            rows = f"(SELECT {', '.join(f'? AS {name}' for name in kinds)}) AS v"
        else:
            arrays = ", ".join(f"%s::{_postgres_type(column)}[]" for column in kinds.values())
            rows = f"unnest({arrays}) AS v({', '.join(kinds)})"
        self._text = text.format(rows=rows)

    def run(self, db: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it over rows that hold a value for each column; returns how many it touched."""
        if not rows:
            return 0
        values = [self._pick(row) for row in rows]
        if self._is_sqlite:
            return db.exec_driver_sql(self._text, values).rowcount
        columns = tuple(list(column) for column in zip(*values, strict=True))
        return db.exec_driver_sql(self._text, columns).rowcount

    def run_new(self, db: sa.Connection, rows: Rows, *, key: Sequence[str]) -> Rows:
        """Run an INSERT over rows; returns those whose `key` was not in the table before."""
        if not rows:
            return []
        names, table = ", ".join(key), self._table.name
        if self._is_sqlite:  # nobody else writes meanwhile: what has a higher number is ours
            last = db.exec_driver_sql(f"SELECT coalesce(max(rowid), 0) FROM {table}").scalar()
            if self.run(db, rows) == len(rows):
                return rows
            found = f"SELECT {names} FROM {table} WHERE rowid > ?"
            made = set(map(tuple, db.exec_driver_sql(found, (last,))))
        else:
            values = zip(*map(self._pick, rows), strict=True)
            text = f"{self._text} RETURNING {names}"
            made = set(map(tuple, db.exec_driver_sql(text, tuple(map(list, values)))))
        pick = itemgetter(*key)
        first = {pick(row): row for row in reversed(rows)}  # of two alike, the first is stored
        return [first[one] for one in made]


def insert_text(table: sa.Table, columns: Sequence[str], conflict: str) -> str:
    """INSERT of every row, with what is to happen on a conflict."""
    names = ", ".join(columns)
    picked = ", ".join(f"v.{name}" for name in columns)
    # WHERE true: else SQLite takes ON CONFLICT for the ON of a join (sqlite.org/lang_upsert.html).
    return f"INSERT INTO {table.name} ({names}) SELECT {picked} FROM {{rows}} WHERE true {conflict}"


def update_text(table: sa.Table, values: Mapping[str, str], key: str = "id") -> str:
    """UPDATE of the row that each row names; `values` are SQL over `v` and the table."""
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    return f"UPDATE {table.name} SET {changes} FROM {{rows}} WHERE {table.name}.{key} = v.{key}"


def _postgres_type(column: sa.Column[Any]) -> str:
    name = type(column.type).__visit_name__.upper()
    return {"BIG_INTEGER": "int8", "INTEGER": "int4", "FLOAT": "float8"}.get(name, "text")
