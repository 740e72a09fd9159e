"""Printing on streams of any encoding: what one cannot hold is said in plain letters.

Standard output is not UTF-8 in many consoles, pipes and log files, and Python then raises.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from typing import TextIO

# An error handler for encoding, by the name that streams know it by.
PLAIN = "convmill.plain"

# Where Unicode itself knows of no simpler spelling.
_EQUIVALENTS = {
    **dict.fromkeys("─━‐‑‒–—―−", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("“”„", '"'),
    "×": "x",
    "·": "*",
    "•": "*",
    "÷": "/",
    "⁄": "/",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "←": "<-",
    "≈": "~",
    "µ": "u",
    "μ": "u",
    "ß": "ss",
}


def printable(text: str, stream: TextIO | None) -> str:
    """``text`` with plain letters in the place of those that ``stream`` cannot hold."""
    encoding = getattr(stream, "encoding", None)
    if not isinstance(encoding, str):  # not known, or a stream of text that encodes nothing
        return text
    return text.encode(encoding, PLAIN).decode(encoding)


def say(text: str, stream: TextIO | None) -> None:
    """Prints a line at once; nothing where the process has no such stream."""
    if stream is not None:
        print(printable(text, stream), file=stream, flush=True)


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Standard output and standard error write plain letters where they would raise."""
    strict = [
        stream
        for stream in (sys.stdout, sys.stderr)
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict"
    ]
    for stream in strict:
        stream.reconfigure(errors=PLAIN)
    try:
        yield
    finally:
        for stream in strict:
            with contextlib.suppress(OSError, ValueError):  # its reader has left, or it is closed
                stream.reconfigure(errors="strict")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(map(_plain_letter, letters)), error.end


def _plain_letter(letter: str) -> str:
    if unicodedata.combining(letter):
        return ""
    parts = letter if letter in _EQUIVALENTS else unicodedata.normalize("NFKD", letter)
    plain = "".join(_EQUIVALENTS.get(each, each) for each in parts)
    return plain.encode("ascii", "ignore").decode() or "?"


codecs.register_error(PLAIN, _replace)


def line_width(otherwise: int) -> int:
    """Letters in a line of the terminal that standard output is, ``otherwise`` of anything else."""
    with contextlib.suppress(AttributeError, ValueError):  # a stream of somebody's own, or closed
        if sys.stdout.isatty():
            return shutil.get_terminal_size().columns
    return otherwise
