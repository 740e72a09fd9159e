"""What a report says, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from convmill.inspection.findings import Finding


@dataclass(frozen=True)
class Column:
    """A column's title, its rank, whether it holds numbers (set to the right), and a note on what
    it shows. A terminal that is too narrow leaves out the columns of the highest rank first."""

    title: str
    rank: int = 0
    right: bool = True
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under ``columns``."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def legend(self) -> str:
        """The notes on the columns, each once."""
        return "; ".join(dict.fromkeys(column.note for column in self.columns if column.note))


@dataclass(frozen=True)
class Section:
    """Findings under a title."""

    title: str
    findings: tuple[Finding, ...]

    def groups(self) -> Iterator[tuple[Finding, ...]]:
        """Findings that follow one another and have the same reason and remedy."""
        for _, group in groupby(self.findings, key=lambda each: (each.rule, each.why, each.remedy)):
            yield tuple(group)


@dataclass(frozen=True)
class Document:
    """A report: tables, then lines of text, then findings."""

    title: str
    tables: tuple[Table, ...]
    lines: tuple[str, ...]
    sections: tuple[Section, ...]
