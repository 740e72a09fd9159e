"""Convolutions of real nets' shapes, exact to the bit; ``conv_shapes.py`` says how.

The forty plain shapes are the first and the last of a list of hundreds by every measure, and others
evenly along the work that they are; the dilated and grouped ones are chosen likewise.
"""

from __future__ import annotations

import pytest

from tests.engine.conv_shapes import FORTY, PARTED, differences, read
from tests.engine.nets import WIDTHS

PLAIN, OTHERS = read(FORTY), read(PARTED)
# Small ones, whose output no stride leaves gaps in.
TURNED = [
    shape
    for shape in PLAIN
    if shape.height * shape.width * shape.filters <= 4000
    and shape.stride_h <= shape.kernel_h
    and shape.stride_w <= shape.kernel_w
]


def test_there_are_as_many_shapes_as_it_says():
    assert len(set(PLAIN)) == 40
    assert len({shape.groups for shape in OTHERS}) > 5
    assert sum(shape.is_depthwise for shape in OTHERS) > 5
    assert len(TURNED) > 5


@pytest.mark.parametrize("shape", PLAIN, ids=str)
def test_is_exact(shape):
    # first layers read few channels: there, the kernel for dW of small windows counts
    assert not differences(shape, (1, 2), identity=shape.channels_in > 4)


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_dilated_and_grouped_ones_are_exact(shape):
    assert not differences(shape, (1, 3), identity=True)


@pytest.mark.parametrize("shape", TURNED, ids=str)
def test_transposed_ones_are_exact(shape):
    width = WIDTHS["8 lanes" if shape.filters % 2 else "16 lanes"]
    assert not differences(shape, (1, 3), width, identity=True, turned=True)
