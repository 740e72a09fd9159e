"""The twin agrees with Keras on JAX in float64: layers, losses, optimizers and whole nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import losses, metrics, optimizers

from convmill.plan.graph.activations import Activation
from convmill.plan.graph.parameters import Regularizer
from convmill.plan.read import read
from convmill.plan.recipe import Clip, Leader, Loss, Optimizer, one_goal
from tests.plan.chains import Chain, chains
from tests.twin import elementwise, net, updates
from tests.twin import losses as twin_losses

pytestmark = [
    pytest.mark.usefixtures("double"),
    pytest.mark.filterwarnings("ignore:.*softmax over axis"),  # of one channel: Keras warns
]

# The fixture holds for all examples of a test alike.
EXAMPLES = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Keras on JAX computes means (and tanh, which is tested by itself) in float32 alone.
SINGLE = 2e-6


def close(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=tolerance, atol=tolerance)


def weights_of(model: keras.Model, random: np.random.Generator) -> list[np.ndarray]:
    return [random.normal(size=weight.shape) for weight in model.weights]


def hold(chain: Chain, x: np.ndarray, random: np.random.Generator) -> None:
    """Output, and gradients of the input and of every weight, are those of Keras."""
    graph = read(chain.build()).graph
    model = chain.build("float64")
    weights = weights_of(model, random)
    by_output = random.normal(size=(len(x), *graph.output_shape))

    def keras_results(weights: Any, x: Any, by_output: Any) -> Any:
        outputs, pullback = jax.vjp(
            lambda values, images: model.stateless_call(values, [], images)[0], weights, x
        )
        return outputs, *pullback(by_output.astype(outputs.dtype))

    theirs, d_weights, d_x = jax.jit(keras_results)(weights, x, by_output)
    outputs = net.forward(graph, weights, x)
    by_node, by_weight = net.backward(graph, weights, outputs, by_output)
    tolerance = SINGLE if "GlobalAveragePooling" in str(chain.specs) else 1e-9
    close(outputs[graph.nodes[-1].name], theirs, tolerance)
    close(by_node[graph.nodes[0].name], d_x, tolerance)
    for ours, expected in zip(by_weight, d_weights, strict=True):
        close(ours, expected, tolerance)


# Layers ------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    chains(dropout=False).filter(lambda chain: "tanh" not in str(chain)),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_random_nets(chain: Chain, images: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    hold(chain, random.normal(size=(images, *chain.shape)), random)


CONVOLUTIONS = [
    {"kernel_size": (3, 2), "strides": (1, 1), "padding": "valid"},
    {"kernel_size": (2, 3), "strides": (2, 1), "padding": "same"},
    {"kernel_size": (1, 1), "strides": (3, 2), "padding": "same"},
    {"kernel_size": (4, 5), "strides": (2, 3), "padding": "same"},
]


@pytest.mark.parametrize("window", CONVOLUTIONS)
def test_convolutions(window: dict[str, Any]) -> None:
    random = np.random.default_rng(1)
    chain = Chain((6, 7, 3), (("Conv2D", {"filters": 4, **window}),))
    hold(chain, random.normal(size=(2, 6, 7, 3)), random)


FORMS = [
    ("Conv2D", {"filters": 4, "kernel_size": (2, 3), "dilation_rate": (2, 1), "padding": "same"}),
    ("Conv2D", {"filters": 6, "kernel_size": 2, "groups": 2, "strides": (2, 1)}),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same"}),
    ("DepthwiseConv2D", {"kernel_size": (2, 3), "depth_multiplier": 3, "dilation_rate": (1, 2)}),
    ("SeparableConv2D", {"filters": 3, "kernel_size": 3, "depth_multiplier": 2}),
    ("SeparableConv2D", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}),
]
TRANSPOSED = [
    {"kernel_size": 3, "strides": 2},
    {"kernel_size": (4, 1), "strides": (2, 3)},
    {"kernel_size": 5, "strides": 3, "output_padding": (0, 2)},
    {"kernel_size": (2, 3), "strides": 2, "output_padding": 1},
    {"kernel_size": 1, "output_padding": 0},
    {"kernel_size": 4},
    {"kernel_size": 3, "dilation_rate": (2, 3)},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("use_bias", [False, True])
def test_forms_of_convolutions(form: tuple[str, dict[str, Any]], use_bias: bool) -> None:
    random, (name, arguments) = np.random.default_rng(5), form
    chain = Chain((6, 7, 4), ((name, {**arguments, "use_bias": use_bias, "activation": "elu"}),))
    hold(chain, random.normal(size=(2, 6, 7, 4)), random)


ALONG_ONE_AXIS: list[tuple[str, dict[str, Any]]] = [
    ("Conv1D", {"filters": 5, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}),
    ("Conv1D", {"filters": 5, "kernel_size": 4, "padding": "same", "strides": 3}),
    ("Conv1D", {"filters": 6, "kernel_size": 2, "groups": 2}),
    ("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2, "strides": 2}),
    ("SeparableConv1D", {"filters": 3, "kernel_size": 3, "padding": "same"}),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "strides": 3, "output_padding": 1}),
    ("MaxPooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("AveragePooling1D", {"pool_size": 4, "strides": 3, "padding": "same"}),
    ("GlobalMaxPooling1D", {"keepdims": True}),
    ("GlobalAveragePooling1D", {}),
]


@pytest.mark.parametrize("form", ALONG_ONE_AXIS, ids=str)
def test_along_one_axis(form: tuple[str, dict[str, Any]]) -> None:
    random = np.random.default_rng(7)
    hold(Chain((9, 4), (form,)), random.normal(size=(2, 9, 4)), random)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window", TRANSPOSED, ids=str)
def test_transposed_convolutions(window: dict[str, Any], padding: str) -> None:
    random = np.random.default_rng(6)
    arguments = {"filters": 5, "padding": padding, **window}
    chain = Chain((4, 3, 2), (("Conv2DTranspose", arguments),))
    hold(chain, random.normal(size=(2, 4, 3, 2)), random)


@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(
    "window",
    [
        {"pool_size": 2},
        {"pool_size": (3, 2), "strides": (1, 2)},
        {"pool_size": 3, "strides": 2, "padding": "same"},
        {"pool_size": (2, 4), "strides": 1, "padding": "same"},
    ],
)
def test_pooling_with_ties(name: str, window: dict[str, Any]) -> None:
    """Of several maxima the first in row-major order has the gradient, negative ones too."""
    random = np.random.default_rng(2)
    hold(Chain((6, 7, 2), ((name, window),)), random.integers(-2, 0, (3, 6, 7, 2)) * 1.0, random)


@pytest.mark.parametrize("name", ["GlobalMaxPooling2D", "GlobalAveragePooling2D"])
def test_global_pooling_shares_the_gradient_among_ties(name: str) -> None:
    random = np.random.default_rng(3)
    hold(Chain((4, 5, 2), ((name, {}),)), random.integers(0, 3, (3, 4, 5, 2)) * 1.0, random)


KINKED = [
    ("ReLU", {}),
    ("ReLU", {"max_value": 6.0}),
    ("ReLU", {"negative_slope": 0.5}),
    ("ReLU", {"negative_slope": 0.5, "max_value": 6.0}),
    ("LeakyReLU", {}),
    ("ELU", {"alpha": 0.5}),
]


@pytest.mark.parametrize(("name", "arguments"), KINKED)
def test_kinks(name: str, arguments: dict[str, Any]) -> None:
    """Gradients at exactly 0 and exactly at the ceiling are Keras' too."""
    random = np.random.default_rng(4)
    x = np.array([[-8.0, -1.0, 0.0, 0.5, 6.0, 7.0]])
    hold(Chain((6,), ((name, arguments),)), x, random)


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        (Activation("tanh"), jax.numpy.tanh),
        (Activation("gelu_tanh"), lambda x: jax.nn.gelu(x, approximate=True)),
    ],
)
def test_activations_that_keras_does_not_compute_in_float64(spec: Activation, theirs: Any) -> None:
    x = np.linspace(-4, 4, 41)
    value, pullback = jax.vjp(theirs, x)
    close(elementwise.activation(spec, x), value)
    ours = elementwise.activation_gradient(spec, x, np.ones(41))
    close(ours, pullback(jax.numpy.ones(41))[0])


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_dropout_with_the_mask_that_keras_drew(rate: float) -> None:
    random = np.random.default_rng(5)
    chain = Chain((3, 4, 2), (("Dropout", {"rate": rate, "seed": 1}), ("Flatten", {})))
    x = random.normal(size=(5, 3, 4, 2))
    theirs = np.asarray(chain.build("float64")(x, training=True))
    mask = (theirs != 0).reshape(x.shape) * 1.0
    graph = read(chain.build()).graph
    outputs = net.forward(graph, [], x, [mask])
    close(outputs[graph.nodes[-1].name], theirs)
    by_output = random.normal(size=theirs.shape)
    by_node, _ = net.backward(graph, [], outputs, by_output, [mask])
    scale = 0.0 if rate == 1 else 1 / (1 - rate)
    close(by_node[graph.nodes[0].name], by_output.reshape(x.shape) * mask * scale)
    close(net.forward(graph, [], x)[graph.nodes[-1].name], x.reshape(5, -1))


