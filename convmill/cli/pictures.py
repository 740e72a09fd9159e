"""What all ``convmill show`` commands share: their options and how the picture is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convmill.cli.text import echo
from convmill.failure import as_failures
from convmill.files import check_destination, write_whole

if TYPE_CHECKING:
    from convmill.view.style import Picture

SUFFIXES = (".png", ".svg")

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.png|FILE.svg",
    help="Where to write the picture; a file of that name is replaced.  "
    "[default: here, named after the first argument and what is shown]",
)
dark_option = click.option("--dark", is_flag=True, help="Draw on a dark ground.")
layer_option = click.option(
    "--layer", metavar="NAME", help="Which layer to look at.  [default: the first convolution]"
)


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--out`` and ``--dark``."""
    return out_option(dark_option(command))


def destination(out: Path | None, named_after: Path, what: str) -> Path:
    """Where the picture goes: ``out``, or ``<stem of named_after>-<what>.png`` in this folder.

    Raises:
        click.BadParameter: no PNG or SVG file can be written under this name.
    """
    path = Path(f"{named_after.stem}-{what}.png") if out is None else out
    check_destination(path, SUFFIXES, "--out")
    return path


def draw(path: Path, make: Callable[[], Picture]) -> None:
    """Writes the picture that ``make`` draws to ``path``, whole or not at all, and prints the path.

    Raises:
        Failure: what the user asked for cannot be drawn, or the file cannot be written.
    """
    with as_failures():
        picture = make()
    write_whole(path, lambda file: picture.savefig(file, format=path.suffix[1:].lower()))
    echo(str(path))
