"""Where several answers are right, the engine takes that of Keras on JAX."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.lower import choose
from convmill.plan.recipe import Loss
from tests.engine.nets import (
    GUARD,
    Data,
    assert_near,
    data,
    in_records,
    loss_name,
    program_of,
    recipe_of,
)
from tests.engine.reference import assign, gradients, model_of, pulled_back

SHAPE = (7, 6, 3)


def few_values(rng, count, shape):
    """Images of the numbers 0, 1 and 2: nearly every window has its maximum several times."""
    return rng.integers(0, 3, (count, *shape)).astype(np.float32)


def identity(channels=SHAPE[2], **options):
    """A convolution that changes nothing, but has weights to be trained."""
    eye = keras.initializers.Constant(np.eye(channels)[None, None])
    return layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=eye, **options)


def engine_and_keras(shape, *between):
    """Gradient of what ``between`` reads, by the engine and by Keras.

    A convolution before makes the engine compute it; a dense layer of one unit behind, with the
    absolute error of far away targets, hands known gradients to ``between``.
    """
    rng = np.random.default_rng(5)
    x = few_values(rng, 3, shape)
    _, reading = model_of(shape, identity(shape[-1]), *between, layers.Flatten(), layers.Dense(1))
    values = [variable.numpy() for variable in reading.variables]
    values[-2] = rng.integers(-9, 10, values[-2].shape).astype(np.float32)
    recipe = recipe_of(Loss("mean_absolute_error", reduction="sum"))
    program = program_of(reading.graph, recipe, values, guard=GUARD)
    far = np.full((3, 1), -1e9, np.float32)  # the gradient by the one output is 1
    program.train(Data(x, far, None, np.arange(3), 3).batches, np.zeros(1))
    ours = in_records(program, "gradient", program.network.stages[0].output)

    def through(image):
        for layer in between:
            image = layer(image)
        return image

    # Keras' weights are those that the engine was given
    assign(reading, values)
    behind = np.broadcast_to(values[-2].reshape(1, *_written(reading)), (3, *_written(reading)))
    return ours, pulled_back(through, x, behind)


def _written(reading):
    """Shape that Flatten reads."""
    return reading.graph.nodes[-3].shape


POOLS = [
    ((2, 2), None, "valid"),
    ((3, 2), None, "valid"),
    ((2, 2), None, "same"),
    ((3, 3), (2, 2), "valid"),
    ((3, 3), (1, 1), "same"),
    ((2, 3), (3, 1), "same"),
    ((4, 4), None, "valid"),
    ((7, 6), None, "valid"),
]


@pytest.mark.parametrize("fused", [True, False], ids=["behind a convolution", "alone"])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_the_first_maximum_of_a_window_has_the_gradient(case, fused):
    """Row by row. Windows side by side behind a convolution are fused, the others stand alone."""
    size, strides, padding = case
    before = identity() if fused else layers.Rescaling(1.0)
    pooling = layers.MaxPooling2D(size, strides, padding)
    ours, theirs = engine_and_keras(SHAPE, before, pooling)
    np.testing.assert_array_equal(ours, theirs)
    assert np.count_nonzero(theirs)


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu"])
def test_pooling_of_what_an_activation_made_alike(activation):
    """An activation takes many values to the same one: zeros of relu have no gradient."""
    ours, theirs = engine_and_keras(
        SHAPE, layers.Rescaling(1.0, -1.0), identity(activation=activation), layers.MaxPooling2D(2)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu"])
def test_ties_behind_windows_of_three_by_three(activation, padding, monkeypatch):
    """A convolution of whole numbers, in tiles of 2x2: sums that are alike stay alike."""
    monkeypatch.setattr(choose, "MOST_OUTPUTS", 2)
    numbers = np.random.default_rng(8).integers(-1, 2, (3, 3, 16, 17))
    convolution = layers.Conv2D(
        17,
        3,
        padding=padding,
        activation=activation,
        kernel_initializer=keras.initializers.Constant(numbers),
    )
    ours, theirs = engine_and_keras((9, 8, 16), convolution, layers.MaxPooling2D(2))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 2), (3, 3), (7, 6)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("before", ["convolution", "rescaling"])
def test_global_maxima_share_the_gradient(size, keepdims, before):
    first = identity() if before == "convolution" else layers.Rescaling(1.0)
    ours, theirs = engine_and_keras(
        (*size, SHAPE[2]), first, layers.GlobalMaxPooling2D(keepdims=keepdims)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "scale"),
    [
        ("relu", 1),
        ("relu6", 6),
        ("leaky_relu", 1),
        ("elu", 1),
        ("gelu", 1),
        (layers.ReLU(negative_slope=0.5), 1),
        (layers.ReLU(negative_slope=0.5, max_value=1.5), 1),
        (layers.ELU(alpha=0.5), 1),
    ],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_slopes_where_an_activation_bends(activation, scale):
    """What the activation reads is -1, 0 or 1 times the scale; it is fused, and stands alone."""
    before = layers.Rescaling(scale, -scale)
    for activating in (identity(activation=activation), layers.Activation(activation)):
        ours, theirs = engine_and_keras(SHAPE, before, activating)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (Loss("categorical_crossentropy"), "softmax"),
        (Loss("categorical_crossentropy"), "sigmoid"),
        (Loss("categorical_crossentropy", from_logits=True), "linear"),
        (Loss("sparse_categorical_crossentropy"), "softmax"),
        (Loss("sparse_categorical_crossentropy", from_logits=True), "linear"),
        (Loss("binary_crossentropy"), "sigmoid"),
        (Loss("binary_crossentropy", from_logits=True), "linear"),
        (Loss("mean_absolute_error"), "relu"),
    ],
    ids=lambda each: loss_name(each) if isinstance(each, Loss) else each,
)
def test_losses_of_certain_predictions(loss, activation):
    """Probabilities of 0 and 1 are clipped, and then no gradient flows; errors of exactly zero."""
    rng = np.random.default_rng(1)
    model, reading = model_of((1, 1, 3), layers.Flatten(), layers.Dense(3, activation=activation))
    values = [60 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)]
    sample = data(rng, reading.graph, loss, 24, 24)
    sample.x[...] = rng.integers(-1, 2, sample.x.shape)
    sample.x[:, 0, 0, 0] = 2  # no image without any evidence
    if loss.name == "mean_absolute_error":
        sample.y[...] = 0
    program = program_of(reading.graph, recipe_of(loss), values)
    record = program.train(sample.batches, np.zeros(1))
    theirs = getattr(keras.losses, loss.name)
    options = {"from_logits": True} if loss.from_logits else {}
    each, exact = gradients(
        model, values, sample.x, sample.y, lambda y, outputs: theirs(y, outputs, **options)
    )
    np.testing.assert_allclose(record.loss, each[sample.order], rtol=1e-5, atol=1e-7)
    for ours, wanted in zip(program.get_gradients(), exact, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-6)


def test_l1_of_a_weight_that_is_zero():
    """Zero weights, as new biases are, are pushed in the direction that JAX chooses."""
    _, reading = model_of(
        (3, 3, 1),
        layers.Flatten(),
        layers.Dense(2, kernel_regularizer=keras.regularizers.L1(0.5), bias_regularizer="l1"),
    )
    recipe = recipe_of("mean_squared_error")
    zeros = [np.zeros(one.shape, np.float32) for one in reading.graph.parameters]
    rng = np.random.default_rng(0)
    sample = data(rng, reading.graph, recipe.loss, 4, 4)
    program = program_of(reading.graph, recipe, zeros)
    program.train(sample.batches, np.ones(1))
    for weight, gradient, layer in zip(
        program.get_parameters(), program.get_gradients(), reading.variables, strict=True
    ):
        slope = pulled_back(
            layer.regularizer, np.zeros(weight.shape, np.float32), np.ones((), np.float32)
        )
        assert_near(weight, -gradient - slope.astype(np.float64), "weights behind one step")