# Losses and accuracies ---------------------------------------------------------------------------

KERAS_LOSSES = {
    "categorical_crossentropy": losses.CategoricalCrossentropy,
    "sparse_categorical_crossentropy": losses.SparseCategoricalCrossentropy,
    "binary_crossentropy": losses.BinaryCrossentropy,
    "mean_squared_error": losses.MeanSquaredError,
    "mean_absolute_error": losses.MeanAbsoluteError,
    "mean_absolute_percentage_error": losses.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": losses.MeanSquaredLogarithmicError,
    "huber": losses.Huber,
    "log_cosh": losses.LogCosh,
    "poisson": losses.Poisson,
    "kl_divergence": losses.KLDivergence,
    "cosine_similarity": losses.CosineSimilarity,
    "hinge": losses.Hinge,
    "squared_hinge": losses.SquaredHinge,
    "categorical_hinge": losses.CategoricalHinge,
    "binary_focal_crossentropy": losses.BinaryFocalCrossentropy,
    "categorical_focal_crossentropy": losses.CategoricalFocalCrossentropy,
}

LOSSES = [
    Loss("categorical_crossentropy"),
    Loss("categorical_crossentropy", label_smoothing=0.2),
    Loss("categorical_crossentropy", from_logits=True, label_smoothing=0.1),
    Loss("sparse_categorical_crossentropy"),
    Loss("sparse_categorical_crossentropy", from_logits=True),
    Loss("binary_crossentropy"),
    Loss("binary_crossentropy", label_smoothing=0.2),
    Loss("binary_crossentropy", from_logits=True, label_smoothing=0.1),
    Loss("mean_squared_error"),
    Loss("mean_absolute_error"),
    Loss("mean_squared_error", reduction="sum"),
]
MORE_LOSSES = [
    *(Loss("mean_absolute_percentage_error"), Loss("mean_squared_logarithmic_error")),
    *(Loss("huber", delta=0.4), Loss("log_cosh"), Loss("poisson"), Loss("kl_divergence")),
    *(Loss("cosine_similarity"), Loss("hinge"), Loss("squared_hinge"), Loss("categorical_hinge")),
    Loss("binary_focal_crossentropy", gamma=1.5, balanced=True, alpha=(0.3,), label_smoothing=0.1),
    Loss("binary_focal_crossentropy", from_logits=True),
    Loss("categorical_focal_crossentropy", alpha=(0.1, 0.2, 0.3, 0.4), label_smoothing=0.1),
    Loss("categorical_focal_crossentropy", from_logits=True, gamma=0.5),
]


