"""Normalization of an image, softmax along other axes, PReLU, constants by channel: against Keras,
with the gradients of what they read and of their weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.plan.read import read
from tests.engine.keras_layers import follows_keras
from tests.engine.nets import WIDTHS, data, parameters, program_of, recipe_of

IMAGE = (4, 5, 6)


def given_statistics(axis):
    """A Normalization of images that are no standard ones."""
    layer = layers.Normalization(axis=axis)
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, *IMAGE)).astype(np.float32))
    return layer


CASES = {
    "layer": lambda: layers.LayerNormalization(),
    "layer, places": lambda: layers.LayerNormalization(axis=(1, 2), epsilon=0.01),
    "layer, rows": lambda: layers.LayerNormalization(axis=1, center=False),
    "layer, image": lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    "layer, rows and channels": lambda: layers.LayerNormalization(axis=[1, -1], scale=False),
    "layer, no weights": lambda: layers.LayerNormalization(scale=False, center=False),
    "group": lambda: layers.GroupNormalization(groups=2),
    "group of all": lambda: layers.GroupNormalization(groups=1, scale=False),
    "instance": lambda: layers.GroupNormalization(groups=-1, center=False),
    "root mean square": lambda: layers.RMSNormalization(),
    "unit": lambda: layers.UnitNormalization(),
    "unit, places": lambda: layers.UnitNormalization(axis=(1, 2)),
    "softmax, columns": lambda: layers.Softmax(axis=2),
    "softmax, rows and channels": lambda: layers.Softmax(axis=(1, 3)),
    "softmax, image": lambda: layers.Softmax(axis=(1, 2, 3)),
    "log softmax": lambda: layers.Activation("log_softmax"),
    "prelu": lambda: layers.PReLU(),
    "prelu, channels": lambda: layers.PReLU(shared_axes=[1, 2]),
    "prelu, rows": lambda: layers.PReLU(shared_axes=[2, 3]),
    "prelu, one": lambda: layers.PReLU(shared_axes=[1, 2, 3]),
    "rescaling": lambda: layers.Rescaling([0.5, 1, -2, 3, 0, 1], offset=[1, 0, 0, 2, 3, 4]),
    "rescaling, offsets": lambda: layers.Rescaling(0.5, offset=np.arange(5.0).reshape(1, 5, 1)),
    "normalization": lambda: given_statistics(-1),
    "normalization, columns": lambda: given_statistics((2, 3)),
    "normalization of all": lambda: given_statistics(None),
    "normalization, back": lambda: layers.Normalization(
        mean=np.arange(6.0), variance=np.arange(6.0) ** 2, invert=True
    ),
}


def inside(layer, shape=IMAGE, **options):
    """Between convolutions, of which the second gives what the layer writes a border, and a third
    what it reads."""
    before = layers.Conv2D(shape[-1], 1, **options)
    behind = layers.Conv2D(3, 3, padding="same", activation="tanh")
    return keras.Sequential(
        [keras.Input(shape), before, layer, behind, layers.Flatten(), layers.Dense(2)]
    )


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    follows_keras(inside(CASES[name]()), tolerance=2e-5)


@pytest.mark.parametrize("name", ["layer", "group", "unit", "prelu, channels", "log softmax"])
@pytest.mark.parametrize("width", ["8 lanes", "4 lanes"])
def test_narrow_vectors_and_many_channels(name, width):
    shape = (3, 2, 20)
    follows_keras(inside(CASES[name](), shape), width=width, tolerance=2e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LayerNormalization(),
        lambda: layers.PReLU(),
        lambda: layers.GroupNormalization(3),
        lambda: layers.UnitNormalization(),
        lambda: layers.RMSNormalization(),
    ],
)
def test_vectors(layer):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(21), layer(), layers.Dense(3)])
    follows_keras(model, tolerance=2e-5)


def test_steps():
    stack = (layers.LayerNormalization(axis=1), layers.Softmax(axis=1), layers.PReLU())
    first = (layers.Conv2D(2, 1), layers.Reshape((12, 2)))
    model = keras.Sequential(
        [keras.Input((4, 3, 2)), *first, *stack, layers.Flatten(), layers.Dense(2)]
    )
    follows_keras(model, tolerance=2e-5)


def test_frozen_weights_have_no_gradient():
    layer = layers.LayerNormalization()
    layer.trainable = False
    follows_keras(inside(layer), tolerance=2e-5)


@settings(max_examples=6, phases=(Phase.explicit, Phase.generate))
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from((3, 6, 21))),
    axes=st.sets(st.integers(1, 3), min_size=1),
    kind=st.sampled_from(("layer", "group", "instance")),
    value=st.floats(-1e4, 1e4, width=32),
)
def test_values_that_are_alike_become_exactly_zero(shape, axes, kind, value):
    """A later normalization would make any rounding as large as real values."""
    layer = CASES[kind]()
    if kind == "layer":
        layer = layers.LayerNormalization(axis=sorted(axes))
    elif kind == "group":
        layer.groups = 3
    model = keras.Sequential([keras.Input(shape), layer])
    graph = read(model).graph
    scales = [one.name.endswith("gamma") for one in graph.parameters]
    weights = [
        np.full(one.shape, scale, np.float32)
        for one, scale in zip(graph.parameters, scales, strict=True)
    ]
    found = program_of(graph, None, weights).predict(np.full((2, *shape), value, np.float32))
    np.testing.assert_array_equal(found, 0)


def test_a_vector_of_zeros_keeps_unit_length_of_zero():
    model = keras.Sequential([keras.Input((4,)), layers.UnitNormalization()])
    program = program_of(read(model).graph, None, [])
    x = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(program.predict(x), np.asarray(model(x)))


@settings(max_examples=5, phases=(Phase.explicit, Phase.generate))
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from((1, 2, 16, 18))),
    axes=st.sets(st.integers(1, 3), min_size=1),
    kind=st.sampled_from(("LayerNormalization", "Softmax", "UnitNormalization")),
    width=st.sampled_from(tuple(WIDTHS)),
)
def test_any_axes_of_any_image(shape, axes, kind, width):
    layer = getattr(layers, kind)(axis=sorted(axes))
    follows_keras(inside(layer, shape), width=width, tolerance=1e-4)


@pytest.mark.parametrize("name", ["layer, image", "group", "prelu, channels", "prelu, one"])
def test_same_bits_for_any_number_of_threads(name):
    """Gradients are summed over images in their order, whoever does it."""
    graph = read(inside(CASES[name](), (4, 5, 36))).graph
    rng = np.random.default_rng(0)
    values, recipe = parameters(rng, graph), recipe_of("mean_squared_error")
    sample = data(rng, graph, recipe.loss, 21, 10)
    found = []
    for threads in (1, 2, 3):
        program = program_of(graph, recipe, values, threads=threads)
        program.train(sample.batches, np.full(3, 0.1))
        found.append([weight.tobytes() for weight in program.get_parameters()])
    assert found[0] == found[1] == found[2]


def test_logarithms_of_shares_far_from_zero():
    """Only differences count: what is added to all values is taken away exactly."""
    model = keras.Sequential([keras.Input((4,)), layers.Activation("log_softmax")])
    program = program_of(read(model).graph, None, [])
    x = np.arange(4, dtype=np.float32)[None]
    np.testing.assert_allclose(
        program.predict(x + np.float32(1e4)), x - np.log(np.exp(x).sum()), rtol=1e-6
    )
