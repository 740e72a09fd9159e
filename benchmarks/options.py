"""Options that several benchmark commands have."""

from __future__ import annotations

import click

from benchmarks import machine
from convmill.runtime import host

repeats_option = click.option(
    "--repeats", type=click.IntRange(1), default=5, help="Interleaved rounds."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, machine.available_cores()),
    default=min(2, machine.available_cores()),
    help="Threads of every peer.",
)
target_option = click.option(
    "--target",
    type=click.Choice(list(host.targets()), case_sensitive=False),
    envvar="CONVMILL_TARGET",
    help="Instructions that convmill is held to; its peers use all that there are.",
)
