"""``convmill show``: the commands that draw pictures."""

from __future__ import annotations

import click

from convmill.cli.help import Group
from convmill.cli.show_model import field, filters, maximize, patch, responses
from convmill.cli.show_scores import confusion, curves, mistakes, reliability


@click.group(cls=Group, short_help="Draw what a model holds, sees and gets wrong.")
def show() -> None:
    """Draw what a model holds, what it sees, how it learned, and what it gets wrong.

    Each command writes one PNG or SVG picture and prints where it is.
    """


for command in (
    *(filters, responses, patch, maximize, field),
    *(curves, confusion, mistakes, reliability),
):
    show.add_command(command)
