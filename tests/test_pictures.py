"""Pictures are looked at to their ends."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from convmill import data
from convmill.cli.images import read_picture
from convmill.datasets import folder
from convmill.failure import Failure
from convmill.pictures import opened

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 6), np.uint8)


def png() -> bytes:
    made = io.BytesIO()
    Image.fromarray(PIXELS).save(made, "png")
    return made.getvalue()


def cut(content: bytes) -> bytes:
    """Without the last chunk, and the one before ends within its pixels, a few bytes too soon."""
    length_at = content.index(b"IDAT") - 4
    end = content.index(b"IEND") - 4
    length = int.from_bytes(content[length_at : length_at + 4], "big") - 4
    begin, middle = content[:length_at], content[length_at + 4 : end - 9]
    return begin + length.to_bytes(4, "big") + middle + b"D\xaeB`\x82"


@pytest.fixture
def damaged(tmp_path):
    """A folder of pictures of two classes, one of which ends too soon."""
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in (0, 1):
            (tmp_path / name / f"{number}.png").write_bytes(png())
    path = tmp_path / "b" / "1.png"
    path.write_bytes(cut(png()))
    with Image.open(path) as picture:  # Pillow alone sees nothing
        assert not np.array_equal(picture, PIXELS)
    return path


def test_what_is_whole_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with opened(path) as picture:
        np.testing.assert_array_equal(picture, PIXELS)


def test_a_picture_that_ends_too_soon_is_refused_by_every_door(damaged):
    with pytest.raises(Failure, match="damaged"):
        read_picture(damaged)
    with pytest.raises(data.DataError, match=r"b.1\.png"):
        data.load(str(damaged.parents[1]))
    with pytest.raises(data.DataError, match=r"b.1\.png"):
        list(folder(str(damaged.parents[1]), image_size=(5, 6), color_mode="grayscale"))
