"""Response maps: the numbers of Keras' own intermediate outputs, each in its tile."""

from __future__ import annotations

import numpy as np
import pytest
from keras import layers

from convmill.view.responses import responses
from tests.view.nets import branches, chain, convnet, drawn, random_images, texts


@pytest.mark.parametrize("layer", ["see", "pool", "look"])
def test_tiles_are_the_layers_own_outputs(layer):
    model = convnet()
    (image,) = random_images(1)
    expected = image[np.newaxis]
    for one in model.layers:
        expected = np.asarray(one(expected))
        if one.name == layer:
            break
    tiles = np.array(drawn(responses(model, image, layer)))
    np.testing.assert_allclose(tiles, expected[0].transpose(2, 0, 1), atol=1e-5)


def test_the_first_convolution_unless_told_otherwise():
    picture = responses(convnet(), random_images(1))
    assert "Responses of see" in texts(picture)
    assert "4 maps of 7×6, each on a scale of its own." in texts(picture)


def test_the_image_is_shown_beside_them():
    model = chain(layers.Conv2D(3, 2), shape=(6, 5, 1))
    (image,) = random_images(1, (6, 5))
    picture = responses(model, image)
    np.testing.assert_array_equal(drawn(picture, 1)[0], image)
    assert "image, 6×5" in texts(picture)


@pytest.mark.parametrize(("channels", "said"), [(1, False), (3, False), (5, True)])
def test_channels_that_are_no_colours(channels, said):
    model = chain(layers.Conv2D(2, 2), shape=(6, 5, channels))
    found = texts(responses(model, random_images(1, (6, 5, channels)))).replace("\n", " ")
    assert ("Drawn of the image: the mean of its 5 channels." in found) == said


@pytest.mark.parametrize(
    ("layer", "lowest", "said"),
    [("see", 0, "its largest value."), ("look", -1, "its largest value, signs aside.")],
)
def test_a_scale_for_each_map_from_zero_or_about_it(layer, lowest, said):
    picture = responses(convnet(), random_images(1), layer)
    notes = [text.get_text() for text in picture.axes[0].texts][1::2]
    for tile, note in zip(picture.axes[0].images, notes, strict=True):
        largest = float(np.abs(tile.get_array()).max())
        assert tile.get_clim() == pytest.approx((lowest * (largest or 1), largest or 1))
        assert float(note) == pytest.approx(largest, rel=0.05)
    assert f"Above each, at the right: {said}" in texts(picture).replace("\n", " ")
    assert picture.axes[2].get_xlim() == (lowest, 1)  # the colour bar


def test_maps_of_zeros_only():
    picture = responses(chain(layers.Conv2D(2, 2), shape=(6, 5, 1)), np.zeros((6, 5)))
    assert [text.get_text() for text in picture.axes[0].texts] == ["0", "0", "1", "0"]
    assert {tile.get_clim() for tile in picture.axes[0].images} == {(0, 1)}


def test_the_most_that_are_shown():
    picture = responses(convnet(), random_images(1), most=3)
    assert len(drawn(picture)) == 3
    assert "The first 3 are shown." in texts(picture)
    for most in (0, 2.0, "3", True):
        with pytest.raises(ValueError, match=f"of at least 1. Received: most={most!r}"):
            responses(convnet(), random_images(1), most=most)


def test_silent_filters_are_counted():
    model = convnet()
    kernel, bias = model.get_layer("see").get_weights()
    model.get_layer("see").set_weights([kernel * 0, bias * 0 + [1, -1, 0, 2]])
    said = texts(responses(model, random_images(1)))
    assert "2 of them are nowhere above 0." in said


def test_branches():
    model, _ = branches()
    assert np.array(drawn(responses(model, random_images(1), "both"))).shape == (3, 9, 8)


@pytest.mark.parametrize("name", ["flat", "say", "sea"])
def test_layers_that_write_no_map(name):
    with pytest.raises(ValueError, match=rf"Received: layer='{name}'.*are: see, pool, look\."):
        responses(convnet(), random_images(1), name)


def test_channels_first():
    model = chain(layers.ReLU(), layers.MaxPooling2D(2, name="pool", data_format="channels_first"))
    with pytest.raises(ValueError, match="data_format='channels_first'"):
        responses(model, random_images(1), "pool")


def test_an_image_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \(9, 8, 2\)\. Received: \(9, 8\)"):
        responses(convnet(), np.zeros((9, 8)))


def test_a_map_of_one_place_and_an_image_of_any_size():
    model = chain(layers.Conv2D(2, 4), shape=(None, None, 1))
    assert np.array(drawn(responses(model, np.ones((4, 4))))).shape == (2, 1, 1)


def test_a_layer_name_with_dollar_signs(tmp_path):
    model = chain(layers.Conv2D(2, 3, name="a$x_$c"))
    picture = responses(model, random_images(1))
    picture.savefig(tmp_path / "a.png")
    assert "Responses of a$x_$c" in texts(picture)
