"""How an option is declared, checked and described; edge.config says which options there are."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[str], str | None]  # None, or what is wrong in words
_META = "smartbin"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an option may hold, and its line of documentation."""

    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    check: Check | None = None
    show: Callable[[str], str] = str  # how a value may be printed
    entry: type = str  # of a table: what its entries are; `dict` for tables that are read elsewhere
    rows: tuple[str, ...] = ()  # of a table: what fills it in the template, in place of examples

    def allowed(self, kind: type) -> str:
        """The range in words, as config.toml's comments and every fault print it."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if kind is bool:
            return "true or false"
        if self.low is not None and self.high is not None:
            return f"{_plain(self.low)}..{_plain(self.high)}{' ' + self.unit if self.unit else ''}"
        return "text"


# What a value of the wrong kind should have been, where the range does not say it.
_KINDS = {int: ", a whole number", float: ", a number"}


def _plain(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e6 else f"{number:.0f}"


def option(default: Any, doc: str, **rule: Any) -> Any:
    """A dataclass field with its rule: bounds and unit, choices, or a check in code."""
    metadata = {_META: Rule(doc, **rule)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a field that `option` made."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """The rule that `option` put on a field."""
    rule = field.metadata[_META]
    assert isinstance(rule, Rule)  # a field declared without option() is a bug, not input
    return rule


def name_fault(text: str) -> str | None:
    """Refuse a name that cannot stand in an MQTT topic."""
    if re.fullmatch(NAME_PATTERN, text):
        return None
    return "must be 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"


def host_fault(text: str) -> str | None:
    """Refuse what cannot be a host name or an address."""
    good = bool(text) and not set(text) & set(" /\t@")
    return None if good else "must be a host name or an address"


class Reader:
    """Builds sections from a parsed TOML document and collects every fault on the way."""

    def __init__(self, document: Mapping[str, Any], lines: Mapping[str, int], *, file: str) -> None:
        self._document = document
        self._lines = lines
        self._file = file
        self._faults: list[tuple[int, str]] = []

    def fault(self, dotted: str, sentence: str) -> None:
        """Add a fault about the key `dotted`, with the line on which it stands."""
        line = self._line_of(dotted)
        where = f"{self._file}:{line} {dotted}" if line else f"{self._file} {dotted}"
        joint = " " if sentence.startswith("=") else ": "
        self._faults.append((line, where + joint + sentence))

    def _line_of(self, dotted: str) -> int:
        """Where a key stands, or the table around it; 0 where neither is found."""
        while dotted and dotted not in self._lines:
            dotted = dotted.rpartition(".")[0]
        return self._lines.get(dotted, 0)

    @property
    def faults(self) -> list[str]:
        """Every fault so far, in the order of the file."""
        return [sentence for _, sentence in sorted(self._faults)]

    def refuse_unknown_sections(self, known: Mapping[str, type]) -> None:
        """A section that nobody reads is a fault: a setting would be silently lost."""
        for name in self._document:
            if name not in known:
                self.fault(name, f"unknown section{nearest(name, list(known))}")

    def section(self, name: str, kind: type) -> Any:
        """One section as its dataclass; options at fault keep their default."""
        return self.table(name, self._document.get(name, {}), kind)

    def table(self, name: str, table: Any, kind: type) -> Any:
        """A table that stands at the dotted `name`, as its dataclass, like a section."""
        if not isinstance(table, dict):
            self.fault(name, f"must be a section, written [{name}]")
            return kind()
        fields = {f.name: f for f in dataclasses.fields(kind)}
        values = {}
        for key, value in table.items():
            dotted = f"{name}.{key}"
            if key not in fields:
                self.fault(dotted, f"unknown key{nearest(key, list(fields))}")
                continue
            sentence = self._refusal(fields[key], value, dotted)
            if sentence:
                self.fault(dotted, sentence)
            else:
                values[key] = _converted(fields[key], value)
        return kind(**values)

    def _refusal(self, field: dataclasses.Field[Any], value: Any, dotted: str) -> str | None:
        rule = rule_of(field)
        default = default_of(field)
        if isinstance(default, dict):
            return self._table_refusal(value, dotted, rule)
        kind = type(default)
        shown = f"= {value!r}: must be {rule.allowed(kind)}"
        if not _is_a(value, kind):
            return f"{shown}{_KINDS.get(kind, '')}"
        if rule.choices and value not in rule.choices:
            return shown + nearest(str(value), list(rule.choices), else_list=False)
        if not _in_bounds(value, rule):
            return shown
        problem = rule.check(value) if rule.check else None
        return f"= {rule.show(value)!r}: {problem}" if problem else None

    def _table_refusal(self, value: Any, dotted: str, rule: Rule) -> str | None:
        if not isinstance(value, dict):
            return f"must be a table, written [{dotted}]"
        for key, entry in value.items():
            problem = _entry_problem(entry, rule)
            if problem:
                self.fault(f"{dotted}.{key}", f"= {entry!r}: {problem}")
        return None


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (isinstance(value, int) or math.isfinite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _converted(field: dataclasses.Field[Any], value: Any) -> Any:
    if isinstance(field.default, float):
        return float(value)
    if isinstance(value, dict):
        rule = rule_of(field)
        good = {k: v for k, v in value.items() if _is_a(v, rule.entry) and _in_bounds(v, rule)}
        return {k: float(v) for k, v in good.items()} if rule.entry is float else good
    return value


def _entry_problem(entry: Any, rule: Rule) -> str | None:
    """What is wrong with one entry of a table, in words."""
    if rule.entry is str:
        return rule.check(entry) if isinstance(entry, str) and rule.check else "must be text"
    if rule.entry is dict:
        return None if isinstance(entry, dict) else "must be a table of its own"
    if not _is_a(entry, rule.entry):
        return f"must be {rule.allowed(rule.entry)}{_KINDS.get(rule.entry, '')}"
    return None if _in_bounds(entry, rule) else f"must be {rule.allowed(rule.entry)}"


def _in_bounds(value: Any, rule: Rule) -> bool:
    return rule.low is None or rule.high is None or rule.low <= value <= rule.high


def nearest(word: str, known: Iterable[str], *, else_list: bool = True) -> str:
    """The known word that was probably meant, or all of them, to end a sentence with."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(sorted(known))}" if else_list else ""


