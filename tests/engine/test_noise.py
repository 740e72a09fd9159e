"""Noise: how its numbers are spread, what they depend on, and what comes through backward."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.read import read
from tests.engine.fences import fenced
from tests.engine.nets import GUARD, WIDTHS, Data, in_records, poisoned, program_of, recipe_of

SHAPE = (6, 7, 5)
LEAST = -1.7580993408473766  # of SELU


def trained(layer, shape=SHAPE, *, count=128, threads=2, seed=3, iterations=0, width="16 lanes"):
    """What a layer writes in training for images of ones, and what it hands back of gradients of
    one: (count, *shape) both. A convolution before that changes nothing makes it hand them back."""
    model = keras.Sequential([keras.Input(shape)])
    eye = np.eye(shape[-1], dtype=np.float32)
    model.add(layers.Dense(shape[-1], use_bias=False) if len(shape) == 1 else
              layers.Conv2D(shape[-1], 1, use_bias=False))  # fmt: skip
    model.add(layer)
    model.add(layers.Flatten())
    graph = read(model).graph
    images = np.ones((count, *shape), np.float32)
    far = np.full((count, math.prod(shape)), -1e9, np.float32)  # absolute error: slopes are one
    sample = Data(images, far, None, np.arange(count), count)
    options = {"guard": GUARD, "machine": WIDTHS[width], "threads": threads}
    recipe = recipe_of("mean_absolute_error")
    program = program_of(graph, recipe, [eye.reshape(graph.parameters[0].shape)], **options)
    outputs = poisoned(count, graph)
    with fenced():
        program.train(sample.batches, np.zeros(1), iterations=iterations, outputs=outputs,
                      seeds=np.array([seed], np.uint64))  # fmt: skip
    predicted = program.predict(images)
    np.testing.assert_array_equal(predicted, np.ones_like(predicted))
    found = in_records(program, "gradient", program.network.stages[0].output)
    slopes = found.reshape(images.shape) * (count * math.prod(shape))  # the loss is a mean of all
    return outputs.reshape(images.shape), slopes


def assert_normal(values, mean, deviation):
    """Mean, deviation, skew and tails of so many normal numbers, within five deviations of each."""
    size, standard = values.size, (values - mean) / deviation
    for power, expected, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(standard**power) == pytest.approx(expected, abs=5 * math.sqrt(spread / size))
    for step in (1, 5, 35):  # neighbours, pixels, rows
        together = np.mean(standard.ravel()[step:] * standard.ravel()[:-step])
        assert abs(together) < 5 / math.sqrt(size)


@pytest.mark.parametrize("width", WIDTHS)
def test_gaussian_noise(width):
    written, slopes = trained(layers.GaussianNoise(0.3), width=width)
    assert_normal(written, 1.0, 0.3)
    np.testing.assert_allclose(slopes, 1.0, rtol=1e-5)


def test_gaussian_dropout():
    written, slopes = trained(layers.GaussianDropout(0.2))
    assert_normal(written, 1.0, 0.5)
    np.testing.assert_allclose(slopes, written, rtol=1e-5)


def test_alpha_dropout():
    """SELU's least value in a share of the places; mean and variance are kept (of 0 and 1)."""
    written, slopes = trained(layers.AlphaDropout(0.25))
    scale = (0.75 * (1 + 0.25 * LEAST**2)) ** -0.5
    shift = -scale * LEAST * 0.25
    fallen = slopes == 0
    assert np.mean(fallen) == pytest.approx(0.25, abs=5 * math.sqrt(0.1875 / written.size))
    np.testing.assert_allclose(written[fallen], scale * LEAST + shift, rtol=1e-5)
    np.testing.assert_allclose(written[~fallen], scale + shift, rtol=1e-5)
    np.testing.assert_allclose(slopes[~fallen], scale, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (lambda: layers.SpatialDropout2D(0.5), (1, 2)),
        (lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, None)), (1, 2)),
        (lambda: layers.Dropout(0.5, noise_shape=(None, 6, 1, 5)), (2,)),
        (lambda: layers.Dropout(0.5, noise_shape=(None, 1, 7, 1)), (1, 3)),
        (lambda: layers.Dropout(0.5, noise_shape=(1, 6, 7, 5)), (0,)),
        (lambda: layers.AlphaDropout(0.5, noise_shape=(1, 1, 1, 5)), (0, 1, 2)),
    ],
)
def test_what_falls_together(layer, axes):
    """Along the axes all is the same; in all other places each falls by itself, as often."""
    written, slopes = trained(layer())
    first = slopes[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(4))]
    np.testing.assert_array_equal(slopes, np.broadcast_to(first, slopes.shape))
    np.testing.assert_array_equal(written == written.max(), slopes != 0)
    share = np.mean(first == 0)
    assert share == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(first.size))
    assert len(np.unique(first)) == 2


def test_steps_of_vectors():
    layer = layers.SpatialDropout1D(0.5)
    model = keras.Sequential([keras.Input((4, 6, 5)), layers.Reshape((24, 5)), layer,
                              layers.Flatten()])  # fmt: skip
    graph = read(model).graph
    program = program_of(graph, recipe_of("mean_squared_error"), [])
    outputs = poisoned(40, graph)
    images = np.ones((40, 4, 6, 5), np.float32)
    sample = Data(images, np.zeros((40, 120), np.float32), None, np.arange(40), 40)
    program.train(sample.batches, np.zeros(1), outputs=outputs, seeds=np.array([1], np.uint64))
    found = outputs.reshape(40, 24, 5)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    assert 0.3 < np.mean(found[:, 0] == 0) < 0.7


def test_numbers_depend_on_seed_and_step_and_not_on_threads():
    first, _ = trained(layers.GaussianNoise(1.0))
    for threads in (1, 3):
        np.testing.assert_array_equal(first, trained(layers.GaussianNoise(1.0), threads=threads)[0])
    for options in ({"seed": 4}, {"iterations": 1}):
        other, _ = trained(layers.GaussianNoise(1.0), **options)
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(first.size)
    assert len({image.tobytes() for image in first}) == len(first)


def test_a_rate_of_zero_does_nothing():
    for layer in (layers.GaussianNoise(0.0), layers.GaussianDropout(0.0), layers.AlphaDropout(0),
                  layers.SpatialDropout2D(0)):  # fmt: skip
        model = keras.Sequential([keras.Input(SHAPE), layer, layers.Flatten(), layers.Dense(1)])
        assert read(model).graph.dropouts == 0
