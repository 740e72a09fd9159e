"""The image that ``convmill show`` looks at: its options, and the pixels that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convmill.cli import options
from convmill.cli.pixels import pixels_option
from convmill.cli.text import echo
from convmill.failure import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmill.cli.images import Preparation

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
    help="Which image of the data, counted from 0.  [default: 0]",
)
image_option = click.option(
    "--image",
    "picture_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take a PNG or JPEG picture, made fit for the model as 'convmill predict' does.",
)


@dataclass(frozen=True)
class Choice:
    """What the options name: a picture file and how it is prepared, or an image of a data set; and
    the range of pixels that the model reads.

    Raises:
        click.BadParameter: both are named, an index beside a picture, or a preparation without one.
    """

    picture_file: Path | None
    invert: bool | None
    center: bool
    data_name: str | None
    index: int | None
    pixels: Any = None

    @property
    def first(self) -> int:
        """The index, 0 where none is named."""
        return self.index or 0

    def __post_init__(self) -> None:
        if self.picture_file is not None and self.data_name is not None:
            raise click.BadParameter("Give --image or --data, not both.", param_hint="--image")
        if self.picture_file is not None and self.index is not None:
            raise click.BadParameter(
                "This counts the images of a data set, and --image FILE is given.",
                param_hint="--index",
            )
        for given, option in ((self.invert is not None, "--invert"), (self.center, "--center")):
            if given and self.picture_file is None:
                raise click.BadParameter(
                    "This prepares the picture of --image FILE, which is not given.",
                    param_hint=option,
                )


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a ``Choice``, which ``command`` takes as its argument ``choice``."""

    @functools.wraps(command)
    def with_choice(
        *,
        picture_file: Path | None,
        invert: bool | None,
        center: bool,
        data_name: str | None,
        index: int | None,
        pixels: Any,
        **others: Any,
    ) -> Any:
        choice = Choice(picture_file, invert, center, data_name, index, pixels)
        return command(choice=choice, **others)

    of_data = data_option(index_option(pixels_option(with_choice)))
    return image_option(options.invert_option(options.center_option(of_data)))


def chosen_image(model: Any, model_file: Path, choice: Choice) -> NDArray[Any]:
    """The image that the options name, as the model reads it: a batch of one.

    Where they name none it comes from MNIST, or from ``digits`` where that is not to be had.

    Raises:
        click.BadParameter: an index beyond the data's images.
        Failure: the image cannot be had or does not fit the model.
    """
    if choice.picture_file is None:
        return data_images(model, choice, 1)

    from convmill.cli.images import preparation

    how = preparation(model, model_file, invert=choice.invert, center=choice.center)
    return _from_file(model, choice.picture_file, how, choice.pixels)


def data_images(model: Any, choice: Choice, count: int) -> NDArray[Any]:
    """At most ``count`` test images of the data from ``--index`` on, as the model reads them.

    Raises:
        click.BadParameter: the index lies beyond the test images.
        Failure: the data cannot be had or does not fit the model.
    """
    from convmill.user_arrays import images_for

    first = choice.first
    name, images = _test_part(choice.data_name)
    if first >= len(images):
        raise click.BadParameter(
            f"{name} has {len(images):,} test images, counted from 0. Received: {first}",
            param_hint="--index",
        )
    try:
        return images_for(model, images[first : first + count], name, choice.pixels)
    except Failure as error:
        if choice.data_name is not None:
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


def _from_file(model: Any, picture_file: Path, how: Preparation, pixels: Any) -> NDArray[Any]:
    from convmill.cli.images import prepare, read_picture
    from convmill.user_arrays import images_for

    try:
        image, _ = prepare(read_picture(picture_file), how)
    except Failure as error:
        raise Failure(f"{picture_file}: {error.message}") from error
    return images_for(model, image[None], str(picture_file), pixels)
