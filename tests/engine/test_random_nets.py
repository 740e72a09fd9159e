"""Random small nets: predictions, losses and every gradient agree with float64, in bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convmill.plan.graph.nodes import Graph
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    Chain,
    Layer,
    activate,
    assert_follows_twin,
    assert_intact,
    assert_near,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
    rescale,
)
from tests.twin import net as twin

CHANNELS = (1, 3, 5, 16, 17, 33)
FUSED = ("linear", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "elu")
ACTIVATIONS = (*FUSED, "gelu", "gelu_tanh", "softmax")
HEADS = (
    ("softmax", "categorical_crossentropy"),
    ("softmax", "sparse_categorical_crossentropy"),
    ("sigmoid", "binary_crossentropy"),
    ("linear", "mean_squared_error"),
    ("tanh", "mean_absolute_error"),
)
# Each example compiles a net twice, which takes about a second.
SETTINGS = settings(max_examples=12, suppress_health_check=list(HealthCheck))


@st.composite
def _window(draw: st.DrawFn, shape: tuple[int, ...], largest: int, strides: int) -> dict:
    """Size, strides and padding of a window that fits the image."""
    padding = draw(st.sampled_from(("valid", "same")))
    limits = [min(extent, largest) if padding == "valid" else largest for extent in shape[:2]]
    size = tuple(draw(st.integers(1, limit)) for limit in limits)
    # side by side in half of the cases, where pooling is fused
    steps = size if draw(st.booleans()) else tuple(draw(st.integers(1, strides)) for _ in size)
    return {"size": size, "strides": steps, "padding": padding}


@st.composite
def _convolution(draw: st.DrawFn, shape: tuple[int, ...]) -> Layer:
    window = draw(_window(shape, largest=5, strides=3))
    if draw(st.booleans()):
        window["strides"] = (1, 1)
        if window["padding"] == "same" or min(shape[:2]) >= 3:
            window["size"] = (3, 3)  # which has a kernel of its own
    activation = draw(st.sampled_from(ACTIVATIONS))
    filters = draw(st.sampled_from(CHANNELS))
    return conv(filters, activation=activation, bias=draw(st.booleans()), **window)


@st.composite
def _layers(draw: st.DrawFn, chain: Chain) -> None:
    """Fills a chain: convolutions, mostly with pooling behind them, and what stands between."""
    if draw(st.booleans()):
        rescale(-0.5, 0.25)(chain)
    for _ in range(draw(st.integers(1, 2))):
        draw(_convolution(chain.shape))(chain)
        follows = draw(st.sampled_from(("max", "max", "average", "activation", None)))
        if follows == "activation":
            activate(draw(st.sampled_from(ACTIVATIONS)))(chain)
        elif follows is not None:
            pool(follows, **draw(_window(chain.shape, largest=3, strides=3)))(chain)


@st.composite
def _nets(draw: st.DrawFn) -> tuple[Graph, str]:
    """A graph, and the loss that suits its end."""
    sizes = st.integers(1, 10)
    chain = Chain((draw(sizes), draw(sizes), draw(st.sampled_from(CHANNELS))))
    draw(_layers(chain))
    if draw(st.booleans()):
        kind, ties = draw(
            st.sampled_from((("max", "first"), ("max", "share"), ("average", "first")))
        )
        pool(kind, (chain.shape[0], chain.shape[1]), ties=ties)(chain)
    flatten(chain)
    if draw(st.booleans()):
        dense(draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(ACTIVATIONS)))(chain)
    activation, loss = draw(st.sampled_from(HEADS))
    classes = draw(st.integers(2 if activation == "softmax" else 1, 18))
    dense(classes, activation, bias=draw(st.booleans()))(chain)
    return chain.graph(), loss


@pytest.mark.parametrize("width", WIDTHS)
@SETTINGS
@given(
    net=_nets(),
    dtype=st.sampled_from(("uint8", "float32", "float64")),
    count=st.integers(1, 19),
    batch_size=st.integers(1, 12),
    threads=st.sampled_from((1, 2)),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_follows_the_twin(width, net, dtype, count, batch_size, threads, weighted, seed):
    graph, loss = net
    recipe = recipe_of(loss)
    rng = np.random.default_rng(seed)
    values = parameters(rng, graph, 0.01 if dtype == "uint8" else 1.0)
    sample = data(rng, graph, recipe.loss, count, batch_size, dtype=dtype, weighted=weighted)
    program = program_of(graph, recipe, values, threads=threads, machine=WIDTHS[width], guard=GUARD)
    with fenced():
        assert_follows_twin(program, values, sample)
        predictions = program.predict(sample.x)
    exact = twin.forward(graph, values, sample.x)[graph.nodes[-1].name]
    assert_near(predictions, exact, "predictions")
    assert_intact(program)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_many_layers_in_many_batches(width, dtype):
    """A net with every kind of kernel, in all types of images, with a last batch of one."""
    graph = graph_of(
        (12, 11, 3),
        rescale(1.5, -0.5),
        conv(17, (3, 2), activation="relu"),
        pool("max", (2, 2)),
        conv(33, (3, 3), padding="same", activation="gelu"),
        pool("max", (3, 3), (2, 1), "same"),
        conv(5, (1, 2), (1, 2), activation="tanh"),
        pool("average", (2, 2), (1, 1)),
        flatten,
        dense(20, "elu"),
        dense(4, "softmax"),
    )
    recipe = recipe_of("sparse_categorical_crossentropy", accuracy="sparse")
    rng = np.random.default_rng(3)
    values = parameters(rng, graph, 0.01 if dtype == "uint8" else 1.0)
    sample = data(rng, graph, recipe.loss, 25, 8, dtype=dtype)
    program = program_of(graph, recipe, values, machine=WIDTHS[width], guard=GUARD)
    with fenced():
        assert_follows_twin(program, values, sample)
    assert_intact(program)
