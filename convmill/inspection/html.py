"""A report as HTML for notebooks: nothing loaded, and the colours of the page it stands in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from convmill.inspection.document import Column, Document, Section, Table
from convmill.inspection.findings import Finding

# Lines are the text's own colour, made faint, so that they show on white and on black.
_STYLE = """
.convmill-report { max-width: 60em; line-height: 1.4; }
.convmill-report .wide { overflow-x: auto; }
.convmill-report table {
  border-collapse: collapse; margin: 0.6em 0; font-size: 0.9em; color: inherit; }
.convmill-report th, .convmill-report td {
  padding: 0.2em 0.6em; text-align: left; background: none; color: inherit; white-space: nowrap; }
.convmill-report th {
  vertical-align: bottom; white-space: pre; border-bottom: 1px solid currentColor; }
.convmill-report tr { background: none; }
.convmill-report td.number, .convmill-report th.number {
  text-align: right; font-variant-numeric: tabular-nums; }
.convmill-report .finding { margin: 0.6em 0; padding-left: 0.8em; border-left: 3px solid #cc7a00; }
.convmill-report p { margin: 0.15em 0; }
.convmill-report .section { margin-top: 0.8em; }
.convmill-report .rule { opacity: 0.75; font-size: 0.9em; }
"""


def render(document: Document) -> str:
    """The report with all its columns, as one ``div``."""
    return "\n".join(["<div class='convmill-report'>", *_parts(document), "</div>"])


def _parts(document: Document) -> Iterator[str]:
    yield f"<style>{_STYLE}</style>"
    yield f"<p><strong>{escape(document.title)}</strong></p>"
    for table in document.tables:
        yield f"<div class='wide'>{table_html(table)}</div>"
        if table.legend:
            yield f"<p class='rule'>{escape(table.legend)}</p>"
    for line in document.lines:
        yield f"<p>{escape(line)}</p>"
    for section in document.sections:
        yield from _section(section)


def table_html(table: Table, *, caption: str = "", named_rows: bool = False) -> str:
    """One ``table``, its headers marked as such for those who hear it; ``named_rows``: the first
    cell of each row is the header of the row."""
    head = _row(table, [column.title for column in table.columns], ["col"] * len(table.columns))
    scopes = ["row" if named_rows else "", *[""] * (len(table.columns) - 1)]
    body = "".join(_row(table, row, scopes) for row in table.rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(table: Table, cells: Sequence[str], scopes: Sequence[str]) -> str:
    """Cells; those with a scope are headers, of their column or row."""
    shown = map(_cell, table.columns, cells, scopes)
    return f"<tr>{''.join(shown)}</tr>"


def _cell(column: Column, text: str, scope: str) -> str:
    kind = " class='number'" if column.right else ""
    if scope:
        return f"<th scope='{scope}'{kind}>{escape(text)}</th>"
    return f"<td{kind}>{escape(text)}</td>"


def _section(section: Section) -> Iterator[str]:
    yield f"<p class='section'><strong>{escape(section.title)}</strong></p>"
    for group in section.groups():
        yield "<div class='finding'>" + "".join(_group(group)) + "</div>"


def _group(group: tuple[Finding, ...]) -> Iterator[str]:
    """Findings of one reason and remedy."""
    first = group[0]
    for finding in group:
        where = f", {finding.layer}" if finding.layer else ""
        name = f"<span class='rule'>{escape(finding.rule + where)}</span>"
        yield f"<p><strong>{escape(finding.what)}</strong> {name}</p>"
    yield f"<p>{escape(first.why)}</p><p><em>To try:</em> {escape(first.remedy)}</p>"
    yield f"<p class='rule'>{escape(first.threshold)}. {escape(first.source)}.</p>"
