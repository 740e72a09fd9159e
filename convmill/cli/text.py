"""Printing: lines broken between words where a terminal is narrower, whole ones elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap

from convmill.printing import say


def echo(text: str, err: bool = False) -> None:
    """Prints lines on standard output, or on standard error, broken to fit a terminal."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None and stream.isatty():
        text = wrapped(text, shutil.get_terminal_size().columns)
    # Where errors cannot be told the exit code still tells of them.
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():
        say(text, stream)


def wrapped(text: str, columns: int) -> str:
    """Lines of at most ``columns``, where no word is longer; the rest of a line is indented."""
    return "\n".join(_wrapped_line(line, columns) for line in text.split("\n"))


def _wrapped_line(line: str, columns: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
