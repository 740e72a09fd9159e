"""What rich would print, as text."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType


def plain_text(what: RenderableType, width: int) -> str:
    """``what`` in lines of at most ``width`` letters, without colours and blanks at their ends.

    Also in notebooks, where rich would otherwise show it by itself and leave the text empty.
    """
    out = StringIO()
    Console(
        file=out, width=width, no_color=True, force_terminal=False, force_jupyter=False
    ).print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
