"""What a report says, as plain data, and the four faces in which it is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from convmill.inspection import html, markdown, terminal
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


class Report(ABC):
    """Anything that can be told as a Document: prints as a table, shows itself in notebooks."""

    @abstractmethod
    def document(self) -> Document:
        """What there is to say."""

    @abstractmethod
    def dead_ends(self) -> tuple[str, ...]:
        """A sentence for each design whose shapes come to an end: it cannot be built."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, with units in the keys, fit for JSON."""

    def markdown(self) -> str:
        """The report as Markdown, with all its columns."""
        return markdown.render(self.document())

    def _repr_html_(self) -> str:
        return html.render(self.document())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield terminal.render(self.document(), options.max_width)

    def __str__(self) -> str:
        return terminal.plain(self.document())

    __repr__ = __str__
