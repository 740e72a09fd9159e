"""What several commands share: options, the data that ``--data`` names, and printing JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convmill import settings
from convmill.failure import Failure
from convmill.plain_json import json_text
from convmill.printing import say
from convmill.user_models import problem_of

if TYPE_CHECKING:
    from convmill.data import Dataset

DATA_METAVAR = "NAME|FOLDER|FILE.npz"
MOST_IMAGES = 10**9


class Whole(click.IntRange):
    """A whole number within limits; what is none is told in the words of ``check_whole``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; BadParameter where the text is none, or out of range."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            limits = (
                f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            )
            raise click.BadParameter(
                f"It must be a whole number {limits}. Received: {value}", ctx, param
            ) from error


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)
threads_option = click.option(
    "--threads",
    type=Whole(1, settings.MAX_THREADS),
    metavar="N",
    help="CPU threads to compute with.  [default: one for each core]",
)
batch_size_option = click.option(
    "--batch-size",
    type=Whole(1, MOST_IMAGES),
    metavar="N",
    default=64,
    show_default=True,
    help="Images in one step of learning.",
)
invert_option = click.option(
    "--invert/--no-invert",
    default=None,
    help="Swap dark and light: MNIST's digits are white on black, a pen's are black on white.  "
    "[default: swap a grey picture whose background is not that of the training data]",
)
center_option = click.option(
    "--center",
    is_flag=True,
    help="Place the ink as MNIST does: 20 pixels long, its centre of mass in the middle of 28x28.",
)
model_argument = click.argument(
    "model_file", metavar="MODEL", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)


def load_data(name: str) -> Dataset:
    """The data set of that name, or the one in that folder or file.

    Raises:
        click.BadParameter: neither a known name nor a path that exists.
        Failure: it cannot be had, or what is there is wrong.
    """
    from convmill import data

    try:
        return data.load(name)
    except data.DataError as error:
        if _is_somewhere(name):
            raise Failure(str(error)) from error
        raise click.BadParameter(str(error), param_hint="--data") from error


def _is_somewhere(name: str) -> bool:
    from convmill.data.catalog import known_name
    from convmill.data.dataset import DataError

    if settings.expanded(name).exists():
        return True
    try:
        known_name(name)
    except DataError:
        return False
    return True


@contextlib.contextmanager
def stdout_for_json(as_json: bool) -> Iterator[None]:
    """Keeps stdout for the JSON object: whatever else would be printed goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def print_json(value: object) -> None:
    """Prints JSON that every reader takes."""
    say(json_text(value), sys.stdout)


def describe_scores(data_name: str, images: int, scores: dict[str, float]) -> str:
    """The figures of ``evaluate`` in one line."""
    loss_first = sorted(scores.items(), key=lambda score: "loss" not in score[0])
    figures = ", ".join(f"{name} {value:.4f}" for name, value in loss_first)
    return f"Test on {images:,} images of {data_name}: {figures}"


def check_model_source(source: str, parameter: str) -> None:
    """Raises click.BadParameter unless ``source`` names FILE.keras or SCRIPT.py:FUNCTION, and the
    file can be read."""
    if problem := problem_of(source):
        raise click.BadParameter(problem, param_hint=parameter)
