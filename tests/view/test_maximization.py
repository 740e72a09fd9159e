"""Images that excite a filter: gradient ascent on its mean activation."""

from __future__ import annotations

from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.walk import walk
from convmill.view.activations import activations
from convmill.view.maximization import activation_maximization, maximize
from tests.view.nets import chain, convnet, drawn, texts

STEPS = 20


def test_activations_grow_and_are_the_models_own():
    model = convnet()
    found = maximize(model, "look", steps=STEPS)
    assert found.filters == (0, 1, 2)
    assert np.all(found.after > found.before)
    assert found.images.shape == (3, 9, 8, 2)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    means = activations(model, found.images, "look").mean(axis=(1, 2))
    np.testing.assert_allclose(found.after, means[[0, 1, 2], [0, 1, 2]], atol=1e-5)


def test_a_filter_that_adds_pixels_wants_them_bright():
    kernel = np.ones((3, 3, 1, 2), "float32") * [1, -1]
    model = chain(layers.Conv2D(2, 3, use_bias=False), shape=(8, 8, 1))
    model.set_weights([kernel])
    bright, dark = maximize(model, steps=40).images
    assert bright.mean() > 0.95
    assert dark.mean() < 0.05


def test_the_chosen_filters_in_their_order():
    model = convnet()
    both = maximize(model, "look", filters=[2, 0], steps=STEPS)
    assert both.filters == (2, 0)
    means = activations(model, both.images, "look").mean(axis=(1, 2))
    np.testing.assert_allclose(both.after, [means[0, 2], means[1, 0]], atol=1e-5)


@pytest.mark.parametrize(("channels", "said"), [(1, False), (3, False), (4, True)])
def test_channels_that_are_no_colours(channels, said):
    model = chain(layers.Conv2D(2, 3), shape=(8, 8, channels))
    found = texts(activation_maximization(model, steps=2)).replace("\n", " ")
    assert ("Drawn of each image: the mean of its 4 channels." in found) == said


def test_units_of_a_dense_layer():
    found = maximize(convnet(), "say", steps=STEPS)
    assert found.filters == (0, 1, 2, 3, 4)
    assert np.all(found.after > found.before)


def test_the_same_seed_gives_the_same_images():
    first, again, other = (maximize(convnet(), steps=3, seed=seed).images for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_silent_filter_is_grey_and_named():
    model = convnet()
    kernel, bias = model.get_layer("see").get_weights()
    bias[1] = -100
    model.get_layer("see").set_weights([kernel, bias])
    found = maximize(model, steps=STEPS)
    assert found.after[1] == 0
    assert np.all(found.images[1] == 0.5)
    labels = _labels(activation_maximization(model, steps=STEPS))
    assert labels[1] == ("1", "silent")
    assert ("silent" in labels[0]) == (found.after[0] == 0)


def _labels(picture):
    """(filter, what it answers) of each image, as written."""
    written = [text.get_text() for text in picture.axes[0].texts]
    return list(zip(written[::2], written[1::2], strict=True))


def test_a_filter_that_grey_does_not_reach_gets_other_noise():
    model = chain(layers.Conv2D(1, 3, activation="relu"), shape=(8, 8, 1))
    # bright in the middle on dark: silent on faint noise on grey
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8.0
    model.set_weights([kernel.reshape(3, 3, 1, 1), np.array([-2.0])])
    found = maximize(model, steps=40)
    assert found.before[0] == 0
    assert found.after[0] > 0.05


def test_a_model_that_scales_pixels_gets_the_range_it_reads():
    plain = chain(layers.Conv2D(3, 3, name="see"), shape=(8, 8, 1))
    scaling = chain(layers.Rescaling(1 / 255), layers.Conv2D(3, 3, name="see"), shape=(8, 8, 1))
    scaling.set_weights(plain.get_weights())
    expected, found = (maximize(model, "see", steps=10) for model in (plain, scaling))
    np.testing.assert_allclose(found.images, expected.images, atol=1e-3)
    np.testing.assert_allclose(found.after, expected.after, atol=1e-3)


@pytest.mark.parametrize("pixels", [(-1, 1), ([-1, -1], [1, 1]), (0, 255), ([-3, 0], [1, 2])])
def test_pixels_of_another_range(pixels):
    """An image of a model that scales pixels itself is that of one that is given the range."""
    plain = chain(layers.Conv2D(3, 3, name="see"), shape=(8, 8, 2))
    low, high = (np.broadcast_to(np.float32(end), 2) for end in pixels)
    scale = layers.Rescaling(list(high - low), offset=list(low))
    scaling = chain(scale, layers.Conv2D(3, 3, name="see"), shape=(8, 8, 2))
    scaling.set_weights(plain.get_weights())
    expected = maximize(scaling, "see", steps=10, pixels=(0, 1))
    found = maximize(plain, "see", steps=10, pixels=pixels)
    np.testing.assert_allclose(found.images, expected.images, atol=1e-3)
    np.testing.assert_allclose(found.after, expected.after, rtol=1e-3)


def test_the_range_of_pixels_is_said():
    model = convnet()
    said = texts(activation_maximization(model, steps=1, pixels=([-104, 0], [151, 1.5])))
    assert "Pixels from (−104, 0) to (151, 1.5)." in said.replace("\n", " ")
    scaling = chain(layers.Rescaling(1 / 255), layers.Conv2D(3, 3))
    said = texts(activation_maximization(scaling, steps=1)).replace("\n", " ")
    assert "Pixels from 0 to 255, which the model scales itself." in said


@pytest.mark.parametrize(
    "pixels",
    [(1, -1), (0, 0), (0, 1, 2), 3, "01", ([0] * 3, [1] * 3), (0, np.inf), (np.nan, 1),
     (-3e38, 3e38), (0, 1e300), (0, "a"), (0, None), ([[0, 0]], [[1, 1]]), (1e9, 1e9 + 1)],
)  # fmt: skip
def test_what_is_no_range_of_pixels(pixels):
    with pytest.raises(ValueError, match=r"pixels must be .* \(-1, 1\).*of 2 numbers.*Received: "):
        maximize(convnet(), pixels=pixels)


def _classifier(*last, units=4):
    return chain(layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(units, name="sum"), *last)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "log_softmax", "hard_sigmoid"])
