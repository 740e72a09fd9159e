"""``convmill evaluate``: how good a saved model is on the test part of a data set."""

from __future__ import annotations

from pathlib import Path

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.cli.text import echo


@click.command(cls=Command, short_help="Test a saved model.")
@options.model_argument
@click.option(
    "--data",
    "data_name",
    required=True,
    metavar=options.DATA_METAVAR,
    help="What to test on: a data set's name, a folder of pictures or an .npz file, as for "
    "'convmill train'. Only its test images are used.",
)
@options.threads_option
@options.json_option
def evaluate(model_file: Path, data_name: str, threads: int | None, as_json: bool) -> None:
    """Test the saved model in the file MODEL on images that it was not trained on.

    \b
    Example:
      convmill evaluate digits.keras --data mnist
    """
    with options.stdout_for_json(as_json):
        name, images, scores = _evaluate(model_file, data_name, threads)
    if as_json:
        options.print_json(
            {"model": str(model_file), "data": name, "images": images, "test": scores}
        )
    else:
        echo(options.describe_scores(name, images, scores))


def _evaluate(
    model_file: Path, data_name: str, threads: int | None
) -> tuple[str, int, dict[str, float]]:
    """Name of the data, number of images, and the figures by name."""
    import convmill
    from convmill.failure import as_failures
    from convmill.user_arrays import images_for, labels_for
    from convmill.user_models import compile_model, load_model

    model = load_model(model_file)
    dataset = options.load_data(data_name)
    with as_failures():
        compile_model(model, optimizer=None)
        model = convmill.accelerate(model, threads=threads)
    x = images_for(model, dataset.x_test, dataset.name)
    y = labels_for(model, dataset.y_test, len(dataset.class_names))
    with as_failures():
        return dataset.name, len(x), model.evaluate(x, y, verbose=0, return_dict=True)
