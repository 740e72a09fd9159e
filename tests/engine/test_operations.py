"""Every operation, activation and loss at least once, against the float64 twin."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from convmill.kernels import copies
from convmill.lower import choose, winograd
from convmill.lower.choices import Direct, Filtering, Narrow, Winograd, WinogradWeights
from convmill.lower.passes import lower
from convmill.lower.stages import ConvolutionStage
from convmill.plan.graph.activations import Activation
from convmill.plan.graph.parameters import Regularizer
from convmill.plan.recipe import Loss
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    activate,
    assert_follows_twin,
    assert_intact,
    assert_near,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    loss_name,
    parameters,
    poisoned,
    pool,
    program_of,
    recipe_of,
    rescale,
)
from tests.twin import net as twin

ACTIVATIONS = [
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "softmax",
    "elu",
    "gelu",
    "gelu_tanh",
    Activation("relu", slope=0.25),
    Activation("relu", slope=0.25, ceiling=0.5),
    Activation("elu", slope=0.5),
    Activation("elu", slope=-0.5),  # not monotonic: the output does not tell the side
    Activation("leaky_relu", slope=-0.5),
    Activation("relu", slope=-0.25),
]


def follows(graph, loss, *, weighted=False, accuracy=None, count=11, y=None, **options):
    """Train and predict with a graph between fences; all must agree with the twin."""
    rng = np.random.default_rng(7)
    recipe = recipe_of(loss, accuracy=accuracy)
    values = parameters(rng, graph)
    sample = data(rng, graph, recipe.loss, count, 4, weighted=weighted)
    if y is not None:
        sample.y[...] = y(sample.y, rng)
    program = program_of(graph, recipe, values, guard=GUARD, **options)
    with fenced():
        record = assert_follows_twin(program, values, sample)
        outputs = poisoned(count, graph)
        evaluated = program.evaluate(sample.batches, outputs=outputs)
    exact = twin.forward(graph, values, sample.x)[graph.nodes[-1].name]
    assert_near(outputs, exact[sample.order], "predictions")
    assert_near(evaluated.loss, record.loss.astype(np.float64), "losses of an evaluation", 1e-6)
    np.testing.assert_array_equal(evaluated.correct, record.correct)
    assert_intact(program)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activation(activation):
    """In a convolution, in one with pooling, behind pooling, in a dense layer, twice in a row."""
    graph = graph_of(
        (7, 6, 2),
        conv(5, activation=activation),
        conv(17, (2, 2), activation=activation),
        pool("max", (2, 1)),
        activate(activation),
        activate(activation),
        flatten,
        dense(9, activation),
        dense(3),
    )
    follows(graph, "mean_squared_error")


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("size", "strides"),
    [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((2, 3), (3, 1)), ((1, 1), (1, 1)), ((4, 5), (4, 5))],
)
def test_pooling(kind, padding, size, strides):
    """Windows side by side, overlapping, with gaps, of one pixel, too large to be fused."""
    graph = graph_of(
        (9, 11, 3), conv(18, (2, 2)), pool(kind, size, strides, padding), flatten, dense(2)
    )
    follows(graph, "mean_squared_error")


@pytest.mark.parametrize("size", [(2, 2), (6, 5)])
@pytest.mark.parametrize(
    ("kind", "ties"), [("max", "first"), ("max", "share"), ("average", "first")]
)
def test_pooling_over_the_whole_image(kind, ties, size):
    whole = pool(kind, size, ties=ties)
    graph = graph_of((*size, 3), conv(17, (1, 1)), whole, flatten, dense(2))
    follows(graph, "mean_squared_error")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("filters", [1, 15, 40])
def test_channels(width, filters):
    """Numbers of channels below, at and above a vector, for a first and a second convolution."""
    graph = graph_of(
        (8, 7, filters),
        conv(filters, bias=False),
        pool("max", (2, 2)),
        conv(filters + 1, (2, 2), padding="same"),
        flatten,
        dense(filters, "tanh"),
        dense(filters),
    )
    follows(graph, "mean_squared_error", machine=WIDTHS[width])


ORDERS = {
    "dense alone": (flatten, dense(3)),
    "rescaling first": (rescale(2.0, 1.0), flatten, dense(3)),
    "convolution last": (conv(2), flatten),
    "softmax first and last": (
        activate("softmax"),
        conv(3, (1, 1)),
        activate("softmax"),
        flatten,
    ),
    "pooling first": (
        pool("max", (2, 2)),
        pool("average", (2, 2)),
        conv(3, (1, 1), activation="elu"),
        flatten,
    ),
    "pooling last": (conv(3, (1, 1)), rescale(0.5, -1.0), pool("max", (5, 4)), flatten),
    "padding behind rescaling": (
        conv(3, activation="linear"),
        rescale(0.5, 0.0),
        conv(2, (3, 2), padding="same"),
        flatten,
    ),
    "activations last": (flatten, dense(3, "relu"), activate("linear"), activate("sigmoid")),
}


@pytest.mark.parametrize("name", ORDERS)
def test_order_of_layers(name):
    """Nets that begin, end and go on in unusual ways."""
    follows(graph_of((5, 4, 2), *ORDERS[name]), "mean_squared_error")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize(
    "filtering",
    [Filtering(2, 3), Filtering(4, 3), Filtering(2, 5), Filtering(4, 5)],
    ids=lambda each: f"F({each.outputs}, {each.kernel})",
)
@pytest.mark.parametrize(
    ("image", "channels", "filters", "pooled", "padding", "activation"),
    [
        (None, 17, 33, True, "valid", "elu"),  # one tile
        (None, 17, 32, False, "valid", "relu"),  # those of several images go together
        ((7, 6), 17, 33, False, "same", "relu"),  # lists of live places beside it
        ((9, 13), 17, 33, True, "valid", "relu"),  # the last tiles overlap others
        ((9, 10), 96, 16, False, "same", "elu"),  # sums of many channels
        ((30, 29), 17, 32, False, "valid", "elu"),  # more of them than stay in the cache
    ],
)
def test_minimal_filtering(
    image, channels, filters, pooled, padding, activation, filtering, together, width, monkeypatch
):
    """Convolutions that go through Winograd's tiles, forward and, where nothing pools, backward;
    for the gradient of the weights where filters fill their vectors. Tiles of five images go
    through their products image by image, or two and two. The loss's gradient is a sign: a squared
    one is a difference that shows errors of predictions many times as large."""
    monkeypatch.setattr(winograd, "TRANSFORM_CYCLES", {filtering: (0, 0)})
    monkeypatch.setattr(winograd, "KEPT_RATE", math.inf)
    monkeypatch.setattr(winograd, "LIVE_CYCLES", math.inf)
    monkeypatch.setattr(winograd, "TOGETHER", (together,))
    monkeypatch.setattr(copies, "LATE_BYTES", 0 if together > 1 else math.inf)
    kernel = (filtering.kernel, filtering.kernel)
    graph = graph_of(
        (*(image or (filtering.side, filtering.side)), 3),
        conv(channels, (1, 1), activation="linear"),
        conv(filters, kernel, padding=padding, activation=activation),
        *([pool("max", (2, 2))] if pooled else []),
        flatten,
        dense(2),
    )
    stage = lower(graph, recipe_of("mean_absolute_error"), WIDTHS[width]).stages[1]
    assert isinstance(stage, ConvolutionStage)
    assert stage.choice is not None
    tiles = (stage.choice.forward, stage.choice.input_gradient)
    assert [isinstance(tile, Winograd) for tile in tiles] == [True, not pooled]
    chosen = [tile for tile in tiles if isinstance(tile, Winograd)]
    assert {tile.filtering for tile in chosen} == {filtering}
    assert all(tile.images == together or tile.rows < tile.grid[0] for tile in chosen)
    weights = stage.choice.weight_gradient
    assert isinstance(weights, WinogradWeights) == (not pooled and filters % 8 == 0)
    assert not isinstance(weights, WinogradWeights) or weights.filtering == filtering
    follows(graph, "mean_absolute_error", machine=WIDTHS[width], count=5)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("filters", "size", "options"),
    [
        (1, (3, 3), {}),
        (2, (5, 4), {"strides": (2, 1)}),
        (3, (1, 1), {}),
        (6, (5, 5), {"padding": "same"}),
        (7, (2, 3), {"dilation": (2, 2)}),
        (8, (3, 3), {"bias": False}),
    ],
)
def test_few_filters(filters, size, options, width, monkeypatch):
    """Those that leave lanes for several taps: in front of pooling, and behind it."""
    monkeypatch.setattr(choose, "LEAST_PLACES", 1)
    monkeypatch.setattr(choose, "MOST_NARROW_WORK", 1000)
    machine = WIDTHS[width]
    graph = graph_of(
        (15, 13, 3),
        conv(filters, size, **options),
        pool("max", (2, 2)),
        conv(filters, (2, 2), activation="elu"),
        flatten,
        dense(2),
    )
    stages = lower(graph, recipe_of("mean_squared_error"), machine).stages
    convolutions = [stage for stage in stages if isinstance(stage, ConvolutionStage)]
    runs = (size[1] * 3 if "dilation" not in options else 3, 2 * filters)
    for stage, run in zip(convolutions, runs, strict=True):
        assert stage.choice is not None
        assert isinstance(stage.choice.forward, Direct)
        most = min(machine.lanes // filters, run)
        taps = stage.choice.forward.taps
        assert taps <= max(most, 1) < 2 * taps
    first = convolutions[0].choice
    assert first is not None
    assert isinstance(first.weight_gradient, Narrow)
    assert first.weight_gradient.taps == first.forward.taps
    follows(graph, "mean_squared_error", machine=machine)


@pytest.mark.parametrize("width", WIDTHS)
def test_infinity_stays_where_few_filters_read_it(width, monkeypatch):
    """Taps that lie in two groups count once; infinity times a zero weight would be no number."""
    monkeypatch.setattr(choose, "LEAST_PLACES", 1)
    graph = graph_of((9, 9, 1), rescale(2.0, 0.0), conv(2, (5, 5), activation="linear"), flatten)
    x = np.ones((1, 9, 9, 1), np.float32)
    x[0, 4, 4] = 3e38
    values = [np.ones(one.shape, np.float32) for one in graph.parameters]
    program = program_of(graph, None, values, machine=WIDTHS[width])
    assert np.isposinf(program.predict(x)).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_weights_that_are_asked_for_ahead(width, monkeypatch):
    """Behind the last ones too."""
    monkeypatch.setattr(copies, "LATE_BYTES", 0)
    graph = graph_of((7, 6, 5), conv(35, (3, 2), strides=(2, 1)), conv(19), flatten, dense(2))
    follows(graph, "mean_squared_error", machine=WIDTHS[width])


@pytest.mark.parametrize(
    "frozen", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}], ids=lambda each: str(sorted(each))
)
def test_frozen_layers(frozen):
    """Gradients of what is trained do not depend on what is frozen before, between or behind."""
    graph = graph_of(
        (8, 8, 2),
        conv(5, trainable=0 not in frozen),
        pool("max", (2, 2)),
        conv(6, (2, 2), trainable=1 not in frozen),
        flatten,
        dense(3, "softmax", trainable=2 not in frozen),
    )
    follows(graph, "categorical_crossentropy")


def test_frozen_kernel_beside_a_trained_bias():
    trained = graph_of((5, 5, 2), conv(3), flatten, dense(2))
    kernels = {0, 2}
    halves = tuple(
        type(one)(one.name, one.shape, trainable=index not in kernels)
        for index, one in enumerate(trained.parameters)
    )
    follows(replace(trained, parameters=halves), "mean_squared_error")


def test_nothing_to_train():
    """A net without parameters still measures its loss and predicts."""
    follows(graph_of((4, 4, 3), pool("max", (2, 2)), flatten), "mean_squared_error")


# Losses ------------------------------------------------------------------------------------------


def soft(y, rng):
    """Rows of shares in place of one-hot rows."""
    shares = rng.random(y.shape)
    return shares / shares.sum(axis=1, keepdims=True)


def case_name(case):
    """The loss, the activation before it, and whether labels are soft."""
    return f"{loss_name(case[0])} {case[1]}" + (" soft" if soft in case else "")


LOSSES = [
    (Loss("categorical_crossentropy"), "softmax", "categorical", None),
    (Loss("categorical_crossentropy"), "softmax", None, soft),
    (Loss("categorical_crossentropy"), "sigmoid", "categorical", None),
    (Loss("categorical_crossentropy", from_logits=True), "linear", "categorical", None),
    (Loss("categorical_crossentropy", from_logits=True), "linear", None, soft),
    (Loss("categorical_crossentropy", label_smoothing=0.2), "softmax", "categorical", None),
    (
        Loss("categorical_crossentropy", from_logits=True, label_smoothing=0.1),
        "linear",
        "categorical",
        None,
    ),
    (Loss("categorical_crossentropy", reduction="sum"), "softmax", None, None),
    (Loss("sparse_categorical_crossentropy"), "softmax", "sparse", None),
    (Loss("sparse_categorical_crossentropy"), "sigmoid", "sparse", None),
    (Loss("sparse_categorical_crossentropy", from_logits=True), "linear", "sparse", None),
    (Loss("sparse_categorical_crossentropy", reduction="sum"), "softmax", None, None),
    (Loss("binary_crossentropy"), "sigmoid", "binary", None),
    (Loss("binary_crossentropy", from_logits=True), "linear", "binary", None),
    (Loss("binary_crossentropy", label_smoothing=0.3), "sigmoid", None, None),
    (Loss("binary_crossentropy", from_logits=True, label_smoothing=0.3), "linear", None, None),
    (Loss("binary_crossentropy", reduction="sum"), "sigmoid", None, None),
    (Loss("mean_squared_error"), "linear", None, None),
    (Loss("mean_squared_error", reduction="sum"), "sigmoid", None, None),
    (Loss("mean_absolute_error"), "linear", None, None),
    (Loss("mean_absolute_error", reduction="sum"), "tanh", None, None),
    (Loss("mean_absolute_percentage_error"), "linear", None, None),
    (Loss("mean_squared_logarithmic_error"), "elu", None, None),
    (Loss("huber"), "linear", None, None),
    (Loss("huber", delta=0.3), "linear", None, None),
    (Loss("log_cosh"), "linear", None, None),
    (Loss("poisson"), "sigmoid", None, None),
    (Loss("kl_divergence"), "softmax", None, None),
    (Loss("kl_divergence"), "elu", None, None),
    (Loss("cosine_similarity"), "linear", None, None),
    (Loss("hinge"), "tanh", None, None),
    (Loss("squared_hinge"), "linear", None, None),
    (Loss("categorical_hinge"), "linear", "categorical", None),
    (Loss("categorical_hinge"), "relu", "categorical", None),
    (Loss("binary_focal_crossentropy"), "sigmoid", "binary", None),
    (
        Loss("binary_focal_crossentropy", gamma=1.5, balanced=True, alpha=(0.3,)),
        "sigmoid",
        None,
        None,
    ),
    (
        Loss("binary_focal_crossentropy", from_logits=True, label_smoothing=0.1),
        "linear",
        None,
        None,
    ),
    (Loss("categorical_focal_crossentropy"), "softmax", "categorical", None),
    (Loss("categorical_focal_crossentropy", gamma=0.5), "sigmoid", None, None),
    (Loss("categorical_focal_crossentropy", gamma=0.0), "softmax", None, soft),
    (
        Loss(
            "categorical_focal_crossentropy",
            from_logits=True,
            alpha=tuple(0.1 + 0.05 * one for one in range(18)),
            label_smoothing=0.1,
        ),
        "linear",
        None,
        None,
    ),
]


@pytest.mark.parametrize("case", LOSSES, ids=case_name)
def test_loss(case):
    """With sample weights, which other tests leave out."""
    loss, activation, accuracy, y = case
    graph = graph_of((3, 3, 1), flatten, dense(18, activation))
    follows(graph, loss, weighted=True, accuracy=accuracy, y=y)


IMAGE_LOSSES = [
    (Loss("categorical_crossentropy"), "softmax", "categorical"),
    (Loss("categorical_crossentropy", label_smoothing=0.2), "sigmoid", "categorical"),
    (Loss("categorical_crossentropy", from_logits=True, reduction="sum"), "linear", "categorical"),
    (Loss("sparse_categorical_crossentropy"), "softmax", "sparse"),
    (Loss("sparse_categorical_crossentropy", from_logits=True), "linear", "sparse"),
    (Loss("binary_crossentropy"), "sigmoid", "binary"),
    (Loss("binary_crossentropy", label_smoothing=0.1, reduction="sum"), "sigmoid", "categorical"),
    (Loss("mean_squared_error"), "relu", "categorical"),
    (Loss("mean_absolute_error", reduction="sum"), "tanh", None),
    (Loss("kl_divergence"), "softmax", None),
    (Loss("huber", delta=0.3), "linear", None),
    (Loss("categorical_focal_crossentropy"), "softmax", None),
    (Loss("cosine_similarity"), "linear", None),
]


@pytest.mark.parametrize(
    ("channels", "weighted"), [(1, False), (3, True), (3, "places"), (18, False)]
)
@pytest.mark.parametrize("case", IMAGE_LOSSES, ids=case_name)
def test_loss_of_every_place(case, channels, weighted):
    if case[0].name == "cosine_similarity" and channels == 1:
        pytest.skip("of one value it is 1 or -1: the gradient is rounding noise")
    """Outputs that are images: a loss for each pixel."""
    loss, activation, accuracy = case
    if "categorical" in loss.name:
        channels = max(channels, 2)  # of one class nothing is left to tell
    graph = graph_of((5, 4, 2), conv(3), conv(channels, (2, 2), activation=activation))
    follows(graph, loss, weighted=weighted, accuracy=accuracy, count=7)


@pytest.mark.parametrize("classes", [1, 2, 16, 20])
@pytest.mark.parametrize(
    ("loss", "activation"),
    [("binary_crossentropy", "sigmoid"), ("mean_squared_error", "linear")],
)
def test_number_of_outputs(loss, activation, classes):
    graph = graph_of((3, 3, 1), flatten, dense(classes, activation))
    follows(graph, loss, accuracy="binary" if activation == "sigmoid" else None)


def test_regularizers():
    """Their loss is told apart from the images', and moves weights, but not ``get_gradients``."""
    graph = graph_of(
        (5, 5, 1),
        conv(3, regularizer=Regularizer(l1=0.01)),
        flatten,
        dense(4, "tanh", regularizer=Regularizer(l1=0.01, l2=0.02)),
        dense(2, regularizer=Regularizer(l2=0.1)),
    )
    rng = np.random.default_rng(2)
    recipe = recipe_of("mean_squared_error")
    values = parameters(rng, graph)
    values[0][0, 0, 0, 0] = 0  # where |w| has no slope
    sample = data(rng, graph, recipe.loss, 12, 4)
    program = program_of(graph, recipe, values)
    state = twin.start(graph, recipe, values)
    penalties = []
    for step in range(sample.steps):
        chosen = sample.batch(step)
        penalties.append(twin.penalty(graph, state.parameters))
        state, _ = twin.step(graph, recipe, state, 0.1, sample.x[chosen], sample.y[chosen])
    with fenced():
        record = program.train(sample.batches, np.full(sample.steps, 0.1))
    np.testing.assert_allclose(record.penalty, penalties, rtol=1e-6)
    for ours, exact in zip(program.get_parameters(), state.parameters, strict=True):
        assert_near(ours, exact, "weights behind three steps")
    np.testing.assert_array_equal(program.evaluate(sample.batches).penalty, np.zeros(3))


