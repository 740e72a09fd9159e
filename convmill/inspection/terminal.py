"""A report in a terminal of any width; as text without colours elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from convmill.inspection.document import Document, Table
from convmill.inspection.findings import Finding
from convmill.plain_text import plain_text

TEXT_WIDTH = 118
WIDEST_TEXT = 100  # sentences longer than this are hard to read
UNBROKEN = "\N{NO-BREAK SPACE}"
GAP = 2
ESSENTIAL = 1  # columns up to this rank are never left out
WORTH_A_COLUMN = 9  # those of a higher rank are for the other faces


def render(document: Document, width: int) -> RenderableType:
    """The report for a terminal of ``width`` columns: blocks with an empty line between them."""
    blocks: list[list[RenderableType]] = [[_wrapped(document.title, width, style="bold")]]
    for table in document.tables:
        shown = fitting(table, width)
        blocks.append([_table(shown)])
        if shown.legend:
            blocks.append([_wrapped(shown.legend, width, style="dim")])
    if document.lines:
        blocks.append([_wrapped(line, width) for line in document.lines])
    for section in document.sections:
        title = _wrapped(section.title, width, style="bold")
        groups: list[list[RenderableType]]
        groups = [list(_group(group, width)) for group in section.groups()] or [[]]
        blocks += [[title, *groups[0]], *groups[1:]]
    parts = [part for block in blocks for part in (*block, Text())]
    return Group(*parts[:-1])


def plain(document: Document, width: int = TEXT_WIDTH) -> str:
    """The report as text without colours."""
    return plain_text(render(document, width), width)


def fitting(table: Table, width: int) -> Table:
    """The table without the columns that are too much for ``width``, those of the highest rank."""
    ranks = sorted({min(column.rank, WORTH_A_COLUMN) for column in table.columns}, reverse=True)
    for rank in ranks:
        kept = [index for index, column in enumerate(table.columns) if column.rank <= rank]
        if rank <= ESSENTIAL or _width(table, kept) <= width:
            break
    return replace(
        table,
        columns=tuple(table.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def _width(table: Table, kept: list[int]) -> int:
    """Columns of the terminal that the table takes where no cell is broken."""
    cells = [
        [*table.columns[index].title.split("\n"), *(row[index] for row in table.rows)]
        for index in kept
    ]
    widths = [max(map(cell_len, column)) for column in cells]
    return sum(widths) + GAP * (len(widths) - 1)


def _table(table: Table) -> RichTable:
    # the box puts one more space between columns
    shown = RichTable(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0)
    )
    for column in table.columns:
        justify: JustifyMethod = "right" if column.right else "left"
        shown.add_column(Text(column.title), justify=justify, overflow="fold")
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _group(group: tuple[Finding, ...], width: int) -> Iterator[Text]:
    """Findings of one reason and remedy."""
    first = group[0]
    layers = ", ".join(finding.layer for finding in group if finding.layer)
    yield _wrapped(f"{first.rule}: {layers}" if layers else first.rule, width, style="yellow")
    for finding in group:
        yield _wrapped(finding.what, width, indent=2, style="bold")
    yield _wrapped(f"Why: {first.why}", width, indent=2)
    yield _wrapped(f"Try: {first.remedy}", width, indent=2)
    yield _wrapped(f"Rule: {first.threshold}. {first.source}.", width, indent=2, style="dim")


def _wrapped(line: str, width: int, *, indent: int = 0, style: str = "") -> Text:
    """A sentence on lines that are easily read; a number stays with its per cent sign."""
    filled = textwrap.fill(
        line.replace(" %", f"{UNBROKEN}%"),
        min(width, WIDEST_TEXT),
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
    return Text(filled.replace(UNBROKEN, " "), style=style)
