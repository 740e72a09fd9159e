"""What all ``convmill show`` commands share: options, the image to look at, writing the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convmill.cli import options
from convmill.cli.errors import Failure, as_failures
from convmill.cli.files import check_destination, write_whole
from convmill.cli.text import echo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmill.view.style import Picture

SUFFIXES = (".png", ".svg")
IMAGE_CHANNELS = (1, 3)

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.png|FILE.svg",
    help="Where to write the picture; a file of that name is replaced.  "
    "[default: here, named after the first argument and what is shown]",
)
dark_option = click.option("--dark", is_flag=True, help="Draw on a dark ground.")
layer_option = click.option(
    "--layer", metavar="NAME", help="Which layer to look at.  [default: the first convolution]"
)
data_option = click.option(
    "--data",
    "data_name",
    metavar=options.DATA_METAVAR,
    help="Take the image from the test part of this data set.",
)
index_option = click.option(
    "--index",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Which image of the data, counted from 0.",
)
image_option = click.option(
    "--image",
    "picture_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take a PNG or JPEG picture, made fit for the model as 'convmill predict' does.",
)


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--out`` and ``--dark``."""
    return out_option(dark_option(command))


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--image``, ``--data`` and ``--index``."""
    return image_option(data_option(index_option(command)))


# The file ---------------------------------------------------------------------------------------


def destination(out: Path | None, named_after: Path, what: str) -> Path:
    """Where the picture goes: ``out``, or ``<stem of named_after>-<what>.png`` in this folder.

    Raises:
        click.BadParameter: no PNG or SVG file can be written under this name.
    """
    path = Path(f"{named_after.stem}-{what}.png") if out is None else out
    check_destination(path, SUFFIXES, "--out")
    return path


def draw(path: Path, make: Callable[[], Picture]) -> None:
    """Writes the picture that ``make`` draws to ``path``, whole or not at all, and prints the path.

    Raises:
        Failure: what the user asked for cannot be drawn, or the file cannot be written.
    """
    with as_failures():
        picture = make()
    write_whole(path, lambda file: picture.savefig(file, format=path.suffix[1:].lower()))
    echo(str(path))


# The image to look at ---------------------------------------------------------------------------


def image_for(
    model: Any, model_file: Path, picture_file: Path | None, data_name: str | None, index: int
) -> NDArray[Any]:
    """The image that the options name, as the model reads it: a batch of one.

    Where they name none it comes from MNIST, or from ``digits`` where that is not to be had.

    Raises:
        click.BadParameter: both a picture and a data set, or an index beyond its images.
        Failure: the image cannot be had or does not fit the model.
    """
    if picture_file is not None:
        if data_name is not None:
            raise click.BadParameter("Give --image or --data, not both.", param_hint="--image")
        return _from_file(model, model_file, picture_file)
    return data_images(model, data_name, index, 1)


def data_images(model: Any, data_name: str | None, first: int, count: int) -> NDArray[Any]:
    """At most ``count`` test images from ``first`` on, as the model reads them.

    Raises:
        click.BadParameter: ``first`` lies beyond the test images.
        Failure: the data cannot be had or does not fit the model.
    """
    from convmill.cli.arrays import images_for

    name, images = _test_part(data_name)
    if first >= len(images):
        raise click.BadParameter(
            f"{name} has {len(images):,} test images, counted from 0. Received: {first}",
            param_hint="--index",
        )
    try:
        return images_for(model, images[first : first + count], name)
    except Failure as error:
        if data_name is not None:
            raise
        raise Failure(f"{error.message} Give --image FILE or --data NAME.") from error


def _test_part(data_name: str | None) -> tuple[str, NDArray[Any]]:
    from convmill import data

    if data_name is not None:
        dataset = options.load_data(data_name)
    else:
        dataset, fallback = data.load_mnist_or_digits()
        if fallback is not None:
            echo(fallback, err=True)
    return dataset.name, dataset.x_test


def _from_file(model: Any, model_file: Path, picture_file: Path) -> NDArray[Any]:
    from convmill.cli.arrays import images_for, input_shape
    from convmill.cli.card import read_card
    from convmill.cli.images import Preparation, prepare, read_picture

    shape = input_shape(model)
    height, width, channels = (*shape, 1)[:3] if len(shape) in (2, 3) else (None, None, None)
    if not height or not width or channels not in IMAGE_CHANNELS:
        raise Failure(
            "The model must read images (height, width, channels) of 1 or 3 channels. "
            f"Received: a model that reads {shape}."
        )
    how = Preparation((height, width, channels), read_card(model_file).background)
    try:
        pixels, _ = prepare(read_picture(picture_file), how)
    except Failure as error:
        raise Failure(f"{picture_file}: {error.message}") from error
    return images_for(model, pixels[None], str(picture_file))
