"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from convmill.inspection.document import Document, Table
from convmill.inspection.findings import Finding

# What would be markup in a name: ``conv_1_a`` and ``a|b`` are names of layers.
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_|<>[]#"})


def render(document: Document) -> str:
    """The report with all its columns."""
    parts = [f"## {escaped(document.title)}"]
    for table in document.tables:
        parts += [table_markdown(table), *([escaped(table.legend)] if table.legend else [])]
    if document.lines:
        parts.append("\n".join(f"- {escaped(line)}" for line in document.lines))
    for section in document.sections:
        parts.append(f"### {escaped(section.title)}")
        parts += ["\n".join(_group(group)) for group in section.groups()]
    return "\n\n".join(parts) + "\n"


def table_markdown(table: Table) -> str:
    """A table, a line for each row."""
    return "\n".join(_table(table))


def _table(table: Table) -> Iterator[str]:
    yield _row(column.title.replace("-\n", "-") for column in table.columns)
    yield "|" + "|".join("---:" if column.right else "---" for column in table.columns) + "|"
    for row in table.rows:
        yield _row(row)


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def _group(group: tuple[Finding, ...]) -> Iterator[str]:
    """Findings of one reason and remedy."""
    first = group[0]
    for finding in group:
        where = f", {finding.layer}" if finding.layer else ""
        yield f"- **{escaped(finding.what)}** ({escaped(finding.rule + where)})"
    yield f"  {escaped(first.why)}"
    yield f"  *To try:* {escaped(first.remedy)}"
    yield f"  *Rule:* {escaped(first.threshold)}. {escaped(first.source)}."


def escaped(text: str) -> str:
    """A text in one line, in which nothing is markup."""
    return " ".join(text.split()).translate(_MARKUP)
