"""A report as HTML for notebooks: nothing loaded, and the colours of the page it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from convmill.inspection.document import Document, Section, Table
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
        yield "<div class='wide'><table>" + "".join(_table(table)) + "</table></div>"
        if table.legend:
            yield f"<p class='rule'>{escape(table.legend)}</p>"
    for line in document.lines:
        yield f"<p>{escape(line)}</p>"
    for section in document.sections:
        yield from _section(section)


def _table(table: Table) -> Iterator[str]:
    yield "<thead>" + _row("th", [column.title for column in table.columns], table) + "</thead>"
    yield "<tbody>"
    for row in table.rows:
        yield _row("td", row, table)
    yield "</tbody>"


def _row(tag: str, cells: list[str] | tuple[str, ...], table: Table) -> str:
    kinds = [" class='number'" if column.right else "" for column in table.columns]
    pairs = zip(kinds, cells, strict=True)
    shown = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in pairs)
    return f"<tr>{''.join(shown)}</tr>"


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
