"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from convmill.inspection.document import Document, Table
from convmill.inspection.findings import Finding

# What would be markup in a name: ``conv_1_a`` and ``a|b`` are names of layers.
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_|<>[]#"})


def render(document: Document) -> str:
    """The report with all its columns."""
    parts = [f"## {_text(document.title)}"]
    for table in document.tables:
        parts += ["\n".join(_table(table)), *([_text(table.legend)] if table.legend else [])]
    if document.lines:
        parts.append("\n".join(f"- {_text(line)}" for line in document.lines))
    for section in document.sections:
        parts.append(f"### {_text(section.title)}")
        parts += ["\n".join(_group(group)) for group in section.groups()]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield _row(column.title.replace("\n", " ") for column in table.columns)
    yield "|" + "|".join("---:" if column.right else "---" for column in table.columns) + "|"
    for row in table.rows:
        yield _row(row)


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _group(group: tuple[Finding, ...]) -> Iterator[str]:
    """Findings of one reason and remedy."""
    first = group[0]
    for finding in group:
        where = f", {finding.layer}" if finding.layer else ""
        yield f"- **{_text(finding.what)}** ({_text(finding.rule + where)})"
    yield f"  {_text(first.why)}"
    yield f"  *To try:* {_text(first.remedy)}"
    yield f"  *Rule:* {_text(first.threshold)}. {_text(first.source)}."


def _text(text: str) -> str:
    return " ".join(text.split()).translate(_MARKUP)
