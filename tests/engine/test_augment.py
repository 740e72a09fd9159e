"""Images changed at random: what is done is what Keras does, by numbers spread as its own."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from tests.engine.fences import fenced
from tests.engine.nets import GUARD, WIDTHS, Data, poisoned, program_of, recipe_of

SHAPE = (7, 6, 3)
FILLS = ("reflect", "constant", "wrap", "nearest")


def changed(layer, images, *, seed=5, iterations=0, threads=2, width="16 lanes"):
    """What a layer makes of images in training; outside training it leaves them as they are."""
    shape, count = images.shape[1:], len(images)
    model = keras.Sequential([keras.Input(shape), layer, layers.Flatten()])
    graph = read(model).graph
    options = {"guard": GUARD, "machine": WIDTHS[width], "threads": threads}
    program = program_of(graph, recipe_of("mean_squared_error"), [], **options)
    outputs = poisoned(count, graph)
    labels = np.zeros((count, math.prod(shape)), np.float32)
    sample = Data(images, labels, None, np.arange(count), count)
    with fenced():
        program.train(sample.batches, np.zeros(1), iterations=iterations, outputs=outputs,
                      seeds=np.array([seed], np.uint64))  # fmt: skip
    np.testing.assert_array_equal(program.predict(images), images.reshape(count, -1))
    return outputs.reshape(images.shape)


def some(count=4, shape=SHAPE):
    return np.random.default_rng(1).uniform(0, 255, (count, *shape)).astype(np.float32)


FIXED = {
    "rotation": lambda **given: layers.RandomRotation((0.13, 0.13), **given),
    "rotation back": lambda **given: layers.RandomRotation((-0.4, -0.4), **given),
    "zoom out": lambda **given: layers.RandomZoom((0.45, 0.45), **given),
    "zoom of two": lambda **given: layers.RandomZoom((-0.3, -0.3), (0.9, 0.9), **given),
    "translation": lambda **given: layers.RandomTranslation((0.3, 0.3), (-0.55, -0.55), **given),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", FIXED)
def test_a_known_map_gives_the_pixels_of_keras(name, fill):
    layer = FIXED[name](fill_mode=fill, fill_value=7.0)
    images = some()
    theirs = np.asarray(layer(images, training=True))
    np.testing.assert_allclose(changed(layer, images), theirs, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("name", FIXED)
def test_the_nearest_pixel(name):
    layer = FIXED[name](interpolation="nearest", fill_mode="constant")
    images = some(shape=(9, 8, 17))
    theirs = np.asarray(layer(images, training=True))
    np.testing.assert_array_equal(changed(layer, images, width="8 lanes"), theirs)


@pytest.mark.parametrize("fill", FILLS)
def test_shear_goes_both_ways(fill):
    """By known shares, forwards or backwards, which is drawn for each image."""
    images = some(40, (9, 8, 3))
    options = {"interpolation": "bilinear", "fill_mode": fill, "fill_value": 7.0}
    found = changed(layers.RandomShear((0.3, 0.3), (0.12, 0.12), **options), images)
    both = [
        np.asarray(keras.ops.image.affine_transform(
            images, np.float32([[1, 0.3 * sign, 0, 0.12 * sign, 1, 0, 0, 0]] * 40), **options))
        for sign in (1, -1)
    ]  # fmt: skip
    off = np.array([np.abs(found - one).max(axis=(1, 2, 3)) for one in both])
    assert off.min(axis=0).max() < 2e-3
    assert abs((off[0] < off[1]).sum() - 20) < 5 * math.sqrt(10)


def test_shear_is_drawn_from_both_factors():
    """Where a ramp of rows and one of columns went tells by how much an image was sheared."""
    rows, columns = np.meshgrid(np.arange(20.0), np.arange(20.0), indexing="ij")
    images = np.broadcast_to(np.stack([rows, columns], -1), (200, 20, 20, 2)).astype(np.float32)
    layer = layers.RandomShear(0.2, (0.1, 0.3), fill_mode="constant")
    found = changed(layer, np.ascontiguousarray(images))
    down, across = ((found - images)[:, 10, 10] / 10).T
    assert_uniform(across, -0.2, 0.2)
    assert_uniform(np.abs(down), 0.1, 0.3)


@pytest.mark.parametrize(
    ("mode", "axes"),
    [("horizontal", (2,)), ("vertical", (1,)), ("horizontal_and_vertical", (1, 2))],
)
def test_flips(mode, axes):
    images = some(200)
    found, over = changed(layers.RandomFlip(mode), images), np.flip(images, axes)
    turned = np.array([np.array_equal(one, other) for one, other in zip(found, over, strict=True)])
    np.testing.assert_array_equal(found, np.where(turned[:, None, None, None], over, images))
    assert turned.sum() == pytest.approx(100, abs=5 * math.sqrt(50))


def assert_uniform(numbers, low, high):
    """So many numbers of a range, by mean, variance, least and largest."""
    spread = (numbers - low) / (high - low)
    assert spread.min() >= -1e-4
    assert spread.max() <= 1 + 1e-4
    assert np.mean(spread) == pytest.approx(0.5, abs=5 / math.sqrt(12 * len(spread)))
    assert np.var(spread) == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / len(spread)))


def test_brightness():
    """In shares of the range of values, which are held to it."""
    images = some(300) * 0.4 + 60
    found = changed(layers.RandomBrightness((-0.2, 0.1)), images)
    added = (found - images)[:, 0, 0, 0]
    np.testing.assert_allclose(found - images, np.broadcast_to(
        added[:, None, None, None], images.shape), atol=1e-3)  # fmt: skip
    assert_uniform(added, -0.2 * 255, 0.1 * 255)
    bright = changed(layers.RandomBrightness((0.9, 1.0)), images)
    assert bright.max() == 255


def test_contrast():
    """About the mean of each channel, alike for all channels of an image."""
    images = some(300) * 0.2 + 100
    found = changed(layers.RandomContrast((0.3, 0.5)), images)
    mean = images.mean(axis=(1, 2), keepdims=True)
    factors = (found - mean)[:, 0, 0] / (images - mean)[:, 0, 0]
    exact = (images - mean) * np.median(factors, axis=1)[:, None, None, None] + mean
    np.testing.assert_allclose(found, exact, atol=2e-2)
    assert_uniform(np.median(factors, axis=1), 0.7, 1.5)
    limited = changed(layers.RandomContrast((0.0, 1.0), value_range=(90, 110)), images)
    assert limited.min() == 90
    assert limited.max() == 110


def test_numbers_of_height_and_width_are_apart():
    """Where a ramp of rows and one of columns went tells by how much an image was moved."""
    rows, columns = np.meshgrid(np.arange(20.0), np.arange(20.0), indexing="ij")
    images = np.broadcast_to(np.stack([rows, columns], -1), (200, 20, 20, 2)).astype(np.float32)
    found = changed(layers.RandomTranslation(0.2, 0.3), np.ascontiguousarray(images))
    down, right = (images - found)[:, 10, 10].T
    assert_uniform(down, -4, 4)
    assert_uniform(right, -6, 6)
    assert abs(np.corrcoef(down, right)[0, 1]) < 5 / math.sqrt(200)


def test_numbers_depend_on_seed_and_step_and_not_on_threads():
    images = some(40)
    first = changed(layers.RandomRotation(0.5), images)
    for threads in (1, 3):
        again = changed(layers.RandomRotation(0.5), images, threads=threads)
        np.testing.assert_array_equal(first, again)
    for options in ({"seed": 6}, {"iterations": 1}):
        assert not np.array_equal(first, changed(layers.RandomRotation(0.5), images, **options))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.RandomFlip(),
        lambda: layers.RandomRotation(0.1),
        lambda: layers.RandomZoom(0.1),
        lambda: layers.RandomZoom(0.1, 0.1),
        lambda: layers.RandomTranslation(0.1, 0.1),
        lambda: layers.RandomContrast(0.1),
        lambda: layers.RandomBrightness(0.1),
        lambda: layers.RandomCrop(5, 4),
        lambda: layers.RandomShear(0.1, 0.1),
        lambda: layers.RandomErasing(),
        lambda: layers.RandomErasing(fill_value=0),
    ],
)
def test_seeds_are_drawn_as_often_as_in_keras(layer):
    """What is saved of a layer's state is what Keras would save."""
    drawing, middle = layer(), layers.CenterCrop(3, 3)
    drawing(some(2), training=True)
    draws = read(keras.Sequential([keras.Input(SHAPE), drawing, middle])).graph.draws
    assert draws == (int(drawing.generator.state.numpy()[1]),)


def test_behind_trained_weights_keras_goes_on():
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 1), layers.RandomFlip()])
    with pytest.raises(NotCovered, match=r"RandomFlip.*behind trained weights"):
        read(model)
    model.layers[0].trainable = False
    assert read(model).graph.dropouts == 1
