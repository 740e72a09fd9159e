"""The look of all pictures: one for light grounds, one for dark, nobody else's settings changed."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from convmill.view import style
from convmill.view.confusion_matrix import confusion_matrix
from convmill.view.mistakes import mistakes
from convmill.view.sheet import BODY, sheet
from convmill.view.style import (
    DARK,
    LIGHT,
    SAVED_DPI,
    Picture,
    draw_image,
    drawing,
    symmetric,
    to_unit,
)
from convmill.view.text import percent
from convmill.view.tiles import grid
from tests.view.classifiers import drawn, echo_images, random_case
from tests.view.nets import texts


def pixels(picture: Picture) -> np.ndarray:
    content, _ = picture._repr_png_()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize(("dark", "theme"), [(False, LIGHT), (True, DARK)])
def test_a_solid_ground_and_legible_ink(dark, theme):
    with drawing(2, dark=dark) as picture:
        axes = picture.subplots()
        axes.set_title("title")
    assert tuple(pixels(picture)[0, 0]) == tuple(bytes.fromhex(theme.ground[1:]))
    assert axes.title.get_color() == theme.ink
    assert contrast(theme.ink, theme.ground) > 7  # WCAG 2.1, level AAA
    for line in theme.lines:
        assert contrast(line, theme.ground) > 2  # thick lines


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.1."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    values = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_users_settings_stay(tmp_path):
    before = dict(matplotlib.rcParams)
    with drawing(2, dark=True) as picture:
        picture.subplots().plot([1, 2])
    picture.savefig(tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_show():
    def draw() -> np.ndarray:
        with drawing(2) as picture:
            left, right = picture.subplots(1, 2)
            left.plot([1, 2])
            right.imshow([[1, 2], [3, 4]])
        return pixels(picture)

    plain = draw()
    users = {"font.size": 30, "axes.facecolor": "red", "image.origin": "lower", "axes.xmargin": 1}
    with matplotlib.rc_context(users):
        np.testing.assert_array_equal(draw(), plain)


def test_letters_come_from_the_fonts_that_are_there(monkeypatch):
    monkeypatch.setattr(style, "FURTHER_FONTS", ("DejaVu Serif", "No Such Font"))
    style._fonts.cache_clear()
    try:
        with drawing(2):
            assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "DejaVu Serif"]
    finally:
        style._fonts.cache_clear()


def test_notebooks_show_it_at_700_pixels_and_twice_as_fine():
    with drawing(3) as picture:
        picture.subplots()
    content, size = picture._repr_png_()
    assert size == {"width": 700, "height": 300}
    assert Image.open(io.BytesIO(content)).size == (1400, 600)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_picture_gives_the_same_bytes(kind):
    def content() -> bytes:
        with drawing(2) as picture:
            picture.subplots().imshow(np.eye(3))
        file = io.BytesIO()
        picture.savefig(file, format=kind)
        return file.getvalue()

    assert content() == content()


@pytest.mark.parametrize("draw", [confusion_matrix, mistakes])
def test_saved_twice_it_gives_the_same_bytes(draw):
    probabilities, labels = random_case(20, 4)
    picture = draw(echo_images(3, 4), drawn(probabilities, 3), labels)
    first, second = io.BytesIO(), io.BytesIO()
    picture.savefig(first)
    picture.savefig(second)
    assert first.getvalue() == second.getvalue()


def test_a_long_caption_is_broken_into_lines_inside_the_picture():
    with sheet(1, "title", "mean word, " * 40) as page:
        pass
    page.picture.set_dpi(SAVED_DPI)
    page.picture.draw_without_rendering()
    renderer = page.picture.canvas.get_renderer()
    caption = next(text for text in page.picture.texts if "word" in text.get_text())
    box = caption.get_window_extent(renderer)
    assert caption.get_text().count("\n") >= 2
    assert box.x1 <= page.picture.bbox.x1
    assert box.y1 <= page.axes(0, 0, 1, 1).get_window_extent(renderer).y0
    assert "title" in texts(page.picture)


def test_zero_is_the_middle_of_a_diverging_map():
    assert symmetric(np.array([-1.0, 3.0])) == {"vmin": -3.0, "vmax": 3.0}
    assert symmetric(np.zeros(2)) == {"vmin": -1.0, "vmax": 1.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.2, 0.5], [0.2, 0.5]),
        ([0, 51, 255], [0, 0.2, 1]),
        ([0, 1, 2], [0, 0.5, 1]),
        ([0, 1.5, 3], [0, 0.5, 1]),
        ([-1, 1], [0, 1]),
        ([500, 500], [0, 0]),
    ],
)
def test_colours_are_brought_to_the_unit_range(given, expected):
    np.testing.assert_allclose(to_unit(np.array(given, float)), expected)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 2)])
def test_images_of_any_channels_are_drawn(shape):
    with drawing(1) as picture:
        axes = picture.subplots()
        draw_image(axes, np.random.default_rng(0).random(shape))
    expected = (4, 5, 3) if shape[2:] == (3,) else (4, 5)
    assert axes.images[0].get_array().shape == expected


def test_captions_break_between_words_and_before_no_percent_sign():
    share = percent(0.5)
    lines = style.wrapped(f"a  b\t{share} " * 99).split("\n")
    assert len(lines) > 3
    assert " ".join(lines) == " ".join(["a", "b", share] * 99)
    assert not any(line.startswith("%") for line in lines)


@pytest.mark.parametrize("block", [0, 2])
@pytest.mark.parametrize("count", [1, 3, 8, 13, 64])
@pytest.mark.parametrize("shape", [(3, 3), (2, 9), (30, 4)])
def test_tiles_lie_apart_and_inside_the_picture(count, shape, block):
    places = grid(count, shape, block)
    corners = np.array([places.corner(index) for index in range(count)])
    ends = corners + np.array([1, places.aspect])
    assert corners.min() >= 0
    assert ends[:, 0].max() * places.inches <= BODY + 1e-9
    assert ends[:, 1].max() * places.inches <= places.height + 1e-9
    width, height = np.array(places.block_size) / places.inches if block else (0, 0)
    for index in range(count):
        apart = (corners[index] >= ends).any(axis=1) | (ends[index] <= corners).any(axis=1)
        apart[index] = True
        assert apart.all()
        assert corners[index, 0] >= width or corners[index, 1] >= height + places.label
