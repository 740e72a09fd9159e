"""``convmill bench``: the project's own benchmark, on this machine.

It is a package of its own, ``benchmarks``: a checkout has it beside ``convmill``, a wheel inside.
It takes this process over, so that it is the same command as ``python -m benchmarks`` in all else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import convmill
from convmill.cli.help import Command
from convmill.failure import Failure

PROGRAM = "from benchmarks.__main__ import main; main(prog_name='convmill bench')"


@click.command(
    cls=Command,
    short_help="Measure speed beside other frameworks.",
    add_help_option=False,  # the benchmark has its own
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure how fast convmill trains and evaluates, beside Keras, JAX, PyTorch and TensorFlow.

    Those of them that are installed beside convmill take part, or in another environment:
    --peers-python FILE names its Python. Minutes on a machine at rest.

    \b
    Example:
      convmill bench --nets notebook,resnet-8
    """
    if os.name == "nt":
        raise Failure("On Windows the benchmark's processes cannot talk to one another.")
    root = benchmark_folder(Path(convmill.__file__).parent)
    if root is None:
        raise Failure(
            "This installation has no benchmark. Run it in a checkout of the project, or install "
            "convmill's wheel."
        )
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-c", PROGRAM, "--peers-python", sys.executable, *arguments]
    os.execve(sys.executable, command, environment)


def benchmark_folder(package: Path) -> Path | None:
    """Where ``benchmarks`` lies, as a wheel or a checkout has it, given our package's folder."""
    for folder in (package / "bench", package.parent):
        if (folder / "benchmarks" / "workers").is_dir():
            return folder
    return None
