"""Rectangles of images are filled in training: as large, as often and wherever Keras fills them."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from tests.engine.nets import GUARD, data, poisoned, program_of, recipe_of
from tests.engine.test_augment import changed

SHAPE = (13, 10, 3)


def some(count, shape=SHAPE):
    """No number of them is what a rectangle is filled with."""
    return np.random.default_rng(1).uniform(20, 200, (count, *shape)).astype(np.float32)


def rectangles(images, found):
    """Top, bottom, left and right of what differs in each image; of those where nothing does 0.
    All that differs fills them."""
    ends = np.zeros((len(images), 4), int)
    for number, differs in enumerate((images != found).any(-1)):
        rows, columns = np.nonzero(differs.any(1))[0], np.nonzero(differs.any(0))[0]
        if len(rows):
            ends[number] = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            assert differs.sum() == np.prod(np.diff(ends[number].reshape(2, 2)))
    return ends


@pytest.mark.parametrize("scale", [(0.02, 0.33), (0.5, 1.0)])
def test_rectangles_are_spread_as_those_of_keras(scale):
    images = some(1500)
    layer = layers.RandomErasing((1.0, 1.0), scale, fill_value=7.0)
    ours, theirs = (
        rectangles(images, found)
        for found in (changed(layer, images), np.asarray(layer(images, training=True)))
    )
    for mine, other in ((ours, theirs), (ours**2, theirs**2)):
        off = np.hypot(mine.std(0), other.std(0)) / math.sqrt(len(images))
        assert (np.abs(mine.mean(0) - other.mean(0)) < 5 * off).all()


def test_by_chance():
    images = some(400, (6, 5, 2))
    for chance, mean in (((0.3, 0.3), 0.3), (1.0, 0.5), ((0.0, 0.0), 0.0)):
        layer = layers.RandomErasing(chance, (0.9, 1.0), fill_value=0.0)
        erased = rectangles(images, changed(layer, images))[:, 1] > 0
        assert abs(erased.mean() - mean) <= 5 * math.sqrt(mean * (1 - mean) / len(images))


@pytest.mark.parametrize(
    ("fill", "filled"), [((1.0, 2.0, 500.0), (1, 2, 255)), (3, (3, 3, 3)), (-1.0, (0, 0, 0))]
)
def test_what_they_are_filled_with(fill, filled):
    images = some(20)
    layer = layers.RandomErasing((1.0, 1.0), (0.2, 0.8), fill_value=fill)
    found = changed(layer, images, width="4 lanes")
    top, bottom, left, right = rectangles(images, found).T
    assert (bottom > top).all()
    assert (right > left).all()
    np.testing.assert_array_equal(found[0, top[0] : bottom[0], left[0] : right[0]] - filled, 0)
    if not isinstance(fill, tuple):  # Keras documents a tuple, and on JAX fails at it
        theirs = np.asarray(layer(images, training=True))
        np.testing.assert_array_equal(np.unique(theirs[theirs != images]), np.unique(filled))


def test_noise():
    """Normal numbers times the highest value, held to the range: half of them are zero."""
    images = some(30) / 255
    found = changed(layers.RandomErasing((1.0, 1.0), (1.0, 1.0), value_range=(0, 1)), images)
    assert ((found >= 0) & (found <= 1)).all()
    inner = found[:, 1:-1, 1:-1]  # by rounding, a border may be left
    assert np.mean(inner == 0) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(inner.size))
    assert np.mean(inner == 1) == pytest.approx(0.1587, abs=5 * 0.37 / math.sqrt(inner.size))
    between = inner[(inner > 0) & (inner < 1)]
    assert between.mean() == pytest.approx(0.4598, abs=5 * 0.29 / math.sqrt(between.size))


def test_numbers_depend_on_seed_and_step_and_not_on_threads():
    images = some(40)
    layer = layers.RandomErasing()
    first = changed(layer, images)
    for threads in (1, 3):
        np.testing.assert_array_equal(first, changed(layer, images, threads=threads))
    for options in ({"seed": 6}, {"iterations": 1}):
        assert not np.array_equal(first, changed(layer, images, **options))


def test_no_gradient_comes_out_of_a_rectangle():
    """Behind weights: the gradient of what stays, where every image is erased for the most part."""
    erasing = layers.RandomErasing((1.0, 1.0), (0.7, 0.8), fill_value=0.0)
    ends = [layers.Conv2D(2, 1), erasing, layers.Flatten()]
    model = keras.Sequential([keras.Input((6, 5, 2)), *ends])
    graph, recipe = read(model).graph, recipe_of("mean_squared_error")
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(one.shape).astype(np.float32) for one in graph.parameters]
    sample = data(rng, graph, recipe.loss, 4, 4)
    program, outputs = program_of(graph, recipe, values, guard=GUARD), poisoned(4, graph)
    program.train(sample.batches, np.zeros(1), outputs=outputs, seeds=np.array([1], np.uint64))
    x, y = sample.x[sample.order], sample.y[sample.order].reshape(4, -1)
    behind = 2 * (outputs - y) / outputs.size * (outputs != 0)
    assert 0.05 < np.mean(outputs != 0) < 0.6
    expected = np.einsum("bhwi,bhwo->io", x, behind.reshape(4, 6, 5, 2))
    kernel, bias = program.get_gradients()
    np.testing.assert_allclose(kernel.reshape(2, 2), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias, behind.reshape(-1, 2).sum(0), rtol=1e-4, atol=1e-5)


def test_what_keras_refuses_is_left_to_it():
    for layer in (layers.RandomErasing(fill_value=(1, 2, 3)), layers.RandomErasing(fill_value="1")):
        with pytest.raises(NotCovered, match="RandomErasing"):
            read(keras.Sequential([keras.Input((6, 5, 2)), layer, layers.Flatten()]))
