"""Weights begin with the bits that Keras on JAX draws, and nothing is compiled for them."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convmill import models

jax = pytest.importorskip("jax")
random = pytest.importorskip("keras.src.backend.jax.random")
initial = pytest.importorskip("convmill.train.attach.initial")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="it is about JAX")
of_this_machine = pytest.mark.skipif(
    random.uniform is not initial.uniform, reason="this machine's bits are JAX's own affair"
)
SHAPES = [(7,), (3, 3, 1, 32), (70_000,)]  # of few: JAX compiles each
RANGES = [(-0.137, 0.137), (0.0, 1.0), (0.5, 0.75), (-3.0, 1.0), (1.0, -1.0)]


@of_this_machine
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(seed=st.tuples(*[st.integers(0, 2**32 - 1)] * 2), limits=st.sampled_from(RANGES))
@settings(max_examples=15, deadline=None)
def test_the_bits_are_those_of_jax(shape, seed, limits):
    key = np.array(seed, np.uint32)
    expected = jax.random.uniform(key, shape, "float32", *limits)
    np.testing.assert_array_equal(initial.drawn(key, shape, *limits), expected)


@of_this_machine
@pytest.mark.parametrize("kind", ["glorot_uniform", "he_uniform", "random_uniform"])
def test_models_begin_as_in_keras(kind, monkeypatch):
    def weights(make):
        keras.utils.set_random_seed(3)
        convolution = layers.Conv2D(4, 3, kernel_initializer=kind)
        return make([keras.Input((6, 6, 2)), convolution, layers.Flatten(), layers.Dense(3)])

    ours = weights(models.Sequential).get_weights()
    monkeypatch.setattr(random, "uniform", initial._KERAS)
    for found, expected in zip(ours, weights(keras.Sequential).get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def refused(monkeypatch):
    """What is asked of Keras' own function."""
    asked = []

    def own(*arguments):
        asked.append(arguments[:1])
        return keras_own(*arguments)

    keras_own = initial._KERAS
    monkeypatch.setattr(initial, "_KERAS", own)
    return asked


LEFT_TO_KERAS = {
    "another dtype": {"dtype": "float16"},
    "limits that are arrays": {"minval": jax.numpy.zeros(()), "maxval": 1.0},
    "an empty range": {"minval": 1.0, "maxval": 1.0},
    "a range far away": {"minval": 1e6, "maxval": 1e6 + 1},
    "nothing": {"shape": (0, 3)},
}


@of_this_machine
@pytest.mark.parametrize("given_", LEFT_TO_KERAS.values(), ids=LEFT_TO_KERAS)
def test_all_else_is_left_to_keras(given_, monkeypatch):
    arguments = {"shape": (2, 3), "seed": 4} | given_
    asked = refused(monkeypatch)
    found = keras.random.uniform(**arguments)
    assert len(asked) == 1
    assert found.shape == arguments["shape"]


@of_this_machine
def test_within_what_is_traced_keras_draws(monkeypatch):
    asked = refused(monkeypatch)
    draw = jax.jit(lambda key: keras.random.uniform((3,), seed=key))
    key = np.array([0, 4], np.uint32)
    np.testing.assert_array_equal(draw(key), initial.drawn(key, (3,), 0.0, 1.0))
    assert len(asked) == 1
    keras.random.uniform((3,), seed=4)
    assert len(asked) == 1


def test_a_model_is_made_without_compiling_for_its_shapes(monkeypatch):
    monkeypatch.setattr(initial, "_KERAS", None)  # what is called fails
    models.Sequential([keras.Input((5, 7, 3)), layers.Conv2D(11, 3), layers.Dense(13)])


@pytest.mark.parametrize("kind", ["zeros", "ones"])
@pytest.mark.parametrize("shape", [(), (3, 1, 4), (0, 2), np.array([2, 3])], ids=str)
@pytest.mark.parametrize("dtype", [None, "float32", "float16", "int32"])
def test_what_is_alike_is_filled_as_by_keras(kind, shape, dtype):
    initializer = keras.initializers.get(kind)
    found = initializer(shape, dtype=dtype)
    expected = type(initializer).__call__.__wrapped__(initializer, shape, dtype=dtype)
    assert type(found) is type(expected)
    for one in ("dtype", "shape", "sharding", "weak_type", "committed"):
        assert getattr(found, one) == getattr(expected, one)
    np.testing.assert_array_equal(found, expected)


def test_within_what_is_traced_keras_fills():
    """Else there were a literal in it."""

    def own(shape):
        return type(zeros).__call__.__wrapped__(zeros, shape)

    zeros = keras.initializers.Zeros()
    ours, theirs = (str(jax.make_jaxpr(lambda each=each: each((2, 3)))()) for each in (zeros, own))
    assert ours.splitlines()[-1] == theirs.splitlines()[-1]


def test_no_more_shapes_are_taken_than_by_keras():
    with pytest.raises(TypeError):
        keras.initializers.Zeros()((2.7, 3))