def keras_loss(spec: Loss, reduction: str = "none") -> Any:
    arguments: dict[str, Any] = {"reduction": reduction, "dtype": "float64"}
    if "crossentropy" in spec.name:
        arguments["from_logits"] = spec.from_logits
        if not spec.sparse:
            arguments["label_smoothing"] = spec.label_smoothing
    if "focal" in spec.name:
        alpha = list(spec.alpha) if len(spec.alpha) > 1 else spec.alpha[0]
        arguments |= {"alpha": alpha, "gamma": spec.gamma}
    if spec.name == "binary_focal_crossentropy":
        arguments["apply_class_balancing"] = spec.balanced
    if spec.name == "huber":
        arguments["delta"] = spec.delta
    return KERAS_LOSSES[spec.name](**arguments)


def labels(spec: Loss, images: int, classes: int, random: np.random.Generator) -> np.ndarray:
    if spec.sparse:
        return random.integers(0, classes, images).astype(np.int32)
    if spec.name.startswith("categorical"):
        return np.eye(classes)[random.integers(0, classes, images)]
    if spec.name.endswith("hinge"):
        return random.choice([-1.0, 1.0], (images, classes))
    return random.integers(0, 2, (images, classes)) * 1.0


@pytest.mark.parametrize("spec", LOSSES, ids=str)
def test_losses(spec: Loss) -> None:
    """Probabilities that do not add up to 1, and such as lie outside of [0, 1], included."""
    random = np.random.default_rng(6)
    outputs = random.uniform(0.05, 0.95, (7, 4))
    if spec.from_logits or "mean" in spec.name:
        outputs = random.normal(size=(7, 4)) * 20
        outputs[0] = [0.0, 1.0, 0.0, 1.0]  # as labels are
    else:
        outputs[0] = [0.0, 1.0, 0.0, 0.0]
        outputs[1] = [1e-9, 1 - 3e-9, 1e-9, 1e-9]
        outputs[2] = [-0.25, 0.5, 1.5, 0.25]
    y = labels(spec, 7, 4, random)
    theirs, pullback = jax.vjp(lambda outputs: keras_loss(spec)(y, outputs), outputs)
    each, gradient = twin_losses.loss(spec, outputs, y)
    tolerance = 1e-9 if "categorical" in spec.name else SINGLE
    close(each, theirs, tolerance)
    close(gradient, pullback(jax.numpy.ones(7))[0], tolerance)


