"""``convmill resume``: goes on with a training that was stopped."""

from __future__ import annotations

from pathlib import Path

import click

from convmill.cli import options
from convmill.cli.help import Command


@click.command(cls=Command, short_help="Go on with a training that was stopped.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@options.json_option
def resume(folder: Path, as_json: bool) -> None:
    """Go on with the training whose checkpoints lie in FOLDER, from the newest one.

    It ends with the same weights and history, bit for bit, as if it had never been stopped,
    whatever has stopped it.

    \b
    Examples:
      convmill train --checkpoint run/ --out digits.keras
      convmill resume run/
    """
    from convmill.cli.run_file import read_run
    from convmill.cli.training import run

    job = read_run(folder, quiet=as_json)
    with options.stdout_for_json(as_json):
        result = run(job)
    if as_json:
        options.print_json(result)
