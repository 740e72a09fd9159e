"""What is no number comes out of max pooling wherever one goes in, as in Keras."""

from __future__ import annotations

import numpy as np
import pytest

from convmill.lower.choices import Winograd
from convmill.lower.stages import ConvolutionStage
from tests.engine.nets import WIDTHS, activate, conv, graph_of, pool, program_of

NAN = np.float32("nan")
WINDOWS = [(1, 2), (2, 1), (2, 2), (3, 1), (3, 3), (2, 4)]
BEHIND = [  # what stands between a convolution and its pooling, fused or not
    *("linear", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "elu", "gelu"),
]


def pooled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where a window of ``values`` (n, h, w, c) holds what is no number."""
    n, height, width, channels = values.shape
    grid = values.reshape(n, height // size[0], size[0], width // size[1], size[1], channels)
    return np.isnan(grid).any(axis=(2, 4))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", BEHIND)
@pytest.mark.parametrize("size", WINDOWS, ids=str)
def test_fused_pooling_hands_it_on(size, activation, width):
    """Each place of a window in turn, beside numbers that are larger and smaller."""
    places = size[0] * size[1]
    graph = graph_of(
        (2 * size[0], 2 * size[1], 1), conv(3, (1, 1), activation=activation), pool("max", size)
    )
    rng = np.random.default_rng(places)
    x = rng.standard_normal((places + 1, *graph.input_shape)).astype(np.float32)
    for place in range(places):
        row, column = divmod(place, size[1])
        x[place, size[0] + row, column] = NAN  # in the window below, to the left
    values = [np.ones((1, 1, 1, 3), np.float32), np.zeros(3, np.float32)]
    found = program_of(graph, None, values, machine=WIDTHS[width]).predict(x)
    wanted = pooled(np.repeat(x, 3, axis=3), size)
    np.testing.assert_array_equal(np.isnan(found), wanted)
    assert wanted[-1].sum() == 0
    assert wanted[:-1].sum() == 3 * places


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ties", ["first", "share"])
@pytest.mark.parametrize("strides", [(2, 2), (1, 1)])
def test_pooling_that_stands_alone_hands_it_on(ties, strides, width):
    graph = graph_of((4, 4, 1), pool("max", (2, 2), strides, ties=ties), activate("relu"))
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 1)).astype(np.float32)
    x[0, 1, 2], x[2, 3, 3] = NAN, NAN
    found = program_of(graph, None, [], machine=WIDTHS[width]).predict(x)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(windows).any(axis=(4, 5)))


@pytest.mark.parametrize("width", WIDTHS)
def test_transformed_convolutions_hand_it_on(width):
    """Winograd's tiles spread it over their four places: never fewer than in Keras."""
    graph = graph_of((14, 14, 32), conv(32, (3, 3)), pool("max", (2, 2)))
    rng = np.random.default_rng(0)
    values = [
        rng.standard_normal(parameter.shape).astype(np.float32) for parameter in graph.parameters
    ]
    program = program_of(graph, None, values, machine=WIDTHS[width])
    (stage,) = program.network.stages
    assert isinstance(stage, ConvolutionStage)
    assert stage.choice is not None
    assert isinstance(stage.choice.forward, Winograd)
    x = rng.standard_normal((14 * 14 + 1, 14, 14, 32)).astype(np.float32)
    for place in range(14 * 14):
        x[(place, *divmod(place, 14), place % 32)] = NAN
    missing = np.lib.stride_tricks.sliding_window_view(np.isnan(x).any(axis=3), (3, 3), axis=(1, 2))
    convolved = np.where(missing.any(axis=(3, 4))[..., None], NAN, np.float32(0))
    found = np.isnan(program.predict(x))
    assert found[np.broadcast_to(pooled(convolved, (2, 2)), found.shape)].all()
    assert not found[-1].any()
