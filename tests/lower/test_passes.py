"""What is no Network, though every layer is covered."""

from __future__ import annotations

import pytest

from convmill.lower.passes import lower
from convmill.plan.covered import MOST_VALUES
from convmill.plan.refusals import NotCovered
from tests.engine.nets import WIDTHS, conv, dense, flatten, graph_of, pool

ROOT = 46_340  # squared just below 2 ** 31


@pytest.mark.parametrize("machine", WIDTHS.values(), ids=WIDTHS)
def test_offsets_in_an_image_are_32_bit_integers(machine):
    """A border and many filters count; what fits is lowered as ever."""
    fits = graph_of((ROOT, ROOT, 1), conv(1, (1, 1)), pool("max", (3, 3), (3, 2)))
    assert max(stage.input.size for stage in lower(fits, None, machine).stages) <= MOST_VALUES
    bordered = graph_of((ROOT, ROOT, 1), conv(1, padding="same"))
    filters = graph_of((1000, 1000, 1), conv(2200, (1, 1)), pool("average", (9, 9), (9, 9)))
    for graph in (bordered, filters):
        with pytest.raises(NotCovered, match=r"layer 'convolution1': 2,\d+,\d+,\d+ values"):
            lower(graph, None, machine)


def test_a_net_without_a_stage_computes_nothing():
    with pytest.raises(NotCovered, match="computes nothing"):
        lower(graph_of((2, 2, 1), flatten), None, WIDTHS["8 lanes"])
    assert lower(graph_of((2, 2, 1), flatten, dense(1)), None, WIDTHS["8 lanes"]).stages
