"""``convmill train``: its options, and what can be told wrong before anything is loaded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import click

from convmill.cli import options
from convmill.cli.errors import describe, nearest
from convmill.cli.help import Command

OPTIMIZERS = ("rmsprop", "adam", "adamw", "sgd")
LARGEST_SEED = 2**32 - 1


class OptimizerName(click.Choice[str]):
    """One of the optimizers; a misspelt one names the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The optimizer's name; BadParameter where there is none of that name."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            message = f"{error.message}{nearest(str(value), OPTIMIZERS)}"
            raise click.BadParameter(message, ctx, param) from error


@click.command(cls=Command, short_help="Train a model and say how good it is.")
@click.option(
    "--data",
    "data_name",
    metavar=options.DATA_METAVAR,
    help="What to learn from: a data set's name (see 'convmill data list'), a folder of pictures "
    "with one folder for each class, or an .npz file with x_train, y_train, x_test and y_test.  "
    "[default: mnist, or digits where it cannot be had]",
)
@click.option(
    "--model",
    metavar="FILE.keras|SCRIPT.py:FUNCTION",
    help="What to train: a saved model, which goes on from where it stopped, or a function that "
    "returns a Keras model (it may take input_shape and classes).  [default: a small convnet]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    default=5,
    show_default=True,
    help="How often to go through all the images.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    default=64,
    show_default=True,
    help="How many images to look at before each step of learning.",
)
@click.option(
    "--optimizer",
    type=OptimizerName(OPTIMIZERS, case_sensitive=False),
    help="How a step changes the weights.  [default: the model's own, or rmsprop]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    help="The same seed gives the same model, bit for bit.  [default: drawn, and shown]",
)
@options.threads_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.keras",
    help="Where to save the trained model.  [default: it is not saved]",
)
@click.option("--force", is_flag=True, help="Replace the file that --out names.")
@options.json_option
def train(
    data_name: str | None,
    model: str | None,
    epochs: int,
    batch_size: int,
    optimizer: str | None,
    seed: int | None,
    threads: int | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a model on images, and test it on images that it has not seen.

    \b
    Examples:
      convmill train --out digits.keras
      convmill train --data photos/ --epochs 20
      convmill train --data set.npz --model net.py:build
    """
    if out is not None:
        _check_out(out, force)
    if model is not None:
        _check_model(model)

    from convmill.cli.training import Job, run

    if seed is None:
        seed = random.randrange(LARGEST_SEED)
    job = Job(data_name, model, epochs, batch_size, optimizer, seed, threads, out, quiet=as_json)
    with options.stdout_for_json(as_json):
        result = run(job)
    if as_json:
        options.print_json(result)


def _check_out(out: Path, force: bool) -> None:
    from convmill.train.save import check_destination

    try:
        check_destination(out)
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        raise click.BadParameter(reason, param_hint="--out") from error
    if out.exists() and not force:
        raise click.BadParameter(
            f"{out} exists already. Give --force to replace it, or another name.",
            param_hint="--out",
        )


def _check_model(model: str) -> None:
    script, colon, function = model.rpartition(":")
    from_script = bool(colon) and script.endswith(".py")
    path = Path(script if from_script else model)
    if path.is_dir():
        problem = f"{path} is a folder; a file is needed."
    elif not path.is_file():
        problem = f"There is no file {path}."
    elif path.suffix == ".py" and not from_script:
        problem = f"Say which function builds the model: {path}:FUNCTION"
    elif not from_script and path.suffix != ".keras":
        problem = f"It must be FILE.keras or SCRIPT.py:FUNCTION. Received: {model}"
    elif from_script and not function.isidentifier():
        problem = f"'{function}' cannot be the name of a function."
    else:
        return
    raise click.BadParameter(problem, param_hint="--model")
