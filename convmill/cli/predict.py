"""``convmill predict``: what a saved model sees in pictures."""

from __future__ import annotations

from pathlib import Path

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.cli.text import echo
from convmill.failure import Failure


@click.command(cls=Command, short_help="Tell what is in a picture.")
@options.model_argument
@click.argument(
    "pictures",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@options.invert_option
@options.center_option
@click.option(
    "--top",
    type=options.Whole(min=1),
    metavar="N",
    default=3,
    show_default=True,
    help="How many classes to show.",
)
@options.json_option
def predict(
    model_file: Path,
    pictures: tuple[Path, ...],
    invert: bool | None,
    center: bool,
    top: int,
    as_json: bool,
) -> None:
    """Tell what the saved model in the file MODEL sees in PNG or JPEG pictures.

    Each picture is made as large as the model reads, and grey or coloured as it wants.

    \b
    Examples:
      convmill predict digits.keras seven.png
      convmill predict digits.keras *.jpg --center
    """
    from convmill.cli.predicting import predictions

    with options.stdout_for_json(as_json):
        found, failed = predictions(model_file, pictures, invert=invert, center=center, top=top)
    if as_json:
        options.print_json([each.to_json() for each in found])
    else:
        for each in found:
            echo(str(each))
    for message in failed:
        echo(message, err=True)
    if failed:
        raise Failure(f"{len(failed)} of {len(pictures)} pictures could not be used.")
