"""``convmill study``: controlled experiments, listed, shown, run and reported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convmill import settings
from convmill.cli import options
from convmill.cli.help import Group
from convmill.cli.text import echo
from convmill.files import check_destination, write_text_whole
from convmill.printing import say

if TYPE_CHECKING:
    from convmill.study.result import StudyResult

CLUSTERS = ("ray", "dask")

quick_option = click.option("--quick", is_flag=True, help="The quick form: minutes on two cores.")


@click.group(cls=Group, short_help="Compare designs in controlled experiments.")
def study() -> None:
    """Compare designs in controlled experiments: arms that differ in one thing, trained from the
    same initial weights on the same images in the same order, told apart with intervals.

    A study is a TOML file. Some come with convmill ('convmill study list').
    """


@study.command("list", short_help="List the studies that come with convmill.")
def list_() -> None:
    """List the studies that come with convmill, and their questions."""
    from convmill.study import catalogue

    for name in catalogue.names():
        spec = catalogue.load(name)
        echo(f"{name}: {spec.question}")


@study.command(short_help="Show what a study would do.")
@click.argument("name", metavar="NAME|FILE.toml")
@quick_option
def show(name: str, quick: bool) -> None:
    """Show a study's file, its quick form where that is asked for: a beginning for one's own."""
    from convmill.study import catalogue, toml

    if quick:
        say(toml.dumps(catalogue.load(name, quick).source).rstrip(), sys.stdout)
        return
    catalogue.load(name)
    say(catalogue.find(name).read_text(encoding="utf-8").rstrip(), sys.stdout)


@study.command(short_help="Run a study, or what is missing of it.")
@click.argument("name", metavar="NAME|FILE.toml")
@quick_option
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where its runs are kept, and looked for.  [default: studies/NAME]",
)
@click.option(
    "--jobs",
    "workers",
    type=options.Whole(1, settings.MAX_THREADS),
    metavar="N",
    help="How many runs at a time.  [default: one for each core]",
)
@click.option(
    "--cluster",
    type=click.Choice(CLUSTERS),
    help="Run on a cluster of Ray or Dask instead of this machine's cores.",
)
@options.json_option
def run(
    name: str,
    quick: bool,
    folder: Path | None,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Run what is missing of a study, and say what it shows.

    Every finished run is kept at once: stopped at any moment, the same command goes on. Where arms
    or runs fail the others go on, and the command ends with status 1.

    \b
    Examples:
      convmill study run pooling --quick
      convmill study run mine.toml --out results/
    """
    from convmill.failure import Failure, as_failures
    from convmill.study import catalogue

    spec = catalogue.load(name, quick)  # what is wrong with it is told before Keras is loaded
    try:
        with options.stdout_for_json(as_json), as_failures():
            echo(spec.question)
            from convmill.study.experiment import carry_out

            result, where = carry_out(
                name, quick=quick, folder=folder, workers=workers, cluster=cluster
            )
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("The runs that are finished are kept; the same command goes on.")
        raise
    _tell(result, as_json)
    if not as_json:
        echo(f"Kept in {where}; 'convmill study report {where}' makes a page of it")
    if failed := [arm.label for arm in result.arms if arm.failure]:
        raise Failure(f"Arms that failed, or runs of them: {', '.join(failed)}.")


@study.command(short_help="Make a page of what a study's runs show.")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Where to write the page; a file of that name is replaced.  [default: RUN/report.html]",
)
@options.json_option
def report(folder: Path, out: Path | None, as_json: bool) -> None:
    """Say what the runs in the folder RUN show, without running anything, and make a page of it:
    the answer, pictures, tables, how it was run, raw numbers. One file, for the browser.

    With --json no page is made, unless --out names it.

    \b
    Examples:
      convmill study report studies/pooling
      convmill study report studies/pooling --out pooling.html
    """
    if out is not None:
        check_destination(out, (".html", ".htm"), "--out")

    from convmill.study.experiment import read

    result = read(folder)
    _tell(result, as_json)
    page = folder / "report.html" if out is None and not as_json else out
    if page is not None:
        from convmill.page.study import study_page

        write_text_whole(page, study_page(result))
        if not as_json:
            echo(f"Wrote {page}")


def _tell(result: StudyResult, as_json: bool) -> None:
    if as_json:
        options.print_json(result.to_dict())
        return
    from rich.console import Console

    from convmill.inspection import terminal
    from convmill.study.tables import document

    console = Console()
    console.print(terminal.render(document(result), console.width))
