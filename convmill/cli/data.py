"""``convmill data``: which data sets there are, fetching and checking them."""

from __future__ import annotations

import click

from convmill.cli.help import Command, Group
from convmill.cli.text import echo
from convmill.failure import Failure


class DataCommand(Command):
    """Works without Keras, whichever backend that is set to."""

    needs_keras = False


class DataGroup(Group):
    """The commands below."""

    command_class = DataCommand


@click.group(cls=DataGroup, short_help="List, fetch and check data sets.")
def data() -> None:
    """List the data sets known by name, fetch them, and check them.

    They are looked for in $CONVMILL_DATA/NAME, then in Keras' cache (~/.keras/datasets), and
    downloaded only when they are in neither.
    """


def _known(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name as the catalogue spells it."""
    from convmill.data import DataError
    from convmill.data.catalog import known_name

    try:
        return known_name(value)
    except DataError as error:
        raise click.BadParameter(str(error)) from error


_name_argument = click.argument("name", callback=_known)


@data.command("list")
def list_() -> None:
    """List the data sets, and whether they are on this machine."""
    from convmill.data import catalog

    for entry in catalog():
        size = "x".join(map(str, entry.image_shape))
        echo(f"{entry.name}: {entry.title}")
        echo(f"  {entry.train:,} + {entry.test:,} images, {size}, {entry.classes} classes")
        echo(f"  {entry.where}")


@data.command()
@_name_argument
def fetch(name: str) -> None:
    """Make sure that the data set NAME is on this machine; download it where it is not.

    \b
    Example:
      convmill data fetch mnist
    """
    from convmill import data

    try:
        echo(f"{name}: {data.fetch(name)}")
    except data.DataError as error:
        raise Failure(str(error)) from error


@data.command()
@_name_argument
def check(name: str) -> None:
    """Check every file of the data set NAME against its hash. Nothing is downloaded.

    \b
    Example:
      convmill data check mnist
    """
    from convmill import data

    report = data.check(name)
    echo(f"{report.name}: {report.where}")
    for file in report.files:
        echo(f"  {file.path.name}: {file.state}")
        for line in file.detail.splitlines():
            echo(f"    {line}")
    if not report.ok:
        wrong = any(file.state == "wrong" for file in report.files)
        first = "Remove the files that are wrong; then" if wrong else "Not on this machine;"
        raise Failure(f"{first} 'convmill data fetch {name}' downloads {name}.")
