"""Convolutions of every form against the float64 twin: depthwise, dilated, in groups, separable."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.lower.choices import Placed
from convmill.lower.stages import ConvolutionStage
from convmill.plan.graph.nodes import Graph
from convmill.runtime.program import Program
from tests.engine.fences import fenced
from tests.engine.keras_layers import follows_keras
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    Chain,
    assert_follows_twin,
    assert_intact,
    assert_near,
    conv,
    data,
    dense,
    depthwise,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
    separable,
    transposed,
)
from tests.twin import net as twin

ACTIVATIONS = ("linear", "relu", "tanh", "gelu")
SETTINGS = settings(max_examples=15, suppress_health_check=list(HealthCheck))


def follows(graph: Graph, width: str, count: int = 5, threads: int = 2) -> Program:
    """Train and predict between fences: predictions, losses and gradients are the twin's."""
    rng = np.random.default_rng(len(graph.nodes) + count)
    recipe = recipe_of("mean_squared_error")
    values = parameters(rng, graph)
    sample = data(rng, graph, recipe.loss, count, 3)
    options = {"machine": WIDTHS[width], "guard": GUARD, "threads": threads}
    program = program_of(graph, recipe, values, **options)
    with fenced():
        assert_follows_twin(program, values, sample)
        predictions = program.predict(sample.x)
    exact = twin.forward(graph, values, sample.x)[graph.nodes[-1].name]
    assert_near(predictions, exact, "predictions")
    assert_intact(program)
    return program


@pytest.mark.parametrize(
    ("window", "padding", "width"),
    [
        ({"size": (3, 3)}, "same", "16 lanes"),
        ({"size": (3, 3)}, "valid", "8 lanes"),
        ({"size": (3, 3), "strides": (2, 2)}, "same", "8 lanes"),
        ({"size": (2, 5), "strides": (3, 1), "multiplier": 3}, "valid", "16 lanes"),
        ({"size": (3, 2), "dilation": (2, 3), "bias": False}, "same", "4 lanes"),
        ({"size": (1, 1), "strides": (2, 3)}, "same", "16 lanes"),
        ({"size": (5, 5), "multiplier": 2}, "same", "8 lanes"),
    ],
    ids=str,
)
def test_depthwise(window, padding, width):
    """Inside a net, with more channels than lanes, and as its first layer, with fewer."""
    graph = graph_of(
        (9, 11, 3),
        depthwise((2, 2), activation="tanh"),
        conv(18, (1, 1)),
        depthwise(**window, padding=padding),
        flatten,
        dense(2),
    )
    follows(graph, width)


@pytest.mark.parametrize(
    ("layer", "width", "pooled"),
    [
        (conv(9, (3, 2), dilation=(2, 3)), "16 lanes", True),
        (conv(34, (3, 3), dilation=(1, 2), padding="same"), "8 lanes", False),
        (conv(34, (3, 3), dilation=(2, 1)), "16 lanes", False),
        (conv(18, (3, 3), (2, 1), groups=2, padding="same"), "16 lanes", True),
        (conv(54, (2, 2), groups=6, activation="gelu"), "8 lanes", False),
        (conv(18, (1, 1), groups=18, bias=False), "4 lanes", True),
        (conv(6, (2, 2), groups=3, dilation=(2, 2)), "4 lanes", False),
        (separable(5, (3, 3), (2, 2), "same", multiplier=2), "16 lanes", True),
        (separable(20, (2, 3), dilation=(2, 1), activation="gelu"), "8 lanes", False),
    ],
)
def test_dilation_groups_separable(layer, width, pooled):
    """As the first layer, where taps are few, and behind a wider one; pooled behind it or not."""
    graph = graph_of(
        (9, 11, 6),
        conv(6, dilation=(1, 2), padding="same"),
        conv(18, (1, 1), activation="tanh"),
        layer,
        *([pool("max", (2, 2))] if pooled else []),
        flatten,
        dense(2),
    )
    follows(graph, width)


