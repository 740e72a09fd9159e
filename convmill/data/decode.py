"""Image files to pixels, in worker threads; what cannot be read is named, all of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from convmill import pictures
from convmill.data.dataset import Array, DataError
from convmill.data.resize import cropped, padded, resized
from convmill.threads import is_refusal, mapped

# How Pillow calls images of so many channels.
MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}  # a letter for each channel
MOST_NAMED = 10
WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Form:
    """What every image is brought to."""

    size: tuple[int, int]
    color_mode: str
    interpolation: str
    crop: bool
    pad: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return *self.size, len(MODES[self.color_mode])

    def read(self, path: str) -> Array:
        """The pixels of one file, of ``shape``: uint8 where none is a mean of others, else float32.

        Raises:
            DataError: it cannot be read as an image.
        """
        with _opened(path) as picture:
            pixels = np.asarray(_in_bytes(picture).convert(MODES[self.color_mode]))
        pixels = pixels.reshape(*pixels.shape[:2], self.shape[2])
        if self.crop:
            pixels = cropped(pixels, self.size)
        elif self.pad:
            pixels = padded(pixels, self.size)
        return resized(pixels, self.size, self.interpolation)

    def keeps_bytes(self, path: str) -> bool:
        """Whether ``read`` gives this file's pixels as uint8; looks at its header alone."""
        with _opened(path, Image.open) as picture:
            return self.interpolation == "nearest" or picture.size == self.size[::-1]


@contextmanager
def _opened(path: str, opened: Any = pictures.opened) -> Iterator[Image.Image]:
    try:
        with opened(path) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if is_refusal(error):
            raise  # nothing is wrong with the image
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no image of a known format" if unknown else str(error)
        raise DataError(f"{path}: {reason}") from error


def _in_bytes(picture: Image.Image) -> Image.Image:
    """An image with 8 bits a channel; of 16 the higher ones count, as with Keras."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("its pixels are fractions, not whole numbers")
    return picture


def each(
    task: Callable[[str], Any],
    paths: Sequence[str],
    workers: int = WORKERS,
    advice: str = "Mend or remove them",
) -> list[Any]:
    """``task`` done to all paths, in threads; the results in order.

    Raises:
        DataError: it failed for some. The message has a line for each of the first of them.
    """

    def attempt(path: str) -> Any:
        try:
            return task(path)
        except DataError as error:
            return error

    results = mapped(attempt, paths, workers)
    bad = [result for result in results if isinstance(result, DataError)]
    if bad:
        raise DataError(_named(bad, len(paths), advice))
    return results


def _named(bad: Sequence[DataError], count: int, advice: str) -> str:
    lines = [f"  {error}".replace("\n", "\n    ") for error in bad[:MOST_NAMED]]
    if len(bad) > MOST_NAMED:
        lines.append(f"  and {len(bad) - MOST_NAMED} more")
    return "\n".join([f"{len(bad)} of {count} images cannot be used. {advice}:", *lines])
