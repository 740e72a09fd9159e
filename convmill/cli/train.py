"""``convmill train``: its options, and what can be told wrong before anything is loaded."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import click

from convmill import files
from convmill.cli import options
from convmill.cli.help import Command
from convmill.failure import describe, nearest
from convmill.limits import LARGEST_SEED
from convmill.presets import NAMES as RECIPES
from convmill.presets import load
from convmill.user_functions import check_function

OPTIMIZERS = (
    *("rmsprop", "adam", "adamw", "sgd", "adadelta", "adagrad", "adamax", "nadam", "ftrl", "lion"),
)


EVERY = "60s"
# Without a recipe.
EPOCHS, BATCH_SIZE = 5, 64


class Name(click.Choice[str]):
    """One of several names; a misspelt one tells the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as we spell it; BadParameter where there is no such one."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            message = f"{error.message}{nearest(str(value), self.choices)}"
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
    "returns a Keras model (it may take input_shape and classes).  One that is not compiled gets "
    "cross-entropy, of logits where its last layer is linear.  [default: a small convnet]",
)
@click.option(
    "--recipe",
    type=Name(RECIPES, case_sensitive=False),
    metavar="NAME",
    help="A net with the optimizer, learning rates, epochs and batch size that suit it: "
    "fast (99 % of MNIST in a second of training), or notebook-fast (the default convnet, as good "
    "after 1 epoch as it otherwise is after 5).  Brings what --model and --optimizer would; "
    "--epochs and --batch-size replace the recipe's, and its learning rates stretch with them.  "
    "Labels are smoothed, so that losses stay high where nearly all is right: above 0.5 with ten "
    "classes.",
)
@click.option(
    "--epochs",
    type=options.Whole(min=1),
    metavar="N",
    help=f"How often to go through all the images.  [default: {EPOCHS}, or the recipe's]",
)
@click.option(
    "--batch-size",
    type=options.Whole(min=1),
    metavar="N",
    help="How many images to look at before each step of learning.  "
    f"[default: {BATCH_SIZE}, or the recipe's]",
)
@click.option(
    "--optimizer",
    type=Name(OPTIMIZERS, case_sensitive=False),
    metavar="NAME",
    help=f"How a step changes the weights: {', '.join(OPTIMIZERS)}.  "
    "[default: the model's own, or rmsprop]",
)
@click.option(
    "--seed",
    type=options.Whole(0, LARGEST_SEED),
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
@click.option(
    "--validate",
    is_flag=True,
    help="Hold back every fifth training image, and test on these after each epoch.",
)
@click.option(
    "--history",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Where to write loss and metrics of each epoch; 'convmill show curves' draws them.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Where to write a page for the browser, in one file: curves, mistakes, how it was run.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to keep the state of the training while it runs: 'convmill resume FOLDER' goes on "
    "with it, whatever has stopped it, to the same end, bit for bit.",
)
@click.option(
    "--every",
    metavar="TIME|STEPS",
    help=f"How often: 30s, 5min, 1h or '100 steps'; with --checkpoint.  [default: {EVERY}]",
)
@click.option(
    "--force", is_flag=True, help="Replace the files that --out, --history and --report name."
)
@options.json_option
def train(
    data_name: str | None,
    model: str | None,
    recipe: str | None,
    epochs: int | None,
    batch_size: int | None,
    optimizer: str | None,
    seed: int | None,
    threads: int | None,
    out: Path | None,
    validate: bool,
    history: Path | None,
    report: Path | None,
    checkpoint: Path | None,
    every: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a model on images, and test it on images that it has not seen.

    \b
    Examples:
      convmill train --out digits.keras
      convmill train --recipe fast
      convmill train --data photos/ --epochs 20
      convmill train --data set.npz --model net.py:build
      convmill train --validate --history run.json
      convmill train --report digits.html
      convmill train --checkpoint run/ --out digits.keras
    """
    if recipe is not None:
        _check_recipe(recipe, {"--model": model, "--optimizer": optimizer})
    if out is not None:
        _check_out(out, force)
    if history is not None:
        _check_written(history, (".json",), force, "--history")
    if report is not None:
        _check_written(report, (".html", ".htm"), force, "--report")
    if every is not None:
        _check_every(every, checkpoint)
    if checkpoint is not None:
        _check_checkpoint(checkpoint)
    if model is not None:
        options.check_model_source(model, "--model")
        check_function(model)

    from convmill.cli.job import Job
    from convmill.cli.training import run

    preset = None if recipe is None else load(recipe)
    if seed is None:
        seed = random.randrange(LARGEST_SEED)
    job = Job(
        data_name,
        model,
        recipe,
        preset,
        epochs or (EPOCHS if preset is None else preset.epochs),
        batch_size or (BATCH_SIZE if preset is None else preset.batch_size),
        optimizer,
        seed,
        threads,
        out,
        validate,
        history,
        report,
        checkpoint,
        EVERY if every is None else every,
        quiet=as_json,
    )
    with options.stdout_for_json(as_json):
        result = run(job)
    if as_json:
        options.print_json(result)


def _check_recipe(recipe: str, others: dict[str, str | None]) -> None:
    """Raises click.BadParameter where an option is given that says what the recipe says already."""
    for option, value in others.items():
        if value is not None:
            raise click.BadParameter(
                f"The recipe brings its own. Received: --recipe {recipe} and {option} {value}. "
                "Leave one of them out.",
                param_hint=option,
            )


def _check_out(out: Path, force: bool) -> None:
    from convmill.train.save import check_destination

    try:
        check_destination(out)
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        raise click.BadParameter(reason, param_hint="--out") from error
    _check_force(out, force, "--out")


def _check_written(path: Path, suffixes: tuple[str, ...], force: bool, option: str) -> None:
    files.check_destination(path, suffixes, option)
    try:
        # Only trying tells; after the training it would be too late.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise click.BadParameter(
            f"The folder {path.parent} takes no new files: {error.strerror}.",
            param_hint=option,
        ) from error
    _check_force(path, force, option)


def _check_every(every: str, checkpoint: Path | None) -> None:
    from convmill.every import read_every

    try:
        read_every(every, "--every")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--every") from error
    if checkpoint is None:
        message = "It needs --checkpoint FOLDER. Received: --every without it."
        raise click.BadParameter(message, param_hint="--every")


def _check_checkpoint(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise click.BadParameter(
            f"{folder} is no folder; a folder is needed.", param_hint="--checkpoint"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise click.BadParameter(
            f"{folder} is not empty. 'convmill resume {folder}' goes on with a training there; a "
            "new one needs a folder of its own.",
            param_hint="--checkpoint",
        )


def _check_force(path: Path, force: bool, option: str) -> None:
    if path.exists() and not force:
        raise click.BadParameter(
            f"{path} exists already. Give --force to replace it, or another name.",
            param_hint=option,
        )
