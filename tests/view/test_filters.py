"""Kernels as pictures: the model's own numbers, each where it belongs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.view.filters import filters, kernels_of
from tests.view.nets import SHAPE, chain, convnet, drawn, random_images, texts


def of(layer, shape=SHAPE) -> keras.Sequential:
    return chain(layer, shape=shape)


def test_one_channel_gives_one_tile_a_filter():
    model = of(layers.Conv2D(5, (3, 2), name="see"), (8, 8, 1))
    kernel = model.layers[0].kernel.numpy()
    picture = filters(model)
    tiles = drawn(picture)
    np.testing.assert_array_equal(tiles, kernel[:, :, 0].transpose(2, 0, 1))
    largest = np.abs(kernel).max()
    for image in picture.axes[0].images:
        assert image.get_clim() == pytest.approx((-largest, largest))
    assert [text.get_text() for text in picture.axes[0].texts] == ["0", "1", "2", "3", "4"]
    assert "Filters of see" in texts(picture)
    assert "5 kernels of 3×2 over 1 channel." in texts(picture)
    assert "are shown" not in texts(picture)


def test_more_than_64_are_left_out_and_counted():
    picture = filters(of(layers.Conv2D(70, 2), (8, 8, 1)))
    assert len(drawn(picture)) == 64
    assert "The first 64 of 70 filters are shown." in texts(picture).replace("\n", " ")


def test_several_channels_give_rows_of_filters_and_columns_of_channels():
    model = convnet()
    kernel = model.get_layer("look").kernel.numpy()  # (2, 2, 4, 3)
    picture = filters(model, "look")
    tiles = np.array(drawn(picture)).reshape(3, 4, 2, 2)
    np.testing.assert_array_equal(tiles, kernel.transpose(3, 2, 0, 1))
    axes = picture.axes[0]
    corners = [image.get_extent()[0::3] for image in axes.images]
    assert corners == sorted(corners, key=lambda corner: (round(corner[1]), corner[0]))
    assert axes.get_ylabel() == "filter"
    assert axes.get_xlabel() == "channel of the input"


def test_many_channels_are_left_out_and_counted():
    picture = filters(of(layers.Conv2D(18, 2), (8, 8, 17)))
    assert len(drawn(picture)) == 16 * 16
    said = texts(picture).replace("\n", " ")
    assert "The first 16 of 18 filters are shown. The first 16 of 17 channels are shown." in said


def test_one_channel_of_several():
    model = convnet()
    tiles = drawn(filters(model, "look", channel=2))
    kernel = model.get_layer("look").kernel.numpy()
    np.testing.assert_array_equal(tiles, kernel[:, :, 2].transpose(2, 0, 1))


@pytest.mark.parametrize("channel", [-1, 4, 1.5, "0", True])
def test_channels_that_are_not_there(channel):
    with pytest.raises(ValueError, match=r"channel must be .* 0 to 3\. Received: channel="):
        filters(convnet(), "look", channel=channel)


def test_colours_at_the_first_convolution_alone():
    model = chain(
        layers.Rescaling(1 / 255), layers.Conv2D(3, 2), layers.Conv2D(2, 2), shape=(8, 8, 3)
    )
    first, second = model.layers[1:]
    kernel = first.kernel.numpy()
    tiles = np.array(drawn(filters(model)))
    expected = 0.5 + kernel.transpose(3, 0, 1, 2) / (2 * np.abs(kernel).max())
    np.testing.assert_allclose(tiles, expected, rtol=1e-5)
    assert np.array(drawn(filters(model, second.name))).shape == (6, 2, 2)


def test_kernels_of_1x1_are_one_matrix():
    model = of(layers.Conv2D(70, 1), (8, 8, 40))
    (matrix,) = drawn(filters(model))
    np.testing.assert_array_equal(matrix, model.layers[0].kernel.numpy()[0, 0].T[:64])


def test_filters_that_are_all_zero():
    model = of(layers.Conv2D(2, 3, kernel_initializer="zeros"), (8, 8, 1))
    for image in filters(model).axes[0].images:
        assert image.get_clim() == (-1, 1)


@pytest.mark.parametrize("layer", [layers.Dense(2), layers.Conv1D(2, 3)])
def test_a_model_without_a_convolution(layer):
    with pytest.raises(ValueError, match=r"has no 2-D convolution\."):
        filters(chain(layer, shape=(8, 3)))


def test_models_of_several_inputs():
    left, right = keras.Input((8, 8, 1)), keras.Input((9, 9, 2))
    ends = [layers.Conv2D(2, 3, name="left")(left), layers.Conv2D(3, 4, name="right")(right)]
    model = keras.Model([left, right], ends)
    kernel = model.get_layer("right").kernel.numpy()
    tiles = np.array(drawn(filters(model, "right"))).reshape(3, 2, 4, 4)
    np.testing.assert_array_equal(tiles, kernel.transpose(3, 2, 0, 1))
    assert len(drawn(filters(model, "left"))) == 2


def test_a_layer_that_is_no_convolution():
    with pytest.raises(ValueError, match=r"Received: layer='pool'.* are: see, look\."):
        filters(convnet(), "pool")


def test_images_of_any_size():
    assert len(drawn(filters(of(layers.Conv2D(2, 3), (None, None, 1))))) == 2


def test_dark():
    assert filters(convnet(), dark=True).theme.ground == "#15181C"


# Kinds of convolutions --------------------------------------------------------------------------


def test_kernels_of_a_separable_convolution_are_what_it_computes():
    layer = layers.SeparableConv2D(4, 3, depth_multiplier=2, use_bias=False)
    model, images = of(layer), random_images()
    kernels = kernels_of(layer)
    assert kernels.shape == (3, 3, 2, 4)
    expected = keras.ops.conv(images, kernels, padding="valid")
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_kernels_of_a_depthwise_convolution_are_what_it_computes():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False)
    model, images = of(layer), random_images()
    kernels = kernels_of(layer)
    assert kernels.shape == (3, 3, 1, 6)
    for index in range(6):
        channel = images[..., index // 3, np.newaxis]
        expected = keras.ops.conv(channel, kernels[..., index : index + 1], padding="valid")
        np.testing.assert_allclose(model(images)[..., index], expected[..., 0], atol=1e-5)


def test_kernels_of_a_transposed_convolution_have_their_filters_last():
    layer = layers.Conv2DTranspose(5, 3)
    of(layer)
    assert kernels_of(layer).shape == (3, 3, 2, 5)
    expected = layer.kernel.numpy()[1, 2, 4, 0]
    assert kernels_of(layer)[1, 2, 0, 4] == expected


def test_kernels_of_groups():
    layer = layers.Conv2D(6, 3, groups=2)
    of(layer)
    np.testing.assert_array_equal(kernels_of(layer), layer.kernel.numpy())


def test_channels_of_a_group_are_called_so():
    model = of(layers.Conv2D(4, 2, groups=2, name="see"), (8, 8, 6))
    picture = filters(model)
    assert picture.axes[0].get_xlabel() == "channel of its group"  # three, but no colours
    assert "4 kernels of 2×2 over 3 channels of their group." in texts(picture)
    said = texts(filters(model, channel=2))
    assert "4 kernels of 2×2 over channel 2 of 3 of their group." in said


def test_weights_that_are_not_finite():
    model = of(layers.Conv2D(3, 2, name="see"), (8, 8, 1))
    kernel = np.zeros((2, 2, 1, 3), "float32")
    kernel[..., 1] = np.inf
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(ValueError, match=r"'see' must hold finite weights.* for 1 of 3 filters"):
        filters(model)
