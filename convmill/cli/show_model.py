"""``convmill show``, first half: what a model holds and what its layers make of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from convmill.cli import options
from convmill.cli.help import Command
from convmill.cli.image_choice import Choice, chosen_image, data_images, image_options
from convmill.cli.pictures import destination, draw, layer_option, picture_options
from convmill.cli.pixels import pixels_option
from convmill.limits import LARGEST_SEED, MAPS, STEPS

FIELD_IMAGES = 256

whole = click.IntRange(min=0)


@click.command(cls=Command, short_help="The kernels of a convolution.")
@options.model_argument
@layer_option
@click.option(
    "--channel",
    type=whole,
    metavar="N",
    help="Only the kernels over this channel of its input; where filters are grouped, over this "
    "one of each filter's group.",
)
@picture_options
def filters(
    model_file: Path, layer: str | None, channel: int | None, out: Path | None, dark: bool
) -> None:
    """Draw the kernels of a convolution of the saved model in the file MODEL.

    \b
    Example:
      convmill show filters digits.keras --layer conv2d_1 --out filters.png
    """
    path = destination(out, model_file, "filters")
    model = _load(model_file)

    from convmill import view

    draw(path, lambda: view.filters(model, layer, channel=channel, dark=dark))


@click.command(cls=Command, short_help="What each filter makes of an image.")
@options.model_argument
@layer_option
@image_options
@click.option(
    "--most",
    type=click.IntRange(min=1),
    metavar="N",
    default=MAPS,
    show_default=True,
    help="Draw at most so many maps.",
)
@picture_options
def responses(
    model_file: Path,
    layer: str | None,
    choice: Choice,
    most: int,
    out: Path | None,
    dark: bool,
) -> None:
    """Draw the feature map that each filter of a layer makes of one image.

    \b
    Examples:
      convmill show responses digits.keras --data mnist --index 7
      convmill show responses digits.keras --layer conv2d_2 --image seven.png
    """
    path = destination(out, model_file, "responses")
    model = _load(model_file)
    image = chosen_image(model, model_file, choice)

    from convmill import view

    draw(path, lambda: view.responses(model, image, layer, most=most, dark=dark))


@click.command(cls=Command, short_help="How one number of a response map comes about.")
@options.model_argument
@layer_option
@image_options
@click.option(
    "--filter",
    "filter_index",
    type=whole,
    metavar="N",
    default=0,
    show_default=True,
    help="Which filter of the layer.",
)
@click.option(
    "--place",
    type=(whole, whole),
    metavar="ROW COLUMN",
    help="Where in the response map.  [default: where the response is strongest]",
)
@click.option(
    "--channel",
    type=whole,
    metavar="N",
    help="Which channel of the layer's input to show, one that the filter reads; the others enter "
    "the sum.  [default: the first of them]",
)
@picture_options
def patch(
    model_file: Path,
    layer: str | None,
    choice: Choice,
    filter_index: int,
    place: tuple[int, int] | None,
    channel: int | None,
    out: Path | None,
    dark: bool,
) -> None:
    """Draw one step of a convolution: window, kernel, products, sum, response.

    \b
    Example:
      convmill show patch digits.keras --data mnist --filter 3 --place 10 12
    """
    path = destination(out, model_file, "patch")
    model = _load(model_file)
    image = chosen_image(model, model_file, choice)

    from convmill import view

    draw(
        path,
        lambda: view.patches(
            model, image, layer, filter=filter_index, place=place, channel=channel, dark=dark
        ),
    )


@click.command(cls=Command, short_help="Images that excite each filter.")
@options.model_argument
@layer_option
@click.option(
    "--filter",
    "chosen",
    type=whole,
    metavar="N",
    multiple=True,
    help="Which filter; may be given several times.  [default: the first 16]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    default=STEPS,
    show_default=True,
    help="Steps of gradient ascent.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    default=0,
    show_default=True,
    help="Of the noise to begin with: the same seed gives the same picture.",
)
@pixels_option
@picture_options
def maximize(
    model_file: Path,
    layer: str | None,
    chosen: tuple[int, ...],
    steps: int,
    seed: int,
    pixels: Any,
    out: Path | None,
    dark: bool,
) -> None:
    """Draw, for each filter, an image that it answers more strongly.

    Units of a softmax or a sigmoid are looked at before it.

    \b
    Examples:
      convmill show maximize digits.keras --layer conv2d_2 --filter 0 --filter 5
      convmill show maximize photos.keras --pixels -1..1
    """
    path = destination(out, model_file, "maximize")
    model = _load(model_file)

    from convmill import view

    draw(
        path,
        lambda: view.activation_maximization(
            model,
            layer,
            filters=chosen or None,
            steps=steps,
            seed=seed,
            pixels=pixels,
            dark=dark,
        ),
    )


@click.command(cls=Command, short_help="What one unit sees of the image.")
@options.model_argument
@click.option("--layer", metavar="NAME", required=True, help="Which layer the unit belongs to.")
@click.option(
    "--unit",
    type=(whole, whole),
    metavar="ROW COLUMN",
    help="Where in the layer's feature map the unit lies.  [default: in the middle]",
)
@image_options
@picture_options
def field(
    model_file: Path,
    layer: str,
    unit: tuple[int, int] | None,
    choice: Choice,
    out: Path | None,
    dark: bool,
) -> None:
    """Draw the receptive field of a unit, as its layers imply it and as it is in effect.

    With --data the effective field is the mean over up to 256 test images from --index on, else
    over random ones.

    \b
    Example:
      convmill show field digits.keras --layer conv2d_2 --data mnist
    """
    path = destination(out, model_file, "field")
    model = _load(model_file)
    image = images = None
    if choice.picture_file is not None:
        image = chosen_image(model, model_file, choice)
    elif choice.data_name is not None:
        images = data_images(model, choice, FIELD_IMAGES)
    elif choice.index is not None:
        raise click.BadParameter(
            "This counts the images of --data NAME, which is not given.", param_hint="--index"
        )

    from convmill import view

    draw(
        path,
        lambda: view.receptive_field(
            model,
            layer,
            unit=unit,
            images=images,
            image=image,
            pixels=None if images is not None else choice.pixels,
            dark=dark,
        ),
    )


def _load(model_file: Path) -> Any:
    from convmill.user_models import load_model

    return load_model(model_file)
