"""The command ``convmill`` itself, and how each kind of failure ends.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
Where the reader of a pipe leaves (``| head``), the command ends without a word, with 1.
Nothing here imports Keras or NumPy, so that help and wrong arguments answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

import click

from convmill.cli.bench import bench
from convmill.cli.data import data
from convmill.cli.evaluate import evaluate
from convmill.cli.help import Group
from convmill.cli.inspect import inspect
from convmill.cli.predict import predict
from convmill.cli.resume import resume
from convmill.cli.show import show
from convmill.cli.study import study
from convmill.cli.text import echo
from convmill.cli.train import train
from convmill.cli.tune import tune
from convmill.failure import describe
from convmill.printing import plain_streams


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with 'convmill train', then 'convmill COMMAND --help'.",
)
@click.version_option(package_name="convmill", message="%(prog)s %(version)s")
def cli() -> None:
    """Train small image classifiers on the CPU you have, compiled.

    convmill turns a Keras convnet into one native program and trains that. The models it
    writes are ordinary .keras files.
    """


for command in (train, resume, evaluate, predict, inspect, tune, show, study, data, bench):
    cli.add_command(command)


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command line (of the process, unless ``arguments`` are given); the exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    warnings.showwarning = _show_warning
    with plain_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="convmill", standalone_mode=False)
        _flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(shown.getvalue().rstrip("\n"), err=True)
        return error.exit_code
    except click.Abort as error:  # what click makes of it
        raise KeyboardInterrupt from error
    except OSError as error:
        _forget_output()
        if not isinstance(error, BrokenPipeError):
            echo(f"Error: {describe(error)}", err=True)
        return 1
    except MemoryError as error:
        echo(f"Error: {error}" if str(error) else "Error: there is not enough memory.", err=True)
        return 1


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _forget_output() -> None:
    """Sends what is still to be written nowhere; Python would complain of it at the exit."""
    with contextlib.suppress(AttributeError, OSError):  # a stream that is no file's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    echo(f"Warning: {message}", err=True)
