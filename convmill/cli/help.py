"""What commands have in common: help that fits a narrow terminal, a look at the environment.

click's own help never goes under 50 columns.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

import click

from convmill import backends, settings
from convmill.runtime import host

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
    """A command whose help fits, and that looks at the environment before it begins."""

    context_class = Context
    needs_keras = True

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; UsageError where an environment variable stands in its way."""
        try:
            settings.check()
            host.machine()  # whether there is one of that name
            if self.needs_keras:
                backends.check()
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return super().invoke(ctx)


class Group(click.Group):
    """A group whose help fits, and that of its commands."""

    context_class = Context
    command_class = Command
