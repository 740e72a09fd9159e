"""Markdown of the page: tables, prose, and where a part's figures are from."""

from __future__ import annotations

import re
import textwrap

from benchmarks.record import Record
from benchmarks.report import Grid, markdown_grid, versions

LINE = 100


def prose(text: str) -> str:
    """A paragraph, in lines."""
    return textwrap.fill(text, LINE, break_long_words=False, break_on_hyphens=False)


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it."""
    return "\n\n".join([f"## {title}", *parts])


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row holds the headings."""
    return markdown_grid(Grid(rows))


def source(record: Record) -> str:
    """The command, the code, the machine and the versions of a record."""
    whole = re.sub(r"(--\S+) (?!--)", r"\1\0", record.command)  # an option and what it is told
    wrapped = textwrap.wrap(whole, LINE - 4, break_long_words=False, break_on_hyphens=False)
    command = [line.replace("\0", " ") for line in wrapped]
    here, code = record.machine, record.code or "unknown"
    where = (
        f"{here['date']}, code `{code.removesuffix('+')}`"
        f"{' with changes that are in no commit' if code.endswith('+') else ''}; {here['cpu']}, "
        f"{here['cores']} cores, {here['system']}; convmill compiles for {record.target}; "
        f"{', '.join(['Python ' + here['python'], *versions(record.versions.values())])}."
    )
    return "```sh\n" + " \\\n  ".join(command) + "\n```\n\n" + prose(where)