@pytest.mark.parametrize("spec", [*LOSSES, *MORE_LOSSES], ids=str)
def test_losses_of_every_place(spec: Loss) -> None:
    random = np.random.default_rng(6)
    outputs = random.uniform(0.05, 0.95, (2, 3, 2, 4))
    y = labels(spec, 12, 4, random).reshape(2, 3, 2, *([] if spec.sparse else [4]))
    theirs, pullback = jax.vjp(lambda outputs: keras_loss(spec)(y, outputs), outputs)
    each, gradient = twin_losses.loss(spec, outputs, y)
    close(each, theirs, SINGLE)
    close(gradient, pullback(jax.numpy.ones((2, 3, 2)))[0], SINGLE)


def test_losses_of_one_output() -> None:
    random = np.random.default_rng(7)
    outputs, y = random.uniform(size=(5, 1)), random.integers(0, 2, (5, 1)) * 1.0
    for spec in (Loss("binary_crossentropy"), Loss("mean_squared_error")):
        close(twin_losses.loss(spec, outputs, y)[0], keras_loss(spec)(y, outputs), SINGLE)


def test_accuracies() -> None:
    random = np.random.default_rng(8)
    outputs = random.integers(0, 4, (50, 3)) / 4  # ties: the first of the highest is the prediction
    sparse = random.integers(0, 3, 50)
    one_hot, several = np.eye(3)[sparse], random.integers(0, 2, (50, 3)) * 1.0
    cases = [
        ("categorical", metrics.categorical_accuracy, one_hot),
        ("sparse", metrics.sparse_categorical_accuracy, sparse),
        ("binary", metrics.binary_accuracy, several),
    ]
    for kind, theirs, y in cases:
        expected = np.asarray(theirs(y, outputs))
        ours = twin_losses.correct(kind, outputs, y)
        close(ours, expected.mean(axis=1) if kind == "binary" else expected, SINGLE)
        maps = [array.reshape(10, 5, *array.shape[1:]) for array in (outputs, y)]
        ours = twin_losses.correct(kind, *maps)
        close(ours, np.asarray(theirs(*maps[::-1])).reshape(10, -1).mean(axis=1), SINGLE)


# Optimizers --------------------------------------------------------------------------------------

RATE = 1 / 128  # exact in float32, in which Keras keeps it

