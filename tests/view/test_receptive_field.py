"""What a unit sees: the theoretical field around the effective one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.patches import Rectangle

from convmill.view.receptive_field import outline, receptive_field
from convmill.view.seen import THRESHOLD, see
from tests.view.nets import branches, chain, convnet, drawn, random_images, texts


def ones(*kernels: int, padding: str = "valid", size: int = 21) -> keras.Sequential:
    """Linear convolutions whose weights are all 1."""
    stack = [
        layers.Conv2D(1, kernel, padding=padding, kernel_initializer="ones", name=f"conv{index}")
        for index, kernel in enumerate(kernels)
    ]
    return chain(*stack, shape=(size, size, 1))


def test_a_linear_nets_gradient_is_the_product_of_its_kernels():
    model = ones(3, 3, 3, 3, 3)
    seen = see(model, "conv4")
    assert seen.size == (11, 11)
    assert (seen.rows, seen.columns) == ((5, 15), (5, 15))
    row = np.array([1.0])
    for _ in range(5):
        row = np.convolve(row, np.ones(3))
    expected = np.zeros((21, 21))
    expected[5:16, 5:16] = np.outer(row, row)
    np.testing.assert_allclose(seen.gradient, expected, rtol=1e-5)
    # Luo et al.: pixels above 1 - 95.45 % of the largest
    assert pytest.approx(0.0455) == THRESHOLD
    assert seen.effective.sum() == np.sum(expected > 0.0455 * expected.max())
    assert 0 < seen.effective.sum() < 121
    assert seen.share == pytest.approx(121 / 441)


@pytest.mark.parametrize("layer", ["see", "pool", "look"])
def test_no_pixel_outside_the_frame_has_a_gradient(layer):
    model = convnet()
    height, width = model.get_layer(layer).output.shape[1:3]
    for unit in [(0, 0), (0, width - 1), (height // 2, width // 2), (height - 1, 0)]:
        seen = see(model, layer, unit=unit, images=random_images(8))
        outside = np.ones(seen.gradient.shape, bool)
        outside[seen.rows[0] : seen.rows[1] + 1, seen.columns[0] : seen.columns[1] + 1] = False
        assert not seen.gradient[outside].any()
        assert seen.gradient[~outside].any()


def test_a_unit_at_the_border_sees_less_of_the_image():
    seen = see(ones(3, 3, padding="same"), "conv1", unit=(0, 20))
    assert seen.size == (5, 5)
    assert (seen.rows, seen.columns) == ((0, 2), (18, 20))
    assert seen.share == pytest.approx(9 / 441)


def test_one_channel_or_all_of_them():
    model = chain(layers.Conv2D(3, 3, name="see"))  # linear: the gradient is the kernel
    images = random_images(2)
    kernel = model.get_layer("see").kernel.numpy()
    for channel in range(3):
        seen = see(model, "see", unit=(2, 3, channel), images=images)
        assert seen.channel == channel
        expected = np.abs(kernel[..., channel]).sum(axis=2)
        np.testing.assert_allclose(seen.gradient[2:5, 3:6], expected, rtol=1e-5)
    seen = see(model, "see", unit=(2, 3), images=images)
    assert seen.channel is None
    expected = np.abs(kernel.sum(axis=3)).sum(axis=2)
    np.testing.assert_allclose(seen.gradient[2:5, 3:6], expected, rtol=1e-5)


def test_many_images_are_taken_in_parts():
    model, images = convnet(), random_images(150)
    whole = see(model, "look", images=images)
    parts = [see(model, "look", images=part).gradient for part in np.split(images, [30, 100])]
    expected = (30 * parts[0] + 70 * parts[1] + 50 * parts[2]) / 150
    np.testing.assert_allclose(whole.gradient, expected, rtol=1e-4, atol=1e-7)
    assert whole.images == 150


def test_branches_see_what_the_widest_sees():
    model, _ = branches()
    seen = see(model, "last", unit=(1, 1))
    assert seen.size == (5, 5)
    assert (seen.rows, seen.columns) == ((1, 5), (1, 5))


def test_the_picture():
    model, images = ones(3, 3), random_images(4, (21, 21))
    picture = receptive_field(model, "conv1", unit=(8, 4), images=images)
    np.testing.assert_array_equal(drawn(picture, 0)[0], images[0])
    share = drawn(picture, 1)[0]
    assert share.max() == 1
    for axes in picture.axes[:2]:
        (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert frame.get_bbox().bounds == (3.5, 7.5, 5, 5)
    said = texts(picture).replace("\n", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "What a unit of conv1 sees" in said
    assert "row 8, column 4 of 17×17" in said
    assert "5×5 pixels; inside the image it covers 5.7 %." in said
    assert "is above 4.55 % of the largest" in said
    assert "25 pixels, as many as a square of 5.0×5.0" in said
    assert "over 4 images" in said


def test_a_small_field_is_drawn_larger_as_well():
    model, images = ones(3, 3), random_images(4, (21, 21))
    picture = receptive_field(model, "conv1", unit=(8, 0), images=images)
    image, gradient, _, larger = picture.axes
    assert image.get_xlim() == (-0.5, 20.5)
    for axes in (gradient, larger):  # columns 0 to 4, rows 8 to 12, and a pixel around
        assert axes.get_xlim() == (-0.5, 5.5)
        assert axes.get_ylim() == (13.5, 6.5)
    assert "rows 7 to 13, columns 0 to 5" in texts(picture)
    assert not image.collections
    (line,) = larger.collections  # around the effective field: all 25 pixels
    assert len(line.get_segments()) == 20


def test_a_large_field_is_drawn_once():
    picture = receptive_field(ones(3, 3, 3, 3, 3), "conv4")
    image, gradient, _ = picture.axes
    assert image.get_xlim() == gradient.get_xlim() == (-0.5, 20.5)
    (line,) = image.collections
    assert len(line.get_segments()) > 0


def test_the_image_keeps_its_own_brightness():
    picture = receptive_field(ones(3, 3), "conv1", image=np.eye(21))
    for axes in (picture.axes[0], picture.axes[3]):
        np.testing.assert_array_equal(np.concatenate(drawn_in(axes)), np.eye(21))


def drawn_in(axes):
    """All that is drawn as an image; lines leave what lies below them as it is."""
    return [np.asarray(image.get_array()) for image in axes.images]


def test_the_outline_of_pixels():
    assert outline(np.zeros((3, 4), bool)) == []
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    expected = {
        ((1.5, 0.5), (2.5, 0.5)),
        ((1.5, 1.5), (2.5, 1.5)),
        ((1.5, 0.5), (1.5, 1.5)),
        ((2.5, 0.5), (2.5, 1.5)),
    }
    assert set(outline(mask)) == expected
    assert len(outline(np.ones((3, 4), bool))) == 14


def test_random_pixels_of_another_range():
    """Behind relu the gradient tells which of the random pixels were below 0."""
    model = chain(layers.Conv2D(1, 1, activation="relu", name="see"), shape=(4, 4, 1))
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    shares = [
        see(model, "see", unit=(1, 1), pixels=pixels).gradient[1, 1]
        for pixels in (None, (0, 255), (-1, 1), (-2, -1))
    ]
    assert shares[:2] == [1, 1]
    assert 0.2 < shares[2] < 0.8
    assert shares[3] == 0
    said = texts(receptive_field(model, "see", pixels=(-1, 1))).replace("\n", " ")
    assert "Pixels from −1 to 1." in said
    assert "Pixels" not in texts(receptive_field(model, "see", images=np.ones((2, 4, 4))))


def test_a_range_beside_images():
    with pytest.raises(ValueError, match=r"images are taken as they are.*pixels=\(-1, 1\)"):
        receptive_field(convnet(), "see", images=random_images(2), pixels=(-1, 1))


def test_random_images_are_named_as_such():
    picture = receptive_field(ones(3), "conv0", image=np.eye(21))
    np.testing.assert_array_equal(drawn(picture, 0)[0], np.eye(21))
    assert "over 64 random images" in texts(picture).replace("\n", " ")


def test_a_unit_without_a_gradient():
    model = convnet()
    model.get_layer("see").set_weights([np.zeros((3, 3, 2, 4)), np.full(4, -1.0)])
    picture = receptive_field(model, "see")
    assert "Its gradient is 0 over 64 random images" in texts(picture).replace("\n", " ")


def test_behind_a_layer_that_is_not_known_the_size_is_an_upper_bound():
    class Own(keras.Layer):
        """A layer whose operation convmill does not know."""

        def call(self, inputs):
            return keras.ops.sort(inputs, axis=1)

    model = chain(layers.Conv2D(2, 3), Own(), layers.Conv2D(2, 3, name="last"))
    picture = receptive_field(model, "last")
    assert "at most 9×8 pixels" in texts(picture)


def test_where_units_see_unlike_numbers_of_pixels_the_largest_is_an_upper_bound():
    model = chain(
        layers.ZeroPadding2D(1),
        layers.Cropping2D(1),
        layers.UpSampling2D((2, 3), interpolation="bilinear"),
        layers.Conv2D(2, 3, strides=2, name="last"),
        shape=(5, 6, 1),
    )
    found = []
    for row, column in np.ndindex(4, 8):
        seen = see(model, "last", unit=(row, column), images=random_images(1, (5, 6, 1)))
        sides = tuple(end - start + 1 for start, end in (seen.rows, seen.columns))
        found.append(seen.exact)
        assert seen.exact == (sides == seen.size == (3, 3))
    assert set(found) == {True, False}
    assert not see(model, "last", unit=(2, 4)).exact
    assert "at most 3×3 pixels" in texts(receptive_field(model, "last", unit=(2, 4)))


def test_what_all_units_see_is_exact():
    model = chain(layers.GlobalAveragePooling2D(keepdims=True, name="all"))
    said = texts(receptive_field(model, "all")).replace("\n", " ")
    assert "the theoretical field, 9×8 pixels" in said


def test_channels_that_are_no_colours():
    model = chain(layers.Conv2D(2, 3, name="see"), shape=(9, 8, 4))
    picture = receptive_field(model, "see", images=random_images(2, (9, 8, 4)))
    assert "image, 9×8, the mean of its 4 channels" in texts(picture)
    assert "mean of its" not in texts(receptive_field(model, "see"))  # on grey


@pytest.mark.parametrize("unit", [(7, 0), (0, 6), (0, 0, 4), (0,), (0, 0, 0, 0), (-1, 0), 3, "a"])
def test_units_that_are_not_there(unit):
    with pytest.raises(ValueError, match=r"unit must be .*\(7, 6, 4\).* Received: unit="):
        receptive_field(convnet(), "see", unit=unit)


def test_layers_that_write_no_map():
    with pytest.raises(ValueError, match=r"Received: layer='say'.* are: see, pool, look\."):
        receptive_field(convnet(), "say")


def test_images_of_another_shape():
    with pytest.raises(ValueError, match="images must be of shape"):
        receptive_field(convnet(), "see", images=np.zeros((3, 4, 4, 2)))
    with pytest.raises(ValueError, match="image must be of shape"):
        receptive_field(convnet(), "see", image=np.zeros((4, 4, 2)))


def test_a_model_that_reads_images_of_any_size():
    model = chain(layers.Conv2D(2, 3, name="see"), shape=(None, None, 1))
    with pytest.raises(ValueError, match="must read images"):
        receptive_field(model, "see")


def test_tall_images_make_no_endless_picture():
    model = chain(layers.Conv2D(2, 3, name="see"), shape=(300, 4, 1))
    assert receptive_field(model, "see").get_size_inches()[1] < 10