def line_numbers(text: str) -> dict[str, int]:
    """Where each section and key of a TOML text stands: {"trigger.settle_s": 14, ...}.

    tomllib gives no positions. Keys inside inline tables or multi-line strings are not found, and
    their faults name the file and key alone.
    """
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        key = re.match(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=", line)
        if header:
            section = header[1]
            lines.setdefault(section, number)
        elif key:
            name = key[1].strip('"')
            lines.setdefault(f"{section}.{name}" if section else name, number)
    return lines


def template_of(
    sections: Mapping[str, type], *, heading: str, examples: Mapping[str, str] | None = None
) -> str:
    """A file with every option, its default, unit and range; `examples` fill an empty table."""
    parts = [heading]
    for name, kind in sections.items():
        doc = " ".join((kind.__doc__ or "").split())
        parts += ["", *_comment(doc), f"[{name}]"]
        for field in dataclasses.fields(kind):
            parts += _option_lines(name, field, examples or {})
    return "\n".join(parts) + "\n"


def _option_lines(
    section: str, field: dataclasses.Field[Any], examples: Mapping[str, str]
) -> list[str]:
    rule = rule_of(field)
    default = default_of(field)
    if isinstance(default, dict):
        rows = rule.rows or [f'{key} = "{value}"' for key, value in examples.items()]
        return ["", *_comment(rule.doc), f"[{section}.{field.name}]", *rows]
    allowed = rule.allowed(type(default))
    note = rule.doc if allowed == "text" else f"{rule.doc} [{allowed}]"
    return [*_comment(note), f"{field.name} = {json.dumps(default)}"]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="#   ")
