"""Options that several benchmark commands have."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import machine
from convmill.runtime import host


class Count(click.IntRange):
    """A whole number; help texts say N."""

    name = "n"


class Seconds(click.FloatRange):
    """A time; help texts say SECONDS."""

    name = "seconds"


repeats_option = click.option("--repeats", type=Count(1), default=5, help="Interleaved rounds.")
processes_option = click.option(
    "--repeats", type=Count(1), default=5, show_default=True, help="Processes."
)
threads_option = click.option(
    "--threads",
    type=Count(1, machine.available_cores()),
    default=min(2, machine.available_cores()),
    help="Threads of every peer.",
)
target_option = click.option(
    "--target",
    type=click.Choice(list(host.targets()), case_sensitive=False),
    envvar="CONVMILL_TARGET",
    help="Instructions that convmill is held to; its peers use all that there are.",
)


def _new_file(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the minutes of measuring, not after them."""
    if file is not None and not file.resolve().parent.is_dir():
        raise click.BadParameter(f"there is no such folder. Received: {str(file)!r}.")
    return file


json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_new_file,
    help="Write every raw sample here, with the command, the machine and the versions.",
)
