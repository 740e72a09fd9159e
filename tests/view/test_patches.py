"""One convolution by its numbers: what is shown adds up to what Keras computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.view.patch import patch
from convmill.view.patches import patches
from tests.view.nets import SHAPE, chain, convnet, drawn, random_images, texts

CONVOLUTIONS = [
    {"filters": 3, "kernel_size": 3},
    {"filters": 1, "kernel_size": (2, 4), "padding": "same"},
    {"filters": 2, "kernel_size": 3, "padding": "same", "strides": 2},
    {"filters": 2, "kernel_size": (3, 2), "padding": "same", "strides": (3, 1)},
    {"filters": 2, "kernel_size": 3, "dilation_rate": (2, 3)},
    {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "padding": "same"},
    {"filters": 4, "kernel_size": 3, "groups": 2},
    {"filters": 3, "kernel_size": 1, "use_bias": False},
]


def twin(layer) -> keras.Sequential:
    """The same convolution without its activation."""
    plain = layers.Conv2D.from_config(layer.get_config() | {"activation": "linear"})
    model = keras.Sequential([keras.Input(layer.input.shape[1:]), plain])
    plain.set_weights(layer.get_weights())
    return model


@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_the_sum_is_what_keras_computes_before_the_activation(arguments):
    layer = layers.Conv2D(**arguments, activation="tanh", bias_initializer="random_normal")
    model = chain(layer, shape=(9, 8, 4))
    (image,) = random_images(1, (9, 8, 4))
    before = np.asarray(twin(layer)(image[np.newaxis]))[0]
    channels = layer.kernel.shape[2]
    for place in np.ndindex(before.shape[:2]):
        index = sum(place) % layer.filters
        first = index * layer.groups // layer.filters * channels
        channel = first + sum(place) % channels
        found = patch(model, image, filter=index, place=place, channel=channel)
        np.testing.assert_array_equal(found.read, image[..., channel])
        assert found.total == pytest.approx(float(before[(*place, index)]), abs=1e-5)
        assert found.response == pytest.approx(np.tanh(found.total), abs=1e-5)
        assert found.other_channels == channels - 1


def test_the_window_is_cut_from_the_image():
    model = chain(layers.Conv2D(1, 3, padding="same"), shape=(5, 6, 1))
    image = np.arange(30.0).reshape(5, 6)
    found = patch(model, image, place=(2, 3))
    np.testing.assert_array_equal(found.window, image[1:4, 2:5])
    np.testing.assert_array_equal(found.kernel, model.layers[0].kernel.numpy()[..., 0, 0])
    np.testing.assert_allclose(found.products, found.window * found.kernel)
    assert found.rows == (1, 2, 3)
    assert found.columns == (2, 3, 4)
    assert found.inside.all()
    corner = patch(model, image, place=(0, 5))
    np.testing.assert_array_equal(corner.inside, [[0, 0, 0], [1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(corner.window, [[0, 0, 0], [4, 5, 0], [10, 11, 0]])


def test_a_layer_further_on_reads_the_one_before():
    model = convnet()
    (image,) = random_images(1)
    read = np.asarray(model.get_layer("pool")(model.get_layer("see")(image[np.newaxis])))[0]
    found = patch(model, image, "look", filter=2, channel=3)
    np.testing.assert_allclose(found.read, read[..., 3], atol=1e-5)
    written = np.asarray(model.get_layer("look")(read[np.newaxis]))[0, ..., 2]
    np.testing.assert_allclose(found.written, written, atol=1e-5)
    assert found.place == np.unravel_index(written.argmax(), written.shape)


def test_channels_of_groups_are_those_of_the_layers_input():
    model = chain(layers.Conv2D(4, 3, groups=2, name="see"), shape=(9, 8, 4))
    (image,) = random_images(1, (9, 8, 4))
    found = patch(model, image, filter=3, channel=3)
    np.testing.assert_array_equal(found.read, image[..., 3])
    np.testing.assert_array_equal(found.kernel, model.layers[0].kernel.numpy()[..., 1, 3])
    assert [patch(model, image, filter=index).channel for index in range(4)] == [0, 0, 2, 2]
    said = texts(patches(model, image, filter=3, channel=3))
    assert "what the layer reads, channel 3, 9×8" in said
    assert "the same, of the 1 other channel of its group together" in said
    for channel in (1, 4, 2.5):
        with pytest.raises(ValueError, match=rf"filter 3 reads, .* from 2 to 3\..*={channel}"):
            patch(model, image, filter=3, channel=channel)


def test_a_channel_for_each_filter():
    model = chain(layers.Conv2D(2, 3, groups=2), shape=(9, 8, 2))
    said = texts(patches(model, random_images(1), filter=1))
    assert "what the layer reads, channel 1, 9×8" in said
    assert "other channel" not in said


def test_the_picture_shows_the_numbers():
    model = chain(layers.Conv2D(1, 2, activation="relu"), shape=(3, 3, 1))
    model.set_weights([np.array([[0.5, -0.25], [1.0, 2.0]]).reshape(2, 2, 1, 1), np.array([-1.5])])
    image = np.array([[0.0, 0.0, 0.0], [0.0, 0.25, 1.0], [0.0, 0.5, 0.75]])
    picture = patches(model, image, place=(1, 1))
    read, written, window, kernel, products = (drawn(picture, index)[0] for index in range(5))
    np.testing.assert_array_equal(read, image)
    np.testing.assert_allclose(written, [[0.0, 0.75], [0.0, 0.375]], atol=1e-6)
    np.testing.assert_array_equal(window, [[0.25, 1.0], [0.5, 0.75]])
    np.testing.assert_array_equal(kernel, [[0.5, -0.25], [1.0, 2.0]])
    np.testing.assert_array_equal(products, [[0.125, -0.25], [0.5, 1.5]])
    cells = [text.get_text() for text in picture.axes[4].texts]
    assert cells == ["0.12", "−0.25", "0.50", "1.50"]
    said = texts(picture)
    for line in ("1.8750", "− 1.5000", "= 0.3750", "after relu: the response at row 1, column 1"):
        assert line in said


def test_signs_and_digits_stand_below_each_other():
    kernel = np.array([[-8.0, -12.0]]).reshape(1, 1, 2, 1)
    model = chain(layers.Conv2D(1, 1, activation="relu"), shape=(2, 2, 2))
    model.set_weights([kernel, np.array([0.5])])
    picture = patches(model, np.ones((2, 2, 2)), place=(0, 0))
    lines = [text for text in picture.texts if text.get_ha() == "right"]
    assert [" ".join(line.get_text().split()) for line in lines] == [
        "−8.0000",
        "− 12.0000",
        "+ 0.5000",
        "= −19.5000",
        "0.0000",
    ]
    assert len({line.get_position()[0] for line in lines}) == 1  # where they end
    boxes = [line.get_window_extent() for line in lines[1:4]]
    assert np.ptp([box.x0 for box in boxes]) < 0.5  # pixels: where signs begin
    assert all(box.x0 > 0 for box in boxes)


def test_each_panel_is_framed_and_has_its_scale():
    picture = patches(convnet(), random_images(1), "see", filter=1)
    assert len(picture.axes) == 10
    for axes, bar in zip(picture.axes[:5], picture.axes[5:], strict=True):
        assert all(spine.get_visible() for spine in axes.spines.values())
        assert bar.get_xlim() == axes.images[0].get_clim()


def test_large_kernels_are_left_without_numbers_and_padding_is_named():
    model = chain(layers.Conv2D(1, 9, padding="same"), shape=(12, 12, 1))
    picture = patches(model, np.ones((12, 12)), place=(0, 0))
    assert not any(axes.texts for axes in picture.axes)
    assert "Hatched: zero padding." in texts(picture)
    assert "rounded" not in texts(picture)
    assert np.ma.count_masked(picture.axes[2].images[0].get_array()) == 9 * 9 - 5 * 5
    assert np.ma.count_masked(picture.axes[3].images[0].get_array()) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"filter": 4}, r"filter must be .* 0 to 3\. Received: filter=4"),
        ({"channel": 2}, r"channel must be .* 0 to 1\. Received: channel=2"),
        ({"place": (7, 0)}, r"row from 0 to 6 .* column from 0 to 5 .*Received: place=\(7, 0\)"),
        ({"place": (0, -1)}, "Received: place"),
        ({"place": (0.5, 1)}, "Received: place"),
        ({"place": 3}, "Received: place=3"),
        ({"place": ((1,), 2)}, "row from 0 to 6"),
        ({"layer": "pool"}, r"Received: layer='pool'.* are: see, look\."),
        ({"image": np.zeros((3, 3))}, "image must be of shape"),
    ],
)
def test_what_is_not_there(arguments, said):
    arguments = {"image": random_images(1)} | arguments
    with pytest.raises(ValueError, match=said):
        patches(convnet(), **arguments)


def test_other_convolutions_are_refused_by_name():
    model = chain(layers.DepthwiseConv2D(3, name="deep"), layers.Conv2D(1, 2, name="plain"))
    with pytest.raises(ValueError, match=r"layer='deep'.* are: plain\."):
        patches(model, random_images(1), "deep")
    assert patch(model, random_images(1)).layer == "plain"


def test_channels_first():
    model = chain(layers.Conv2D(1, 2, data_format="channels_first"), shape=SHAPE)
    with pytest.raises(ValueError, match="drawn of channels last"):
        patches(model, random_images(1))


@pytest.mark.parametrize(("value", "ends"), [(1.0, (0, 1)), (0.0, (0, 1)), (-2.0, (-2, 0))])
def test_the_scale_of_one_value_alone(value, ends):
    model = chain(layers.Conv2D(1, 2), shape=(5, 5, 1))
    picture = patches(model, np.full((5, 5), value))
    read, window = picture.axes[0].images[0], picture.axes[2].images[0]
    assert read.get_clim() == window.get_clim() == ends
