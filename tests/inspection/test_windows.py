"""Rules on windows: places skipped and dropped, padding, and shapes that end."""

from __future__ import annotations

import keras
import pytest
from keras.layers import (
    AveragePooling2D,
    Conv2D,
    Cropping2D,
    DepthwiseConv2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
    ZeroPadding2D,
)

from convmill.inspection.findings.windows import (
    dead_end,
    dropped_border,
    mostly_padding,
    skipped_places,
)
from tests.inspection.nets import chain, notebook, said

SQUARE = (12, 12, 1)


@pytest.mark.parametrize(
    ("layer", "share"),
    [
        (Conv2D(2, 1, strides=2), 0.75),
        (Conv2D(2, 2, strides=3), 5 / 9),
        (Conv2D(2, (1, 4), strides=(3, 1)), 2 / 3),
        (MaxPooling2D(1, strides=4), 15 / 16),
        (DepthwiseConv2D(1, strides=2), 0.75),
        (Conv2D(2, 1, strides=2, padding="same"), 0.75),
    ],
)
def test_skipped_places(layer, share):
    (finding,) = said(skipped_places, chain(layer, shape=SQUARE))
    assert finding.layer == layer.name
    assert finding.number == pytest.approx(share)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(2, 2, strides=2),
        Conv2D(2, 3, strides=2),
        Conv2D(2, 3, dilation_rate=3),
        AveragePooling2D(5),
        Cropping2D(2),
        GlobalMaxPooling2D(),
    ],
)
def test_nothing_skipped(layer):
    assert said(skipped_places, chain(layer, shape=SQUARE)) == ()


def test_dropped_border_of_the_notebook_net():
    (finding,) = said(dropped_border, notebook())
    assert finding.layer == "second_pooling"
    assert finding.number == pytest.approx(21 / 121)
    assert "leave 1 row and 1 column of 11x11" in finding.what


def test_dropped_border_of_a_strided_convolution():
    (finding,) = said(dropped_border, chain(Conv2D(2, (3, 1), strides=(4, 1)), shape=(10, 5, 1)))
    assert finding.number == pytest.approx(0.2)  # rows 8 and 9; 3 and 7 lie between windows
    assert "leave 2 rows of 10x5" in finding.what


@pytest.mark.parametrize(
    ("side", "padding", "fires"),
    [(11, "valid", True), (11, "same", False), (12, "valid", False), (41, "valid", False)],
)
def test_dropped_border_is_a_twentieth_at_least(side, padding, fires):
    model = chain(MaxPooling2D(2, padding=padding), shape=(side, side, 1))
    assert bool(said(dropped_border, model)) is fires


def test_what_is_skipped_is_not_called_a_border():
    assert said(dropped_border, chain(Conv2D(2, 1, strides=2), shape=SQUARE)) == ()


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (ZeroPadding2D(1), 0),
        (ZeroPadding2D(((0, 2), (0, 2))), 0),  # 16: one of the two is read
        (ZeroPadding2D(((2, 0), (2, 0))), 1),  # zeros are before the map, and its end is not read
        (Cropping2D(((1, 1), (1, 1))), 1),
    ],
)
def test_zeros_of_a_padding_layer_are_no_border(layer, rows):
    model = chain(layer, Conv2D(2, 3, strides=2), shape=(14, 14, 1))
    sizes = model.layers[0].output.shape[1]
    found = [each.number for each in said(dropped_border, model)]
    assert found == [pytest.approx(1 - (1 - rows / sizes) ** 2)] * bool(rows)


@pytest.mark.parametrize(
    ("side", "kernel", "share"), [(1, 3, 8 / 9), (2, 3, 5 / 9), (4, 5, 1 - 0.7**2)]
)
def test_mostly_padding(side, kernel, share):
    (finding,) = said(
        mostly_padding, chain(Conv2D(2, kernel, padding="same"), shape=(side, side, 1))
    )
    assert finding.number == pytest.approx(share)


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (Conv2D(2, 3, padding="same"), 3),
        (Conv2D(2, 3), 3),
        (MaxPooling2D(3, padding="same"), 1),  # pooling leaves padding out
    ],
)
def test_not_mostly_padding(layer, side):
    assert said(mostly_padding, chain(layer, shape=(side, side, 1))) == ()


def deep(**arguments):
    return keras.Sequential(
        [Conv2D(4, 3, name="first"), Conv2D(4, 7, name="second", **arguments), Conv2D(4, 1)]
    )


def test_dead_end_names_the_layer():
    (finding,) = said(dead_end, deep(), input_shape=(8, 8, 1))
    assert finding.layer == "second"
    assert finding.number == 6
    assert finding.what.startswith("6x6x4 is what is left of the image at second")


@pytest.mark.parametrize(
    ("layer", "remedy"),
    [
        (Conv2D(2, 9), 'Use padding="same"'),
        (Conv2D(2, 3, dilation_rate=4), 'Use padding="same"'),
        (Cropping2D(5, name="crop"), "Change crop, or what it is given"),
        (keras.layers.Reshape((3, 3), name="turn"), "Change turn, or what it is given"),
    ],
)
def test_the_remedy_of_a_dead_end_is_for_its_reason(layer, remedy):
    (finding,) = said(dead_end, keras.Sequential([layer]), input_shape=(8, 8, 1))
    assert finding.remedy.startswith(remedy)


def test_no_dead_end_where_there_is_padding():
    assert said(dead_end, deep(padding="same"), input_shape=(8, 8, 1)) == ()
