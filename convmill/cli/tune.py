"""``convmill tune``: how this machine computes a model quickest, measured."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.cli.inspect import Model
from convmill.cli.text import echo
from convmill.failure import Failure, as_failures
from convmill.printing import say
from convmill.user_functions import check_function

if TYPE_CHECKING:
    from convmill.train.tune import Tuning


@click.command(cls=Command, short_help="Measure how this machine computes a model quickest.")
@click.argument("source", metavar="MODEL", type=Model())
@click.option(
    "--data",
    "data_name",
    default="mnist",
    show_default=True,
    metavar=options.DATA_METAVAR,
    help="What to train on while measuring: a data set's name, a folder of pictures or an .npz "
    "file, as for 'convmill train'.",
)
@options.batch_size_option
@options.threads_option
def tune(source: str, data_name: str, batch_size: int, threads: int | None) -> None:
    """Measure the ways in which each layer of MODEL could be computed, for some seconds, and
    remember the quickest: whoever trains an equal model on this machine has them from then on.

    MODEL is a .keras file, or SCRIPT.py:FUNCTION, a function that returns a Keras model. It is not
    changed. What is measured on a machine that is busy with other work may mislead.

    \b
    Examples:
      convmill tune digits.keras
      convmill tune net.py:build --data photos/ --batch-size 32
    """
    tuned = _tune(source, data_name, batch_size, threads)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(tuned)
    else:
        say(str(tuned), sys.stdout)


def _tune(source: str, data_name: str, batch_size: int, threads: int | None) -> Tuning:
    import convmill
    from convmill.user_arrays import images_for, labels_for
    from convmill.user_models import compile_model, model_for

    check_function(source)
    dataset = options.load_data(data_name)
    classes = len(dataset.class_names)
    model = model_for(source, dataset.input_shape, classes)
    with as_failures():
        if not model.built:
            model.build((None, *dataset.input_shape))
        compile_model(model, optimizer=None)
        model = convmill.accelerate(model, threads=threads)
        first = slice(batch_size)
        x = images_for(model, dataset.x_train[first], dataset.name)
        y = labels_for(model, dataset.y_train[first], classes)
        try:
            return convmill.tune(model, x, y, batch_size=batch_size, tell=_progress)
        except convmill.NotCovered as gap:
            raise Failure(str(gap)) from gap


def _progress(text: str) -> None:
    echo(f"Measuring {text}", err=True)