NO_NUMBERS = [
    (Loss("categorical_crossentropy"), "softmax"),
    (Loss("categorical_crossentropy"), "sigmoid"),
    (Loss("categorical_crossentropy", from_logits=True), "linear"),
    (Loss("sparse_categorical_crossentropy"), "softmax"),
    (Loss("sparse_categorical_crossentropy", from_logits=True), "linear"),
    (Loss("binary_crossentropy"), "sigmoid"),
    (Loss("binary_crossentropy", from_logits=True), "linear"),
    (Loss("mean_squared_error"), "tanh"),
    (Loss("mean_absolute_error"), "gelu"),
    *((Loss(name), "sigmoid") for name in ("poisson", "kl_divergence", "huber", "log_cosh")),
    *((Loss(name), "sigmoid") for name in ("hinge", "categorical_hinge", "cosine_similarity")),
    (Loss("mean_squared_logarithmic_error"), "sigmoid"),
    (Loss("mean_absolute_percentage_error"), "sigmoid"),
    (Loss("binary_focal_crossentropy"), "sigmoid"),
    (Loss("categorical_focal_crossentropy"), "softmax"),
]


def shows_no_number(graph, loss):
    """Weights of the first layer that became NaN show in all losses and in all weights."""
    rng = np.random.default_rng(0)
    values = parameters(rng, graph)
    values[0][...] = np.nan
    sample = data(rng, graph, loss, 6, 6)
    program = program_of(graph, recipe_of(loss), values)
    record = program.train(sample.batches, np.full(1, 0.1))
    assert np.isnan(record.loss).all()
    assert np.isnan(program.evaluate(sample.batches).loss).all()
    assert all(np.isnan(weight).any() for weight in program.get_parameters())


@pytest.mark.parametrize("case", NO_NUMBERS, ids=case_name)
def test_no_number_hides_behind_a_loss(case):
    loss, activation = case
    shows_no_number(graph_of((2, 2, 1), flatten, dense(3), dense(3, activation)), loss)


def test_no_number_hides_behind_a_layer():
    layers = (
        conv(2, activation="elu"),
        pool("max", (2, 2)),
        conv(2, (1, 1), activation="gelu"),
        pool("max", (2, 2), (1, 1)),
        activate("leaky_relu"),
        pool("average", (2, 2)),
        flatten,
        dense(3, "relu6"),
    )
    shows_no_number(graph_of((8, 8, 1), *layers), Loss("mean_squared_error"))