OPTIMIZERS = [
    (Optimizer("sgd"), lambda **k: optimizers.SGD(RATE, **k)),
    (
        Optimizer("sgd", momentum=0.9, weight_decay=0.25),
        lambda **k: optimizers.SGD(RATE, 0.9, weight_decay=0.25, **k),
    ),
    (
        Optimizer("sgd", momentum=0.9, nesterov=True),
        lambda **k: optimizers.SGD(RATE, 0.9, nesterov=True, **k),
    ),
    (Optimizer("rmsprop"), lambda **k: optimizers.RMSprop(RATE, **k)),
    (
        Optimizer("rmsprop", rho=0.8, momentum=0.5, centered=True, epsilon=1e-3),
        lambda **k: optimizers.RMSprop(RATE, 0.8, 0.5, 1e-3, True, **k),
    ),
    (Optimizer("adam"), lambda **k: optimizers.Adam(RATE, **k)),
    (
        Optimizer("adam", beta_1=0.7, beta_2=0.9, epsilon=1e-4, amsgrad=True),
        lambda **k: optimizers.Adam(RATE, 0.7, 0.9, 1e-4, True, **k),
    ),
    (Optimizer("adam", weight_decay=0.004), lambda **k: optimizers.AdamW(RATE, **k)),
    (Optimizer("adadelta", rho=0.95), lambda **k: optimizers.Adadelta(RATE, **k)),
    (
        Optimizer("adadelta", rho=0.5, epsilon=1e-2),
        lambda **k: optimizers.Adadelta(RATE, 0.5, 1e-2, **k),
    ),
    (Optimizer("adagrad"), lambda **k: optimizers.Adagrad(RATE, **k)),
    (
        Optimizer("adagrad", epsilon=1e-2, weight_decay=0.25),
        lambda **k: optimizers.Adagrad(RATE, 0.5, 1e-2, weight_decay=0.25, **k),
    ),
    (Optimizer("adamax"), lambda **k: optimizers.Adamax(RATE, **k)),
    (
        Optimizer("adamax", beta_1=0.5, beta_2=0.75, epsilon=1e-2),
        lambda **k: optimizers.Adamax(RATE, 0.5, 0.75, 1e-2, **k),
    ),
    (Optimizer("nadam"), lambda **k: optimizers.Nadam(RATE, **k)),
    (
        Optimizer("nadam", beta_1=0.5, beta_2=0.75, epsilon=1e-2),
        lambda **k: optimizers.Nadam(RATE, 0.5, 0.75, 1e-2, **k),
    ),
    (Optimizer("lion", beta_2=0.99), lambda **k: optimizers.Lion(RATE, **k)),
    (
        Optimizer("lion", beta_1=0.5, beta_2=0.75, weight_decay=0.25),
        lambda **k: optimizers.Lion(RATE, 0.5, 0.75, weight_decay=0.25, **k),
    ),
    (Optimizer("ftrl"), lambda **k: optimizers.Ftrl(RATE, **k)),
    (
        Optimizer("ftrl", leader=Leader(-0.25, 0.125, 0.25, 0.5, 0.75)),
        lambda **k: optimizers.Ftrl(RATE, -0.25, 0.5, 0.125, 0.25, 0.5, 0.75, **k),
    ),
    (
        Optimizer("schedule_free_adam", epsilon=1e-8),
        lambda **k: optimizers.ScheduleFreeAdamW(RATE, **k),
    ),
    (
        Optimizer("schedule_free_adam", beta_1=0.5, beta_2=0.75, epsilon=1e-2, warmup=4),
        lambda **k: optimizers.ScheduleFreeAdamW(RATE, 0.5, 0.75, 1e-2, 4, **k),
    ),
]


@pytest.mark.parametrize(("spec", "make"), OPTIMIZERS, ids=lambda value: "")
def test_optimizers_step_by_step(spec: Optimizer, make: Any) -> None:
    random = np.random.default_rng(9)
    start = random.normal(size=(3, 4))
    variable = keras.Variable(start, dtype="float64", name="kernel")
    optimizer = make()
    optimizer.build([variable])

    def kept() -> dict[str, Any]:
        names = {str(one.name).removeprefix("kernel_"): one for one in optimizer.variables[2:]}
        return {name: one for name, one in names.items() if tuple(one.shape) == (3, 4)}

    ours, slots = start, {name: np.asarray(one) for name, one in kept().items()}
    for iterations in range(6):
        gradient = random.normal(size=(3, 4)) * 10.0 ** random.integers(-4, 2)
        optimizer.apply([jax.numpy.asarray(gradient)], [variable])
        ours, slots = updates.update(spec, RATE, iterations, ours, gradient, slots)
        close(ours, variable)
    assert tuple(kept()) == spec.slots
    for slot, value in slots.items():
        close(value, kept()[slot])


@pytest.mark.parametrize(
    ("clip", "arguments"),
    [
        (Clip("norm", 0.5), {"clipnorm": 0.5}),
        (Clip("global_norm", 0.5), {"global_clipnorm": 0.5}),
        (Clip("value", 0.5), {"clipvalue": 0.5}),
    ],
)
@pytest.mark.parametrize("scale", [1e-3, 3.0])
def test_clipping(clip: Clip, arguments: dict[str, float], scale: float) -> None:
    random = np.random.default_rng(10)
    gradients = [random.normal(size=(4, 3)) * scale, random.normal(size=5) * scale, np.zeros(2)]
    variables = [keras.Variable(np.zeros(one.shape), dtype="float64") for one in gradients]
    optimizers.SGD(1.0, **arguments).apply([jax.numpy.asarray(one) for one in gradients], variables)
    for ours, variable in zip(updates.clipped(clip, gradients), variables, strict=True):
        close(ours, -np.asarray(variable))


