"""Pictures in files, looked at to their ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image


@contextmanager
def opened(
    path: str | os.PathLike[str], formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """The picture in a file, with all its checksums right: where one ends too soon, Pillow alone
    takes what comes next for its last pixels. Raises as ``PIL.Image.open`` and ``verify`` do."""
    # Without pixels Pillow ends in an IndexError here; reading them says what is wrong.
    with Image.open(path, formats=formats) as picture, suppress(IndexError):
        picture.verify()  # of no use afterwards
    with Image.open(path, formats=formats) as picture:
        yield picture
