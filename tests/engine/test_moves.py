"""Layers that move values, and those that resample: against Keras, with their gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.plan.read import read
from convmill.plan.resampling import INTERPOLATIONS
from convmill.runtime.program import Program
from tests.engine.keras_layers import follows_keras
from tests.engine.nets import WIDTHS

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.sampled_from((1, 2, 3, 16, 19)))


def around(shape, *between, same=False):
    """Layers between a convolution and a dense layer; ``same`` gives what they read, and what they
    write if it is an image, a border of zeros."""
    channels = shape[-1]
    padding = "same" if same else "valid"
    model = keras.Sequential([keras.Input(shape), layers.Conv2D(channels, 1)])
    for layer in between:
        model.add(layer)
    if same and len(model.output_shape) == 4:
        model.add(layers.Conv2D(3, 2, padding=padding, activation="tanh"))
    model.add(layers.Flatten())
    model.add(layers.Dense(3))
    return model


def bordered(shape, *between):
    """What ``between`` reads lies inside a border, since a convolution reads it again."""
    return around(shape, *between, same=True)


CASES = {
    "pad": lambda: layers.ZeroPadding2D(((1, 0), (2, 3))),
    "pad nothing": lambda: layers.ZeroPadding2D(0),
    "crop": lambda: layers.Cropping2D(((1, 2), (0, 1))),
    "nearest": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D((3, 2), interpolation="bilinear"),
    "bicubic": lambda: layers.UpSampling2D(2, interpolation="bicubic"),
    "permute": lambda: layers.Permute((3, 1, 2)),
    "permute columns": lambda: layers.Permute((2, 1, 3)),
    "reshape": lambda: layers.Reshape((5, 4, 2)),
    "reshape to rows": lambda: layers.Reshape((10, -1)),
    "reshape to rank 4": lambda: layers.Reshape((5, 2, 2, 2)),
    "reshape to a vector": lambda: layers.Reshape((-1,)),
    "resize up": lambda: layers.Resizing(9, 7),
    "resize down": lambda: layers.Resizing(2, 3),
    "resize antialiased": lambda: layers.Resizing(2, 2, antialias=True),
    "resize cropped": lambda: layers.Resizing(4, 2, crop_to_aspect_ratio=True),
    "adaptive average": lambda: layers.AdaptiveAveragePooling2D((3, 2)),
    "global average": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "global maximum": lambda: layers.GlobalMaxPooling2D(keepdims=True),
}
IMAGE = (5, 4, 2)


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    follows_keras(around(IMAGE, CASES[name]()))


@pytest.mark.parametrize("name", CASES)
def test_what_a_padded_convolution_reads(name):
    follows_keras(bordered(IMAGE, CASES[name]()), width="8 lanes")


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1), (2, 3, 1), (1, 1, 6)])
def test_rows_of_one_value_inside_a_border(shape):
    """As neighbours in the image they are none in memory; random graphs found them taken for it."""
    image = keras.Input((6,))
    x = layers.Reshape(shape)(layers.Dense(6)(image))
    x = layers.Conv2D(2, 3, padding="same", activation="tanh")(x)
    follows_keras(keras.Model(image, layers.Dense(3)(layers.Flatten()(x))))


def test_along_one_axis():
    """Padding, cropping and repeating of steps, of images made into steps and back."""
    model = around(
        (4, 3, 2),
        layers.Reshape((12, 2)),
        layers.ZeroPadding1D((2, 1)),
        layers.UpSampling1D(2),
        layers.Cropping1D((3, 1)),
        layers.Permute((2, 1)),
        layers.Reshape((13, 2, 2)),
        same=True,
    )
    follows_keras(model, width="4 lanes")


def test_vectors_are_repeated():
    follows_keras(around((3, 3, 2), layers.Flatten(), layers.RepeatVector(5)))


def test_a_dense_layer_makes_an_image():
    """As generators do: what the dense layer writes would have a border, as an image."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(3 * 4 * 2, activation="relu"),
            layers.Reshape((3, 4, 2)),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.UpSampling2D(2),
            layers.Conv2D(2, 3, padding="same"),
            layers.Flatten(),
        ]
    )
    follows_keras(model)


def test_first_and_last():
    follows_keras(keras.Sequential([keras.Input((4, 4, 2)), layers.Permute((3, 1, 2)),
                                    layers.Flatten(), layers.Dense(2)]))  # fmt: skip
    follows_keras(keras.Sequential([keras.Input((2, 2, 2)), layers.Flatten(), layers.Dense(4),
                                    layers.Reshape((2, 2)), layers.Permute((2, 1)),
                                    layers.Reshape((4,))]))  # fmt: skip


@settings(max_examples=8)
@given(
    shape=SHAPES,
    goal=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    interpolation=st.sampled_from(INTERPOLATIONS),
    antialias=st.booleans(),
    cropped=st.booleans(),
)
def test_resizing(shape, goal, interpolation, antialias, cropped):
    """Images of any size to any other, as Keras does by whatever interpolation."""
    layer = layers.Resizing(*goal, interpolation, antialias=antialias, crop_to_aspect_ratio=cropped)
    model = keras.Sequential([keras.Input(shape), layer, layers.Rescaling(1.0)])
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    program = Program(read(model).graph, None, threads=1, machine=WIDTHS["16 lanes"])
    np.testing.assert_allclose(program.predict(x), model.predict_on_batch(x), rtol=1e-5, atol=2e-6)


@settings(max_examples=8)
@given(
    shape=SHAPES,
    order=st.permutations((1, 2, 3)),
    border=st.tuples(*[st.integers(0, 3)] * 4),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    width=st.sampled_from(tuple(WIDTHS)),
)
def test_copies_are_exact(shape, order, border, factors, width):
    """Nothing is computed, so that not one bit may differ."""
    top, bottom, left, right = border
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Permute(tuple(order)),
            layers.ZeroPadding2D(((top, bottom), (left, right))),
            layers.UpSampling2D(factors),
            layers.Cropping2D(((0, bottom * factors[0]), (left * factors[1], 0))),
            layers.Flatten(),
            layers.Rescaling(1.0),
        ]
    )
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    program = Program(read(model).graph, None, threads=1, machine=WIDTHS[width])
    np.testing.assert_array_equal(program.predict(x), model.predict_on_batch(x))
