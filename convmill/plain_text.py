"""What rich would print, as text."""

from __future__ import annotations

import sys
from io import StringIO

from rich.console import Console, RenderableType

from convmill.printing import printable


def plain_text(what: RenderableType, width: int) -> str:
    """``what`` in lines of at most ``width`` letters, without colours and blanks at their ends.

    Also in notebooks, where rich would otherwise show it by itself and leave the text empty. It
    can be printed, whatever standard output can hold.
    """
    out = StringIO()
    Console(file=out, width=width, no_color=True, force_terminal=False, force_jupyter=False).print(
        what
    )
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return printable(text, sys.stdout)
