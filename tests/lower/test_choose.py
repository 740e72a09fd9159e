"""Which tiles are chosen: they fit the registers, whatever the layer and the processor."""

from __future__ import annotations

import pytest

from convmill.lower.choices import ConvolutionChoice, Direct, WinogradWeights
from convmill.lower.machine import TARGETS, Machine
from convmill.lower.passes import lower, lower_stages
from convmill.lower.stages import ConvolutionStage, Stage
from convmill.lower.winograd import back_tiles, forward_tiles, weights_tiles
from tests.engine.nets import conv, dense, flatten, graph_of, pool, recipe_of

WINDOWS = [(rows, columns) for rows in range(1, 10) for columns in range(1, 10)]


def choice_of(stage: Stage) -> ConvolutionChoice:
    """The choice of a convolution."""
    assert isinstance(stage, ConvolutionStage)
    assert stage.choice is not None
    return stage.choice


def chosen(filters: int, window: tuple[int, int], machine: Machine) -> Direct:
    """The tile of a convolution with max pooling behind it."""
    graph = graph_of((20, 20, 3), conv(filters, (2, 2)), pool("max", window), flatten)
    stage = lower_stages(graph, machine).stages[0]
    assert isinstance(stage, ConvolutionStage)
    assert stage.pooled == (window != (1, 1))
    tile = choice_of(stage).forward
    assert isinstance(tile, Direct)
    return tile


@pytest.mark.parametrize("machine", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("filters", [1, 16, 48, 64, 200])
def test_sums_weights_and_an_input_stay_in_registers(machine, filters):
    for window in WINDOWS:
        if window[0] * window[1] <= 9:
            tile = chosen(filters, window, machine)
            sums = tile.rows * tile.windows * tile.vectors * window[0] * window[1]
            assert sums + tile.vectors + 1 < machine.registers, (window, tile)


def test_behind_pooling_few_registers_hold_two_vectors_of_filters():
    """With more of them each multiply-add would go through memory."""
    assert chosen(48, (2, 2), TARGETS["avx2"]).vectors == 2


@pytest.mark.parametrize("machine", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_no_tap_that_the_next_place_reads_is_written_out_beside_it(machine, strides, channels):
    """What both read would be kept in a register."""
    graph = graph_of((20, 20, channels), conv(32, (5, 5), strides=strides), flatten)
    tile = choice_of(lower_stages(graph, machine).stages[0]).forward
    assert isinstance(tile, Direct)
    assert tile.unroll <= strides[1] * channels
    assert 5 * channels % tile.unroll == 0


@pytest.mark.parametrize(
    ("side", "filters", "at_once"), [(16, 32, 32), (16, 64, 64), (16, 96, 48), (10, 64, 32)]
)
def test_slices_sum_all_filters_at_once_and_shares_leave_work_for_two(side, filters, at_once):
    """Of 96 filters and channels weights are too many for slices (lower/slices.py), and so are the
    sums of 64 for small images."""
    graph = graph_of(
        (side, side, 3),
        conv(filters, activation="linear"),
        conv(filters, activation="linear"),
        flatten,
        dense(3, "softmax"),
    )
    machine = TARGETS["avx512"]
    network = lower(graph, recipe_of("categorical_crossentropy"), machine)
    tile = choice_of(network.stages[1]).weight_gradient
    assert isinstance(tile, WinogradWeights)
    assert tile.filters == at_once


@pytest.mark.parametrize("most", [2, 4])
def test_tiles_have_no_more_outputs_than_they_may(most):
    """With two small integers stay exact."""
    machine = TARGETS["avx512"]
    graph = graph_of((12, 12, 3), conv(32), conv(32), flatten)
    stage = lower_stages(graph, machine).stages[1]
    assert isinstance(stage, ConvolutionStage)
    every = [
        *forward_tiles(stage, machine, most),
        *back_tiles(stage, machine, most),
        *weights_tiles(stage, machine, most, 8),
    ]
    assert max(tile.filtering.outputs for _, tile in every) == most
    assert min(tile.filtering.outputs for _, tile in every) == 2
