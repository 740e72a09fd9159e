"""Help texts that fit a narrow terminal too; click alone never goes under 50 columns."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import click

WIDEST = 80
NARROWEST = 24
MARGIN = 2
# In a narrower terminal an option and its text stand below each other, not side by side.
SIDE_BY_SIDE = 60
STEP = 2


class Formatter(click.HelpFormatter):
    """click's formatter at the terminal's real width."""

    def __init__(
        self,
        indent_increment: int = MARGIN,
        width: int | None = None,
        max_width: int | None = None,
    ) -> None:
        if width is None:
            width = max(NARROWEST, min(shutil.get_terminal_size().columns, WIDEST) - MARGIN)
        super().__init__(indent_increment, width, max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = MARGIN
    ) -> None:
        """Writes terms and their texts in two columns, or below each other."""
        if self.width < SIDE_BY_SIDE:
            col_max = STEP
        super().write_dl(rows, col_max, col_spacing)


class Context(click.Context):
    """A context that writes its help with our formatter."""

    formatter_class = Formatter


class Command(click.Command):
    """A command whose help fits."""

    context_class = Context


class Group(click.Group):
    """A group whose help fits, and that of its commands."""

    context_class = Context
    command_class = Command
