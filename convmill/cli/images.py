"""From a picture file to the pixels that a model reads."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from convmill import pictures
from convmill.cli.card import Background, is_light, read_card
from convmill.data.digits import BOX, centred
from convmill.failure import Failure
from convmill.user_arrays import input_shape

FORMATS = ("PNG", "JPEG")
WHITE = (255, 255, 255, 255)
# What is darker than this is background: JPEG leaves faint specks about the ink.
FAINTEST_INK = 32


@dataclass(frozen=True)
class Preparation:
    """How pictures are made into what a model reads.

    Attributes:
        size: (height, width, channels), channels 1 or 3.
        background: that of the pictures the model was trained on.
        invert: None inverts grey pictures whose background is not of that kind.
        center: scale and shift the ink as MNIST does; grey pictures only.
    """

    size: tuple[int, int, int]
    background: Background = "dark"
    invert: bool | None = None
    center: bool = False


def preparation(
    model: Any, model_file: Path, *, invert: bool | None = None, center: bool = False
) -> Preparation:
    """How pictures are made into what the model in ``model_file`` reads.

    Raises:
        Failure: it reads no images, or ``center`` is asked for and it reads colours.
    """
    shape = input_shape(model)
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise Failure(
            "The model must read images (height, width, channels) of 1 or 3 channels. "
            f"Received: a model that reads {shape}."
        )
    height, width, channels = (size or 0 for size in shape)
    if center and channels != 1:
        raise Failure("--center is for models that read grey pictures; this one reads colours.")
    return Preparation((height, width, channels), read_card(model_file).background, invert, center)


def read_picture(path: Path) -> Image.Image:
    """A PNG or JPEG file, upright as its camera says, transparency on white; mode L or RGB.

    Raises:
        Failure: it cannot be read as one of the two.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with pictures.opened(path, FORMATS) as file:
                return _plain(ImageOps.exif_transpose(file))
    except UnidentifiedImageError as error:
        raise Failure("no PNG or JPEG picture.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Failure(f"too many pixels ({error}).") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise Failure(f"damaged, or cannot be read ({error}).") from error


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        levels = np.asarray(picture, dtype=np.float64) / 65535 * 255
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def prepare(picture: Image.Image, how: Preparation) -> tuple[NDArray[Any], bool]:
    """The pixels, uint8 of shape ``how.size``, and whether they were inverted.

    Raises:
        Failure: there is no ink to centre.
    """
    height, width, channels = how.size
    picture = picture.convert("L" if channels == 1 else "RGB")
    invert = _differs(picture, how) if how.invert is None else how.invert
    if invert:
        picture = ImageOps.invert(picture)
    if how.center:
        picture = _centre(picture, light=how.background == "light")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(how.size), invert


def _differs(picture: Image.Image, how: Preparation) -> bool:
    """Whether a grey picture's background is of another kind than the training data's."""
    if picture.mode != "L" or how.background == "mixed":
        return False
    return is_light(np.asarray(picture)) != (how.background == "light")


def _centre(picture: Image.Image, light: bool) -> Image.Image:
    """As MNIST's digits lie: 20 pixels long, their centre of mass in the middle of 28x28.

    The picture is grey, on black, or on white where ``light``.
    """
    ink = ImageOps.invert(picture) if light else picture
    bounds = ink.point(lambda level: level if level >= FAINTEST_INK else 0).getbbox()
    if bounds is None:
        raise Failure("nothing in it that could be centred.")
    ink = ink.crop(bounds)
    scale = BOX / max(ink.size)
    size = max(1, round(ink.width * scale)), max(1, round(ink.height * scale))
    ink = Image.fromarray(centred(np.asarray(ink.resize(size, Image.Resampling.LANCZOS))))
    return ImageOps.invert(ink) if light else ink