@pytest.mark.parametrize(
    ("layer", "channels", "width"),
    [
        (conv(16, (2, 3)), 5, "16 lanes"),
        (conv(31, (3, 2), (2, 1), padding="same"), 3, "16 lanes"),
        (conv(32, (3, 3), (2, 2)), 16, "8 lanes"),
        (conv(33, (1, 1)), 40, "16 lanes"),
        (conv(70, (2, 2), dilation=(2, 3)), 17, "8 lanes"),
        (conv(65, (3, 3), (1, 2), bias=False), 2, "4 lanes"),
        (conv(19, (7, 7), padding="same"), 20, "4 lanes"),
    ],
)
def test_live_filters_of_each_place(layer, channels, width):
    """Fewer filters than a word has bits, as many, and more; and a layer without any alive."""
    graph = graph_of((9, 8, 2), conv(channels, (1, 1)), layer, flatten, dense(2))
    program = follows(graph, width)
    stage = program.network.stages[1]
    assert isinstance(stage, ConvolutionStage)
    assert stage.choice is not None
    assert isinstance(stage.choice.input_gradient, Placed)
    if stage.bias is None:
        return
    values = program.get_parameters()
    values[stage.bias][:] = -1e9
    program.set_parameters(values)
    sample = data(np.random.default_rng(0), graph, recipe_of("mean_squared_error").loss, 5, 3)
    program.train(sample.batches, np.zeros(sample.steps))
    assert not program.get_gradients()[0].any()


@pytest.mark.parametrize(
    ("layer", "width"),
    [
        (transposed(18, (3, 3), (2, 2), "same"), "16 lanes"),
        (transposed(5, (2, 2), (2, 2)), "8 lanes"),
        (transposed(34, (4, 3), (2, 1), "same", "gelu"), "16 lanes"),
        (transposed(3, (2, 1), (3, 2), bias=False), "4 lanes"),
        (transposed(3, (3, 2), (1, 1), dilation=(2, 3)), "8 lanes"),
        (transposed(4, (5, 5), (3, 3), "same", extra=1), "16 lanes"),
        (transposed(4, (2, 4), (3, 2), "valid", extra=1), "8 lanes"),
    ],
)
def test_transposed(layer, width):
    """As the first layer, and inside a net, with more channels than lanes and fewer."""
    graph = graph_of(
        (5, 4, 2), transposed(3, (2, 3), (1, 2), "same"), conv(18, (2, 2)), layer, flatten, dense(2)
    )
    follows(graph, width)


@st.composite
def _layer(draw: st.DrawFn, chain: Chain) -> None:
    """A convolution of any form that fits the image."""
    padding = draw(st.sampled_from(("valid", "same")))
    size, dilation, strides = [], [], []
    for extent in chain.shape[:2]:
        dilation.append(draw(st.integers(1, 3)))
        most = (extent - 1) // dilation[-1] + 1 if padding == "valid" else 4
        size.append(draw(st.integers(1, min(4, most))))
        strides.append(1 if dilation[-1] > 1 else draw(st.integers(1, 4)))
    window = (tuple(size), tuple(strides), padding, draw(st.sampled_from(ACTIVATIONS)))
    options = {"dilation": tuple(dilation), "bias": draw(st.booleans())}
    form = draw(st.sampled_from(("plain", "depthwise", "separable", "transposed")))
    if form == "depthwise":
        depthwise(*window, **options, multiplier=draw(st.integers(1, 3)))(chain)
    elif form == "transposed":
        transposed(draw(st.sampled_from((1, 5, 18))), *window, **options)(chain)
    elif form == "separable":
        many = draw(st.integers(1, 3))
        separable(draw(st.sampled_from((1, 7, 17))), *window, **options, multiplier=many)(chain)
    else:
        channels = chain.shape[2]
        groups = draw(st.sampled_from([n for n in range(1, 20) if channels % n == 0]))
        filters = groups * draw(st.sampled_from((1, 3, 17)))
        conv(filters, *window, **options, groups=groups)(chain)


@st.composite
def _nets(draw: st.DrawFn) -> Graph:
    sizes = st.integers(1, 9)
    chain = Chain((draw(sizes), draw(sizes), draw(st.sampled_from((1, 5, 16, 19)))))
    for _ in range(draw(st.integers(1, 2))):
        draw(_layer(chain))
    flatten(chain)
    dense(3)(chain)
    return chain.graph()


@SETTINGS
@given(_nets(), st.sampled_from(tuple(WIDTHS)), st.integers(1, 9), st.integers(1, 3))
def test_random_windows(graph, width, count, threads):
    follows(graph, width, count, threads)


@pytest.mark.parametrize("width", WIDTHS)
def test_along_one_axis(width):
    """What has places along one axis is an image of height 1; against Keras."""
    model = keras.Sequential(
        [
            keras.Input((19, 5)),
            layers.Conv1D(18, 3, padding="causal", dilation_rate=2, activation="relu"),
            layers.MaxPooling1D(2),
            layers.SeparableConv1D(7, 3, padding="same", activation="gelu"),
            layers.DepthwiseConv1D(3, depth_multiplier=2, strides=2),
            layers.Conv1DTranspose(6, 4, strides=2, padding="same", activation="tanh"),
            layers.Conv1D(4, 2, groups=2),
            layers.AveragePooling1D(3, 2, padding="same"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )
    follows_keras(model, width=width)
