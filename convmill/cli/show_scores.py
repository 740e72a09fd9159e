"""``convmill show``, second half: how a model learned, and what it gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.cli.pictures import destination, draw, picture_options
from convmill.cli.pixels import pixels_option
from convmill.limits import BINS, IMAGES, MOST_BINS, MOST_IMAGES

test_data_option = click.option(
    "--data",
    "data_name",
    required=True,
    metavar=options.DATA_METAVAR,
    help="What to test on: a data set's name, a folder of pictures or an .npz file, as for "
    "'convmill train'. Only its test images are used.",
)


@click.command(cls=Command, short_help="How loss and metrics went on.")
@click.argument(
    "history_files",
    metavar="HISTORY...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--metric", metavar="NAME", help="Draw this figure alone.  [default: loss and each metric]"
)
@click.option(
    "--mean",
    is_flag=True,
    help="Draw several files as runs of one design: thin lines around their mean.",
)
@picture_options
def curves(
    history_files: tuple[Path, ...], metric: str | None, mean: bool, out: Path | None, dark: bool
) -> None:
    """Draw learning curves, with the gap between training and validation.

    HISTORY is a .json file that 'convmill train --history' wrote, or a .csv file of Keras'
    CSVLogger. Several of them have a colour each and go by the names of their files.

    \b
    Examples:
      convmill train --validate --history run.json
      convmill show curves run.json --out curves.png
      convmill show curves seed-1.json seed-2.json seed-3.json --mean
    """
    path = destination(out, history_files[0], "curves")

    from convmill.cli.histories import names_of, read_history

    histories = [read_history(file) for file in history_files]
    names = None if mean else names_of(history_files)

    from convmill import view

    draw(path, lambda: view.learning_curves(histories, names=names, metric=metric, dark=dark))


@click.command(cls=Command, short_help="Which classes are taken for which.")
@options.model_argument
@test_data_option
@pixels_option
@picture_options
def confusion(model_file: Path, data_name: str, pixels: Any, out: Path | None, dark: bool) -> None:
    """Draw the confusion matrix of the saved model in the file MODEL.

    \b
    Example:
      convmill show confusion digits.keras --data mnist --out confusion.png
    """
    path = destination(out, model_file, "confusion")
    test = _load(model_file, data_name, pixels)

    from convmill import view

    draw(path, lambda: view.confusion_matrix(*test, dark=dark))


@click.command(cls=Command, short_help="The most wrong images, or the least sure.")
@options.model_argument
@test_data_option
@pixels_option
@click.option(
    "--least-sure",
    "unsure",
    is_flag=True,
    help="Draw the images whose two likeliest classes are nearest to each other, right or wrong.",
)
@click.option(
    "--most",
    type=click.IntRange(1, MOST_IMAGES),
    metavar="N",
    default=IMAGES,
    show_default=True,
    help="Draw at most so many images.",
)
@picture_options
def mistakes(
    model_file: Path,
    data_name: str,
    pixels: Any,
    unsure: bool,
    most: int,
    out: Path | None,
    dark: bool,
) -> None:
    """Draw the images that the saved model in the file MODEL gets most wrong.

    The less probable the model thinks the true class, the more wrong it is.

    \b
    Examples:
      convmill show mistakes digits.keras --data mnist
      convmill show mistakes digits.keras --data mnist --least-sure
    """
    path = destination(out, model_file, "least-sure" if unsure else "mistakes")
    test = _load(model_file, data_name, pixels)

    from convmill import view

    picture = view.least_sure if unsure else view.mistakes
    draw(path, lambda: picture(*test, most=most, dark=dark))


@click.command(cls=Command, short_help="Whether the model is as often right as it is sure.")
@options.model_argument
@test_data_option
@pixels_option
@click.option(
    "--bins",
    type=click.IntRange(1, MOST_BINS),
    metavar="N",
    default=BINS,
    show_default=True,
    help="Into how many bins of equal width confidence is divided.",
)
@picture_options
def reliability(
    model_file: Path, data_name: str, pixels: Any, bins: int, out: Path | None, dark: bool
) -> None:
    """Draw the reliability diagram of the saved model in the file MODEL.

    \b
    Example:
      convmill show reliability digits.keras --data mnist
    """
    path = destination(out, model_file, "reliability")
    test = _load(model_file, data_name, pixels)

    from convmill import view

    draw(path, lambda: view.reliability(test.model, test.x, test.y, bins=bins, dark=dark))


class TestSet(NamedTuple):
    """A model and what it is tested on, in the order in which the pictures take them."""

    model: Any
    x: Any
    y: Any
    class_names: tuple[str, ...]


def _load(model_file: Path, data_name: str, pixels: Any) -> TestSet:
    """The model, and the test part of the data as it reads it.

    Raises:
        click.BadParameter, Failure: model or data cannot be had or do not fit each other.
    """
    from convmill.user_arrays import class_names_for, images_for, labels_for
    from convmill.user_models import load_model

    model = load_model(model_file)
    dataset = options.load_data(data_name)
    x = images_for(model, dataset.x_test, dataset.name, pixels)
    y = labels_for(model, dataset.y_test, len(dataset.class_names))
    return TestSet(model, x, y, class_names_for(model, dataset.class_names))