@pytest.mark.parametrize("l1", [0.0, 0.25])
@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_regularizers(l1: float, l2: float) -> None:
    weight = np.array([[-1.5, 0.0], [0.5, 2.0]])
    theirs, gradient = jax.value_and_grad(keras.regularizers.L1L2(l1, l2))(weight)
    close(updates.penalty(Regularizer(l1, l2), weight), theirs)
    close(updates.penalty_gradient(Regularizer(l1, l2), weight), gradient)
    assert updates.penalty(None, weight) == 0
    close(updates.penalty_gradient(None, weight), np.zeros((2, 2)))


# Whole nets --------------------------------------------------------------------------------------

NET: Sequence[Any] = (
    ("Rescaling", {"scale": 0.5, "offset": 0.25}),
    ("Conv2D", {"filters": 3, "kernel_size": 3, "activation": "relu", "kernel_regularizer": "l2"}),
    ("MaxPooling2D", {"pool_size": 2}),
    ("Conv2D", {"filters": 4, "kernel_size": 2, "padding": "same", "trainable": False}),
    ("Flatten", {}),
    ("Dense", {"units": 5, "activation": "softmax", "bias_regularizer": "l1"}),
)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_a_net_follows_keras(reduction: Any) -> None:
    """Loss, sample weights, regularizers, a frozen layer, clipping, RMSprop: five steps."""
    random = np.random.default_rng(11)
    chain = Chain((8, 8, 2), tuple(NET))
    graph = read(chain.build()).graph
    model = chain.build("float64")
    model.set_weights(weights_of(model, random))
    spec = Optimizer("rmsprop", weight_decay=0.01, clip=Clip("global_norm", 0.5))
    recipe = one_goal(Loss("sparse_categorical_crossentropy", reduction=reduction), spec)
    keras_reduction = {"mean": "sum_over_batch_size", "sum": "sum"}[reduction]
    loss = keras_loss(recipe.loss, keras_reduction)
    optimizer = optimizers.RMSprop(RATE, weight_decay=0.01, global_clipnorm=0.5)
    optimizer.build(model.trainable_variables)
    state = net.start(graph, recipe, model.get_weights())

    def total(trainable: Any, frozen: Any, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Any:
        outputs, _, penalties = model.stateless_call(trainable, frozen, x, return_losses=True)
        return loss(y, outputs, w) + sum(penalties)

    differentiated = jax.jit(jax.value_and_grad(total))
    for _ in range(5):
        x, y = random.normal(size=(6, 8, 8, 2)), random.integers(0, 5, 6).astype(np.int32)
        weight = random.uniform(0, 2, 6)
        values = [
            [jax.numpy.asarray(one.value) for one in group]
            for group in (model.trainable_variables, model.non_trainable_variables)
        ]
        value, gradients = differentiated(*values, x, y, weight)
        optimizer.apply(gradients)
        penalty = net.penalty(graph, state.parameters)
        state, each = net.step(graph, recipe, state, RATE, x, y, weight)
        close(each.sum() / (6 if reduction == "mean" else 1) + penalty, value)
        for ours, theirs in zip(state.parameters, model.weights, strict=True):
            close(ours, theirs.value)
    assert state.iterations == 5


def test_what_does_not_decay_and_what_is_frozen_stays() -> None:
    random = np.random.default_rng(12)
    graph = read(Chain((3,), (("Dense", {"units": 2}),)).build()).graph
    kernel, bias = graph.parameters
    changed = (replace(kernel, decays=False), replace(bias, trainable=False))
    graph = replace(graph, parameters=changed)
    recipe = one_goal(Loss("mean_squared_error"), Optimizer("sgd", momentum=0.9, weight_decay=1.0))
    state = net.start(graph, recipe, [random.normal(size=(3, 2)), random.normal(size=2)])
    assert [one.shape for one in state.slots["momentum"]] == [(3, 2)]
    x, y = random.normal(size=(4, 3)), random.normal(size=(4, 2))
    _, gradients = net.gradients(graph, recipe, state.parameters, x, y)
    after, _ = net.step(graph, recipe, state, 0.5, x, y)
    close(after.parameters[0], state.parameters[0] - 0.5 * gradients[0])
    close(after.parameters[1], state.parameters[1])
