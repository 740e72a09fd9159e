"""From picture files to pixels: modes, sizes, light and dark, the place of the ink."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from convmill.cli.images import Preparation, prepare, read_picture
from convmill.failure import Failure


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "level", "expected"),
    [
        ("1", 1, 255),
        ("L", 200, 200),
        ("I;16", 65535, 255),
        ("I;16", 32768, 128),
        ("RGB", (200, 200, 200), 200),
        ("RGBA", (0, 0, 0, 0), 255),
        ("RGBA", (0, 0, 0, 255), 0),
        ("LA", (0, 0), 255),
        ("P", 0, 0),
    ],
)
def test_every_kind_of_png(tmp_path, mode, level, expected):
    image = Image.new(mode, (4, 3), level)
    if mode == "P":
        image.putpalette([0, 0, 0] * 256)
    path = saved(tmp_path / "a.png", image)
    grey, _ = prepare(read_picture(path), Preparation((3, 4, 1), invert=False))
    assert grey.shape == (3, 4, 1)
    assert grey.dtype == np.uint8
    assert (grey == expected).all()
    coloured, _ = prepare(read_picture(path), Preparation((3, 4, 3), invert=False))
    assert coloured.shape == (3, 4, 3)
    assert (coloured == expected).all()


def test_a_jpeg_is_turned_upright(tmp_path):
    image = Image.new("L", (8, 16))
    image.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    path = saved(tmp_path / "a.jpg", image, exif=exif)
    assert read_picture(path).size == (16, 8)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", b""), ("a.png", b"not a picture"), ("a.jpg", b"\xff\xd8\xff\xe0"), ("a.gif", None)],
)
def test_what_is_no_picture(tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        Image.new("L", (4, 4)).save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(Failure, match=r"no PNG or JPEG|cannot be read"):
        read_picture(path)


def test_a_picture_cut_short(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(stream.getvalue()[:400])
    with pytest.raises(Failure, match="damaged"):
        read_picture(path)


def test_a_picture_of_too_many_pixels(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("L", (20, 20)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
    with pytest.raises(Failure, match="too many pixels"):
        read_picture(path)


@pytest.mark.parametrize(
    ("level", "background", "inverted"),
    [
        (255, "dark", True),
        (0, "dark", False),
        (255, "light", False),
        (0, "light", True),
        (255, "mixed", False),
        (0, "mixed", False),
    ],
)
def test_grey_pictures_get_the_background_of_the_training_data(level, background, inverted):
    picture = Image.new("L", (6, 6), level)
    pixels, did = prepare(picture, Preparation((6, 6, 1), background))
    assert did is inverted
    assert (pixels == (255 - level if inverted else level)).all()


def test_colours_are_inverted_only_when_asked():
    picture = Image.new("RGB", (6, 6), (255, 250, 240))
    assert prepare(picture, Preparation((6, 6, 3)))[1] is False
    pixels, did = prepare(picture, Preparation((6, 6, 3), invert=True))
    assert did is True
    assert pixels[0, 0].tolist() == [0, 5, 15]


def test_a_picture_gets_the_size_of_the_model():
    picture = Image.new("L", (300, 200), 7)
    pixels, _ = prepare(picture, Preparation((28, 20, 1)))
    assert pixels.shape == (28, 20, 1)
    assert (pixels == 7).all()


@pytest.mark.parametrize("background", ["dark", "light"])
@pytest.mark.parametrize(("left", "top"), [(5, 5), (150, 60)])
def test_centring_puts_the_ink_where_mnist_has_it(background, left, top):
    picture = Image.new("L", (200, 150), 0)
    picture.paste(255, (left, top, left + 20, top + 40))
    how = Preparation((28, 28, 1), background, center=True)
    pixels = prepare(picture, how)[0][..., 0].astype(float)
    ink = 255 - pixels if background == "light" else pixels
    rows, columns = np.nonzero(ink > 127)
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 == 10
    centre = [(ink.sum(axis=1 - axis) @ np.arange(28)) / ink.sum() for axis in (0, 1)]
    assert centre == pytest.approx([13.5, 13.5], abs=1)


def test_nothing_to_centre():
    with pytest.raises(Failure, match="nothing in it"):
        prepare(Image.new("L", (9, 9)), Preparation((28, 28, 1), center=True))
