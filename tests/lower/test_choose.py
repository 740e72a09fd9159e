"""Which tiles are chosen: they fit the registers, whatever the layer and the processor."""

from __future__ import annotations

import pytest

from convmill.lower.choices import Direct
from convmill.lower.machine import TARGETS, Machine
from convmill.lower.passes import lower_stages
from convmill.lower.stages import ConvolutionStage
from tests.engine.nets import conv, flatten, graph_of, pool

WINDOWS = [(rows, columns) for rows in range(1, 10) for columns in range(1, 10)]


def chosen(filters: int, window: tuple[int, int], machine: Machine) -> Direct:
    """The tile of a convolution with max pooling behind it."""
    graph = graph_of((20, 20, 3), conv(filters, (2, 2)), pool("max", window), flatten)
    stage = lower_stages(graph, machine).stages[0]
    assert isinstance(stage, ConvolutionStage)
    assert stage.pooled == (window != (1, 1))
    assert stage.choice is not None
    assert isinstance(stage.choice.forward, Direct)
    return stage.choice.forward


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