def test_units_are_looked_at_before_what_saturates(activation):
    """The same images and values as of the model that ends before it."""
    expected = maximize(_classifier(), "sum", steps=STEPS)
    operation = getattr(keras.ops, activation)
    inside = chain(
        layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(4, activation=activation, name="last")
    )
    of_layer = _classifier(layers.Activation(activation, name="last"))
    plain = _classifier()
    of_operation = keras.Model(plain.inputs[0], operation(plain.outputs[0]))
    models = [(inside, "last"), (of_layer, "last"), (of_operation, walk(of_operation).outputs[0])]
    if activation == "softmax":
        models.append((_classifier(layers.Softmax(name="last")), "last"))
    for model, layer in models:
        model.set_weights(plain.get_weights())
        before = [weight.copy() for weight in model.get_weights()]
        found = maximize(model, layer, steps=STEPS)
        assert found.activation == activation
        np.testing.assert_allclose(found.images, expected.images, atol=1e-4)
        np.testing.assert_allclose(found.after, expected.after, rtol=1e-4)
        for weight, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, old)


def test_the_picture():
    picture = activation_maximization(convnet(), "look", steps=3)
    assert np.array(drawn(picture)).shape == (3, 9, 8)
    said = texts(picture).replace("\n", " ")
    assert "What excites look" in said
    assert "after 3 steps of gradient ascent" in said
    assert "at the right, its mean activation over it" in said
    assert "Pixels are taken to lie from 0 to 1." in said
    after = maximize(convnet(), "look", steps=3).after
    filters, answers = zip(*_labels(picture), strict=True)
    assert filters == ("0", "1", "2")
    np.testing.assert_allclose([float(answer.replace("−", "-")) for answer in answers], after, 0.05)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 5, 1), (6, 5)), ((6, 5, 3), (6, 5, 3)), ((6, 5, 4), (6, 5)), ((6, 5), (6, 5))],
)
def test_pictures_of_any_channels(shape, expected):
    model = chain(layers.Flatten(), layers.Dense(1, name="say"), shape=shape)
    picture = activation_maximization(model, "say", steps=1)
    assert drawn(picture)[0].shape == expected


def test_sixteen_unless_told_otherwise():
    model = chain(layers.Conv2D(20, 2), shape=(4, 4, 1))
    assert len(maximize(model, steps=1).filters) == 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "Received: steps=0"),
        ({"steps": "9"}, "Received: steps='9'"),
        ({"seed": -1}, "Received: seed=-1"),
        ({"filters": 3}, "Received: filters=3"),
        ({"filters": [True]}, "Received: filters=True"),
        ({"filters": [4]}, r"0 to 3\. Received: filters=4"),
        ({"filters": []}, "at least one"),
        ({"filters": [0.5]}, "Received: filters=0.5"),
        ({"layer": "sea"}, "Nearest: see"),
    ],
)
def test_what_is_not_there(arguments, said):
    with pytest.raises(ValueError, match=said):
        activation_maximization(convnet(), **arguments)


@pytest.mark.parametrize("shape", [(None, None, 1), (12,)])
def test_models_whose_images_have_no_size(shape):
    stack = [layers.Conv2D(2, 3)] if len(shape) == 3 else [layers.Dense(2)]
    model = chain(*stack, shape=shape)
    with pytest.raises(ValueError, match=r"must read images .*Received: a model that reads"):
        activation_maximization(model, model.layers[0].name)


def test_labels_of_narrow_images_do_not_meet():
    model = chain(layers.Conv2D(24, 3), shape=(60, 6, 1))
    picture = activation_maximization(model, filters=range(24), steps=1)
    picture.canvas.draw()
    boxes = [text.get_window_extent() for text in picture.axes[0].texts]
    rows: dict[int, list] = {}
    for box in boxes:
        rows.setdefault(round(box.y0 / 20), []).append(box)
    assert len(rows) > 1
    for row in rows.values():
        ordered = sorted(row, key=lambda box: box.x0)
        assert all(left.x1 < right.x0 for left, right in pairwise(ordered))
